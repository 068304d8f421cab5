//! Measures the decision about one request, with a credential that is cached (warm) and one that is new (cold).
//!
//! A decision that needs no I/O is ready at its first poll, and these must be: each is polled once, without a runtime,
//! whose cost would be measured too.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use criterion::{BatchSize, Criterion};
use doorwarden::caller::{Identity, UserKey};
use doorwarden::clock::Timestamp;
use doorwarden::config::{Config, RotationPolicy};
use doorwarden::context::{Events, RequestContext};
use doorwarden::directory::password::{self, PasswordPool};
use doorwarden::directory::{Account, Directory, DirectoryError, PasswordStore, Users};
use doorwarden::django::hashers::PasswordHasher;
use doorwarden::factor::{FactorKey, FactorParts, Factors};
use doorwarden::gate::{Decision, Gate};
use doorwarden::geo::NoPlaces;
use doorwarden::issuer::{IssuerParts, IssuerState, Issuers};
use doorwarden::secret::Secret;
use doorwarden::service::database::Databases;
use doorwarden::session::account_notes::account_notes;
use doorwarden::session::cookies::CookieNames;
use doorwarden::session::devices::Devices;
use doorwarden::session::keys::KeyRing;
use doorwarden::session::personal_token::PersonalTokenRules;
use doorwarden::session::refresh_token::RefreshKey;
use doorwarden::session::service_cookies::ServiceCookies;
use doorwarden::session::{
    Grants, SessionManager, SessionParts, SessionState, SignIn, SignedIn, WatchedDirectory,
};
use doorwarden::store::Store;
use doorwarden::store::counters::memory::CountersInMemory;
use doorwarden::store::memory::Memory;
use doorwarden::wire::arrival::Arrival;
use doorwarden::wire::client_ip::{ClientAddress, TrustedProxies};
use doorwarden::wire::host::Host;
use doorwarden::wire::path::{Target, Tolerance};
use doorwarden::wire::scheme::Scheme;
use futures_util::FutureExt;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue, Method};

use crate::request;

const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
const PASSWORD: &str = "correct horse battery";

/// As many routes as a small site has, so that the search for a route is measured as well.
const CONFIG: &str = r#"
[listen]
http = ["127.0.0.1:0"]

[store]
path = "store.db"

[[upstream]]
name = "app"
servers = ["127.0.0.1:8000"]

[[directory]]
kind = "file"
path = "users.toml"

[[route]]
name = "static"
path = "/static/"
upstream = "app"
access = "public"

[[route]]
name = "media"
path = "/media/"
upstream = "app"
access = "public"

[[route]]
name = "event"
path = "/events/*/login/"
match = "exact"
upstream = "app"
access = "public"

[[route]]
name = "editors"
path = "/api/v1/drafts/"
upstream = "app"
groups = ["editors"]

[[route]]
name = "api"
path = "/api/"
upstream = "app"

[[route]]
name = "app"
path = "/"
upstream = "app"
"#;

/// Everything that a decision needs, and a user who is signed in.
struct Scene {
    issuers: Arc<Issuers>,
    gate: Gate,
    signed_in: SignedIn,
}

/// Measures the gate.
pub(crate) fn decision(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::new(folder.path());
    let tokens = scene.signed_in.tokens.as_ref().unwrap();
    let bearer = format!("Bearer {}", tokens.access.expose());
    let cookie = scene.signed_in.cookie.as_ref().unwrap().expose();
    let cookie = format!("theme=dark; {}={cookie}; csrftoken=x7Gf2", request::COOKIE);

    let mut group = criterion.benchmark_group("gate");
    for (name, target, credential) in [
        ("public route", "/static/app.css", None),
        ("public route, a pattern", "/events/2026/login/", None),
        ("access token, warm", request::TARGET, Some((AUTHORIZATION, bearer.as_str()))),
        ("session cookie, warm", request::TARGET, Some((COOKIE, cookie.as_str()))),
    ] {
        let arrival = arrival(target, credential);
        assert!(matches!(scene.decide(&arrival), Decision::Forward(_)), "{name} passes");
        group.bench_function(name, |bencher| bencher.iter(|| scene.decide(black_box(&arrival))));
    }
    group.bench_function("access token, cold", |bencher| {
        bencher.iter_batched(
            || {
                let bearer = format!("Bearer {}", scene.another_access_token().expose());
                arrival(request::TARGET, Some((AUTHORIZATION, &bearer)))
            },
            |arrival| scene.decide(black_box(&arrival)),
            BatchSize::SmallInput,
        );
    });
    let nobody = arrival(request::TARGET, None);
    assert!(matches!(scene.decide(&nobody), Decision::Refuse(_)), "nobody passes");
    group.bench_function("refused", |bencher| bencher.iter(|| scene.decide(black_box(&nobody))));
}

impl Scene {
    fn new(folder: &Path) -> Self {
        let (config, _) = Config::parse(CONFIG, folder, "gateway.toml").expect("it is sound");
        let store = Store::of(Memory::new());
        let kim =
            WatchedDirectory::new(Directory::Users(Arc::new(Kim::new())), Duration::from_secs(60));
        let (sessions, kept) = (Arc::clone(&store.sessions), Arc::clone(&store.kept));
        let kept = ServiceCookies::new(b"secret", sessions, kept, Vec::new());
        let directories = vec![kim];
        let (databases, state) = (Databases::default(), IssuerState::new().unwrap());
        let stamps = Arc::clone(&store.stamps);
        let opened =
            IssuerParts::open(&[], &directories, &databases, store.stamps, &state).unwrap();
        let kept_in = Arc::clone(&store.sessions);
        let factors = Factors::new(FactorParts {
            store: store.factors,
            passkey_store: store.passkeys,
            questions: store.questions,
            passkeys: None,
            key: Arc::new(FactorKey::new(b"secret").unwrap()),
            settings: config.second_factor.clone(),
            label: String::new(),
            at_services: Vec::new(),
        });
        let sessions = Arc::new(SessionManager::new(SessionParts {
            kept: Arc::new(kept.unwrap()),
            store: store.sessions,
            refresh_tokens: store.refresh_tokens,
            blocks: store.blocks,
            devices: Arc::new(Devices::new(b"secret", stamps)),
            places: Arc::new(NoPlaces),
            ends: opened.ends(),
            mints: opened.mints(),
            factors: Arc::new(factors),
            records: store.records,
            account_notes: account_notes().0,
            directories,
            passwords: PasswordPool::start(1, 1).unwrap(),
            keys: KeyRing::open(&config.tokens, NOW).unwrap(),
            refresh_key: Arc::new(RefreshKey::random().unwrap()),
            tokens: config.tokens.clone(),
            session: config.session.clone(),
            personal_tokens: PersonalTokenRules::of(&config),
            cookies: CookieNames::of(&config),
            login: config.login.clone(),
            state: SessionState::new(CountersInMemory::new()).unwrap(),
        }));
        let issuers = Arc::new(Issuers::new(opened, Arc::clone(&sessions), kept_in));
        let gate = Gate::new(&config, Arc::clone(&issuers));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sign_in = SignIn {
            is_typed: false,
            username: "kim",
            password: &Secret::new(PASSWORD),
            grants: Grants { tokens: true, cookie: true, issued: None },
            device: "",
            otp: None,
        };
        let events = Events::default();
        let (at, client, agent, request_id) = (NOW, CLIENT, "", "");
        let context = RequestContext { at, client, agent, request_id, events: &events };
        let signed_in = runtime.block_on(sessions.sign_in(sign_in, &context)).unwrap();
        Self { issuers, gate, signed_in }
    }

    fn decide(&self, arrival: &Arrival) -> Decision {
        let decision = self.gate.decide(arrival).now_or_never().expect("it needs no I/O");
        // The proxy empties the list at the end of a request, too.
        arrival.events.take();
        decision
    }

    /// Returns a token that the gate has not verified yet.
    fn another_access_token(&self) -> Secret {
        let refresh = self.signed_in.tokens.as_ref().unwrap().refresh.as_ref().unwrap();
        let events = Events::default();
        let (at, client, agent, request_id) = (NOW, CLIENT, "", "");
        let context = &RequestContext { at, client, agent, request_id, events: &events };
        let given = self.issuers.refresh(refresh.expose(), RotationPolicy::None, context);
        given.now_or_never().expect("memory does not wait").unwrap().access
    }
}

fn arrival(target: &str, credential: Option<(HeaderName, &str)>) -> Arrival {
    let mut headers = request::headers();
    headers.remove(COOKIE);
    if let Some((name, value)) = credential {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    Arrival {
        // A second after the sign-in: the session is in use, and not new.
        at: NOW.plus(Duration::from_secs(1)),
        request_id: Arc::from("7f3a9c0d51e2b684-00000042"),
        method: Method::GET,
        target: Target::parse(target, Tolerance::NONE).unwrap(),
        host: Host::parse("app.example.com").unwrap(),
        scheme: Scheme::Https,
        client: ClientAddress::resolve(CLIENT, &TrustedProxies::default(), &headers),
        headers,
        has_body: false,
        websocket: false,
        events: Events::default(),
    }
}

/// A directory with one user.
struct Kim(Account);

impl Kim {
    fn new() -> Self {
        let identity = Identity {
            key: UserKey::new("file", "1"),
            name: "kim".into(),
            groups: vec!["editors".into()],
            staff: false,
            superuser: false,
            attributes: BTreeMap::new(),
        };
        let password = password::hash(&Secret::new(PASSWORD)).unwrap();
        let password = Secret::new(format!("argon2{password}"));
        Self(Account {
            identity: Arc::new(identity),
            active: true,
            has_second_factor: false,
            password,
        })
    }
}

#[async_trait]
impl Users for Kim {
    fn name(&self) -> &str {
        "file"
    }

    fn hashers(&self) -> Arc<[PasswordHasher]> {
        Arc::from([PasswordHasher::Argon2])
    }

    fn decoy(&self) -> Secret {
        password::decoy()
    }

    async fn find(&self, _: &str) -> Result<Option<Account>, DirectoryError> {
        Ok(Some(self.0.clone()))
    }

    async fn by_id(&self, _: &UserKey) -> Result<Option<Account>, DirectoryError> {
        Ok(Some(self.0.clone()))
    }

    async fn with_address(&self, _: &str) -> Result<usize, DirectoryError> {
        Ok(1)
    }

    fn as_typed<'n>(&self, name: &'n str) -> Cow<'n, str> {
        Cow::Borrowed(name)
    }

    async fn key(&self, id: &str) -> Result<UserKey, DirectoryError> {
        Ok(UserKey::new("file", id))
    }

    fn upgrades_to(&self) -> Option<PasswordHasher> {
        None
    }

    fn password_store(&self) -> Option<&dyn PasswordStore> {
        None
    }

    async fn missing(&self) -> Result<Vec<String>, DirectoryError> {
        Ok(Vec::new())
    }
}
