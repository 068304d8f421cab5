//! The gate's decisions without a socket: every credential on every kind of route, from every kind of page.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use async_trait::async_trait;

use super::testkit::{Fields, arrival, route};
use super::*;
use crate::block::{Block, BlockSubject, BlockedBy, Demand};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::context::Events;
use crate::event::EndReason;
use crate::issuer::testkit::Kit;
use crate::session::testkit::NOW;
use crate::store::memory::Memory;
use crate::store::{
    BeginOutcome, Blocked, Blocks, NewSession, NewStamp, Renewal, Session, SessionBy,
    SessionSelection, Sessions, StoreError, Upkeep,
};

/// Every cell of the table. [`word`] says what a letter means.
const TABLE: &str = include_str!("table.txt");

/// The kinds of routes: what each requires of a caller, and the group.
const ROUTES: [(&str, &str); 5] = [
    ("public", ""),
    ("optional", ""),
    ("signed-in", ""),
    ("signed-in", "editors"),
    ("signed-in", "admins"),
];

/// The name of a row, the credentials presented, the gate and the time.
type Row<'a> = (&'a str, Vec<(&'a str, String)>, &'a Gate, Timestamp);

/// The sources of a request: its name, the method, and the fields by which the browser describes the page that caused it.
const SITES: [(&str, &str, Fields<'_>); 6] = [
    ("a page of ours reads", "GET", &[("sec-fetch-site", "same-origin")]),
    ("a browser opens it", "GET", &[("sec-fetch-mode", "navigate"), ("accept", "text/html")]),
    ("another site reads", "GET", &[("sec-fetch-site", "cross-site")]),
    ("a page of ours writes", "POST", &[("origin", "https://app.example")]),
    ("another site writes", "POST", &[("origin", "https://evil.example")]),
    ("a program writes", "POST", &[]),
];

/// Returns one letter for the decision.
fn word(decision: &Decision) -> char {
    match decision {
        Decision::Forward(permit) => match permit.caller() {
            Caller::Known(_) => 'K',
            Caller::Anonymous(Anonymous::NoCredential) => '-',
            Caller::Anonymous(Anonymous::Ignored(_)) => 'i',
        },
        Decision::Refuse(denial) => match denial.refusal {
            Refusal::NotAuthenticated => 'a',
            Refusal::TokenNotValid => 'f',
            Refusal::TokenExpired => 'x',
            Refusal::SessionEnded => 'e',
            Refusal::CrossSite => 'c',
            Refusal::GroupRequired => 'g',
            Refusal::BadAuthorization => 'h',
            Refusal::ConflictingCredentials => '2',
            Refusal::StoreUnavailable => 'D',
            Refusal::AddressBlocked => 'B',
            Refusal::UserBlocked => 'u',
            Refusal::SessionBlocked => 's',
            Refusal::SignInAgain => 'n',
            other => panic!("{other:?} is in no cell"),
        },
        other => panic!("{other:?} is in no cell"),
    }
}

fn config() -> Config {
    let mut text = String::new();
    for (access, group) in ROUTES {
        let groups =
            if group.is_empty() { String::new() } else { format!("groups = [\"{group}\"]") };
        let path = format!("/{access}/{group}/").replace("//", "/");
        write!(text, "{}", route(&path, &format!("access = \"{access}\"\n{groups}"))).unwrap();
    }
    testkit::config(&text)
}

/// A store that is unreachable.
struct Down;

fn down<T>() -> Result<T, StoreError> {
    Err(StoreError("down".into()))
}

#[async_trait]
impl Sessions for Down {
    async fn create(&self, _: NewSession) -> Result<Arc<Session>, StoreError> {
        down()
    }
    async fn create_token(
        &self,
        _: NewSession,
        _: usize,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        down()
    }
    async fn create_once(&self, _: NewSession, _: NewStamp) -> Result<BeginOutcome, StoreError> {
        down()
    }
    async fn adopt(&self, _: NewSession) -> Result<BeginOutcome, StoreError> {
        down()
    }
    async fn renew(&self, _: Renewal) -> Result<Option<Arc<Session>>, StoreError> {
        down()
    }
    async fn find(
        &self,
        _: SessionBy<'_>,
        _: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        down()
    }
    async fn end(
        &self,
        _: &SessionSelection,
        _: EndReason,
        _: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        down()
    }
    async fn list(
        &self,
        _: Option<&UserKey>,
        _: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        down()
    }
    async fn upkeep(&self, _: Timestamp) -> Result<Upkeep, StoreError> {
        down()
    }
}

/// A user with a token and a cookie of one session.
struct Person {
    token: String,
    cookie: String,
    session: SessionId,
}

/// Creates kim, who is an editor; lee; and mia, noa and pia, who are to be blocked.
async fn people(kit: &Kit) -> [Person; 5] {
    {
        let mut accounts = kit.directory.accounts.lock();
        let kim = Arc::make_mut(&mut accounts[0].identity);
        kim.groups = vec!["editors".into()];
        for (id, name) in [("8", "lee"), ("9", "mia"), ("10", "noa"), ("11", "pia")] {
            accounts.push(crate::session::testkit::account(id, name, "right"));
        }
    }
    let mut all = Vec::new();
    for name in ["kim", "lee", "mia", "noa", "pia"] {
        let signed_in = kit.sign_in(name, "right", &Events::default()).await.unwrap();
        all.push(Person {
            token: format!("Bearer {}", signed_in.tokens.unwrap().access.expose()),
            cookie: format!("__Host-doorwarden={}", signed_in.cookie.unwrap().expose()),
            session: signed_in.session.id.clone(),
        });
    }
    all.try_into().ok().unwrap()
}

#[tokio::test]
async fn every_cell_is_as_the_table_says() {
    let kit = Kit::new();
    let [kim, lee, mia, noa, pia] = people(&kit).await;
    let store = Arc::clone(&kit.store);
    let mia_herself = BlockSubject::User(UserKey::new("django", "9"));
    block(&store, mia_herself, Demand::StayAway).await;
    block(&store, BlockSubject::Session(noa.session.clone()), Demand::StayAway).await;
    block(&store, BlockSubject::Session(pia.session.clone()), Demand::SignIn).await;
    let ended = kit.signed_in().await;
    let at = NOW;
    let which = SessionSelection::Session(ended.session.id.clone());
    kit.sessions.end(&which, EndReason::SignedOut, at, &Events::default()).await.unwrap();
    let ended_cookie = format!("__Host-doorwarden={}", ended.cookie.unwrap().expose());
    let ended_token = format!("Bearer {}", ended.tokens.unwrap().access.expose());
    let forged = format!("{}AAAA", &kim.token[..kim.token.len() - 4]);
    assert_ne!(kim.session, lee.session);
    let later = NOW.plus(Duration::from_secs(400));
    let over = NOW.plus(BLOCK);
    // These are created before the gates take the parts over.
    let unreachable = Kit::with(|parts| parts.session.store = Arc::new(Down));
    let unreachable_store = Arc::clone(&unreachable.store);
    let config = config();
    let gate = Gate::new(&config, Arc::new(kit.issuers));
    let blind = Gate::new(&config, Arc::new(unreachable.issuers));

    let bearer = |value: &str| vec![("authorization", value.to_owned())];
    let cookie = |value: &str| vec![("cookie", value.to_owned())];
    let rows: Vec<Row<'_>> = vec![
        ("nothing", Vec::new(), &gate, at),
        ("a token", bearer(&kim.token), &gate, at),
        ("a cookie", cookie(&kim.cookie), &gate, at),
        ("both of one person", [bearer(&kim.token), cookie(&kim.cookie)].concat(), &gate, at),
        ("of two people", [bearer(&kim.token), cookie(&lee.cookie)].concat(), &gate, at),
        (
            "a good token, a dead cookie",
            [bearer(&kim.token), cookie(&ended_cookie)].concat(),
            &gate,
            at,
        ),
        ("a forged token", bearer(&forged), &gate, at),
        (
            "a forged token, a good cookie",
            [bearer(&forged), cookie(&kim.cookie)].concat(),
            &gate,
            at,
        ),
        ("an expired token", bearer(&kim.token), &gate, later),
        ("a token of an ended session", bearer(&ended_token), &gate, at),
        ("a cookie of an ended session", cookie(&ended_cookie), &gate, at),
        ("a Bearer without a token", bearer("Bearer "), &gate, at),
        ("a scheme of the service's", bearer("Digest x"), &gate, at),
        ("a cookie, the store is down", cookie(&kim.cookie), &blind, at),
        ("a token of a blocked user", bearer(&mia.token), &gate, at),
        ("a cookie of a blocked user", cookie(&mia.cookie), &gate, at),
        ("a token of a blocked session", bearer(&noa.token), &gate, at),
        ("a cookie of a blocked session", cookie(&noa.cookie), &gate, at),
        ("a token of a session that must sign in", bearer(&pia.token), &gate, at),
        ("a cookie of a session that must sign in", cookie(&pia.cookie), &gate, at),
        (
            "both of a session that must sign in",
            [bearer(&pia.token), cookie(&pia.cookie)].concat(),
            &gate,
            at,
        ),
        (
            "of two people, one of them blocked",
            [bearer(&mia.token), cookie(&lee.cookie)].concat(),
            &gate,
            at,
        ),
        ("a token of a blocked user, when the block is over", bearer(&mia.token), &gate, over),
    ];
    let mut table = String::new();
    write_rows(&mut table, &rows, None).await;
    // From a blocked address nothing passes, whatever is presented.
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST).into();
    for store in [&store, &unreachable_store] {
        block(store, BlockSubject::address(address), Demand::StayAway).await;
    }
    write_rows(&mut table, &rows, Some('B')).await;
    assert_eq!(table, TABLE, "the decisions are now\n{table}");
}

/// Writes the decision at each site and route, for each row. `always`: that is the one answer, and one line states it.
async fn write_rows(table: &mut String, rows: &[Row<'_>], always: Option<char>) {
    if let Some(always) = always {
        writeln!(table, "anything from a blocked address\n    always                 {always}")
            .unwrap();
    }
    for (name, fields, gate, at) in rows {
        if always.is_none() {
            writeln!(table, "{name}").unwrap();
        } else if *at >= NOW.plus(BLOCK) {
            continue;
        }
        for (site, method, said) in SITES {
            let mut line = format!("    {site:<22}");
            for (access, group) in ROUTES {
                let path = format!("/{access}/{group}/").replace("//", "/");
                let said = said.iter().copied();
                let fields: Vec<_> =
                    fields.iter().map(|(n, v)| (*n, v.as_str())).chain(said).collect();
                let arrival = arrival(method, &path, &fields, *at);
                let decision = gate.decide(&arrival).await;
                let word = word(&decision);
                assert!(always.is_none_or(|always| always == word), "{name}: {word}");
                write!(line, " {word}").unwrap();
            }
            if always.is_none() {
                writeln!(table, "{}", line.trim_end()).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_blocked_address_reaches_neither_own_paths_nor_what_is_not_there() {
    let kit = Kit::new();
    let store = Arc::clone(&kit.store);
    let gate = Gate::new(&config(), Arc::new(kit.issuers));
    let network = "127.0.0.0/8".parse().unwrap();
    block(&store, BlockSubject::address(network), Demand::StayAway).await;
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "PUT")];
    for (method, path, fields) in [
        ("POST", "/login", &[][..]),
        ("GET", "/jwks.json", &[]),
        ("GET", "/nowhere", &[]),
        ("DELETE", "/public/", &[]),
        ("OPTIONS", "/public/", &preflight),
    ] {
        let arrival = arrival(method, path, fields, NOW);
        match gate.decide(&arrival).await {
            Decision::Refuse(denial) => {
                assert_eq!(denial.refusal, Refusal::AddressBlocked, "{path}");
                assert_eq!(denial.retry_after, Some(BLOCK));
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_refusal_says_whose_credential_it_was_if_that_was_valid() {
    let kit = Kit::new();
    let [kim, _, mia, ..] = people(&kit).await;
    let herself = BlockSubject::User(UserKey::new("django", "9"));
    block(&kit.store, herself, Demand::StayAway).await;
    let gate = Gate::new(&config(), Arc::new(kit.issuers));
    for (method, token, refusal, user) in [
        ("GET", Some(("authorization", &kim.token)), Refusal::GroupRequired, Some("7")),
        ("GET", Some(("authorization", &mia.token)), Refusal::UserBlocked, Some("9")),
        ("POST", Some(("cookie", &kim.cookie)), Refusal::CrossSite, Some("7")),
        ("GET", None, Refusal::NotAuthenticated, None),
    ] {
        let mut fields = vec![("origin", "https://evil.example")];
        fields.extend(token.map(|(name, value)| (name, value.as_str())));
        let decision = gate.decide(&arrival(method, "/signed-in/admins/", &fields, NOW)).await;
        let Decision::Refuse(denial) = decision else { panic!("{refusal:?}: {decision:?}") };
        let is = denial.caller.as_ref().map(|known| &*known.identity.key.id);
        assert_eq!((denial.refusal, is), (refusal, user));
    }
}

/// How long the tests block for.
const BLOCK: Duration = Duration::from_secs(250);

async fn block(store: &Memory, subject: BlockSubject, demand: Demand) {
    let (by, reason) = (BlockedBy::Detector, "scanning".into());
    let new = Block { subject, demand, by, reason, at: NOW, until: NOW.plus(BLOCK) };
    let blocked = store.block(new).await.unwrap();
    assert!(matches!(blocked, Blocked::Holds(_)), "{blocked:?}");
}
