//! Links that are mailed to let somebody in: asking for one, and opening it.
//!
//! **Asking says nothing.** Whoever asks is answered before anybody is looked up: the wish goes into the outbox, and the worker
//! finds out whether there is such an account, with an address of its own. So neither answer nor time depend on it.
//!
//! **Three an hour for one name** ([`requested`](super::requested)). And each address may ask so often in an hour, which is kept in memory.
//!
//! **The link** is worth something in the browser that asked alone. The store has hashes, of its secret and of that browser's
//! cookie, and no more. Looking at it changes nothing; it is spent once, with all others of the same account and browser.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::news::{News, Person};
use super::requested::{HOUR, RequestedMail};
use super::tries_by_address::TriesByAddress;
use super::worker::Counting;
use crate::clock::Timestamp;
use crate::config::MAILED_LINKS;
use crate::secret::{Digest, Secret};
use crate::store::StoreError;
use crate::store::outbox::{Outbox, Questions};

/// How long a link works, from the moment when it was asked for.
pub const LINK: Duration = Duration::from_secs(600);

/// So often one address may ask in [`HOUR`].
const PER_ADDRESS: u32 = 10;

/// Longer is no token.
const LONGEST_TOKEN: usize = 64;

/// Somebody asks for a link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LinkAsked {
    /// The name, as it was given.
    pub name: String,
    /// Was it typed into the gateway's own form?
    pub is_typed: bool,
    /// Whose password was right, where that is known.
    pub user: Option<Person>,
    /// The name as it is counted.
    pub account: String,
    /// The browser that asks: the hash of its cookie.
    pub browser: String,
    /// From where.
    pub client: IpAddr,
    /// The `User-Agent`.
    pub agent: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Where they wanted to go; none: the start page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a link stands for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MailedLink {
    /// Whom it lets in.
    pub user: Person,
    /// The name as it is counted.
    pub account: String,
    /// The hash of what the directory said of their password.
    pub password: String,
    /// The browser that asked: the hash of its cookie.
    pub browser: String,
    /// When, in milliseconds since 1970.
    pub asked_at: u64,
    /// Where they wanted to go. It is kept here and not in the letter, where others would read or change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// See the head of this module. Cheap to clone.
#[derive(Clone)]
pub struct MailedLinks {
    requested: RequestedMail,
    questions: Arc<dyn Questions>,
    asking: Arc<TriesByAddress>,
    wrong: Arc<TriesByAddress>,
}

impl LinkAsked {
    /// One key for each that may be mailed in an hour.
    fn key(&self, nth: u32) -> Digest {
        Digest::of(format!("mailed link {nth}\n{}", self.account).as_bytes())
    }
}

impl MailedLink {
    /// Was it asked for by the browser with this cookie?
    pub fn is_of_browser(&self, cookie: &Secret) -> bool {
        self.browser == hash_text(&cookie.digest())
    }

    /// The hash of what the directory said of the password.
    pub fn password_mark(&self) -> Option<Digest> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.password).ok()?;
        Some(Digest::from_bytes(bytes.try_into().ok()?))
    }

    /// What one answer answers: each link of this account and browser.
    pub(super) fn about(&self) -> Digest {
        let Person { directory, id } = &self.user;
        Digest::of(format!("mailed link\n{directory}\n{id}\n{}", self.browser).as_bytes())
    }
}

impl MailedLinks {
    /// Wishes go into this outbox, and are questions until they are answered.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        questions: Arc<dyn Questions>,
        counting: Arc<dyn Counting>,
    ) -> Self {
        let asking = Arc::new(TriesByAddress::new(PER_ADDRESS, HOUR));
        let requested = RequestedMail::new(MAILED_LINKS, outbox, counting);
        Self { requested, questions, asking, wrong: Arc::default() }
    }

    /// May this client ask for one? If so, it has asked.
    ///
    /// # Errors
    /// How long it has to wait.
    pub fn admit_asking(&self, client: IpAddr, now: Timestamp) -> Result<(), Duration> {
        self.asking.admit(client, now)?;
        self.asking.note(client, now);
        Ok(())
    }

    /// May this client open one?
    ///
    /// # Errors
    /// How long it has to wait: it tried too many that were none.
    pub fn admit(&self, client: IpAddr, now: Timestamp) -> Result<(), Duration> {
        self.wrong.admit(client, now)
    }

    /// This client tried one that is none.
    pub fn note_wrong(&self, client: IpAddr, now: Timestamp) {
        self.wrong.note(client, now);
    }

    /// Asks for one; durable when this returns. `bound`: how many wishes wait at most. False: there were three within an hour.
    ///
    /// # Errors
    /// If the store cannot keep it.
    pub async fn ask(&self, asked: LinkAsked, bound: u32) -> Result<bool, StoreError> {
        let key = |nth| asked.key(nth);
        self.requested.ask(&News::LinkAsked(asked.clone()), key, bound).await
    }

    /// What a link stands for. `None`: nothing, because it is none, too old, or spent.
    ///
    /// # Errors
    /// If the store cannot say.
    pub async fn look(
        &self,
        token: &Secret,
        now: Timestamp,
    ) -> Result<Option<MailedLink>, StoreError> {
        let text = token.expose();
        if text.is_empty() || text.len() > LONGEST_TOKEN {
            return Ok(None);
        }
        let body = self.questions.question(&link_digest(token), now).await?;
        Ok(body.and_then(|body| serde_json::from_slice(&body).ok()))
    }

    /// Spends it, with all others of its account and browser: true once.
    ///
    /// # Errors
    /// If the store cannot take it.
    pub async fn spend(&self, token: &Secret, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.questions.answer(&link_digest(token), now).await?.is_some())
    }
}

/// Under what a link is kept. It is never mistaken for another secret that a letter has.
pub(super) fn link_digest(token: &Secret) -> Digest {
    Digest::of(format!("mailed link\n{}", token.expose()).as_bytes())
}

/// A hash, as it is written.
pub fn hash_text(digest: &Digest) -> String {
    URL_SAFE_NO_PAD.encode(digest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::DeliveryOutcome;
    use crate::store::memory::Memory;
    use crate::store::outbox::{Claim, NewQuestion};

    struct NoCounting;

    impl Counting for NoCounting {
        fn outcome(&self, _: &str, _: DeliveryOutcome) {}
        fn waiting(&self, _: &str, _: u64) {}
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + secs)
    }

    fn links(store: &Arc<Memory>) -> MailedLinks {
        MailedLinks::new(
            Arc::clone(store) as Arc<dyn Outbox>,
            Arc::clone(store) as Arc<dyn Questions>,
            Arc::new(NoCounting),
        )
    }

    fn asked(account: &str, at: Timestamp) -> LinkAsked {
        LinkAsked {
            name: account.into(),
            is_typed: true,
            user: None,
            account: account.into(),
            browser: "a browser".into(),
            client: "192.0.2.1".parse().unwrap(),
            agent: String::new(),
            at: at.as_millis(),
            next: None,
        }
    }

    #[tokio::test]
    async fn three_an_hour_for_one_name_also_after_a_restart() {
        let store = Memory::new();
        for (account, secs, is_mailed) in [
            ("kim", 0, true),
            ("kim", 600, true),
            ("김", 601, true),
            ("kim", 1200, true),
            ("kim", 1300, false),
            ("nobody", 1300, true),
            ("kim", 3599, false),
            ("kim", 3600, true),
            ("kim", 3601, false),
            ("kim", 4200, true),
        ] {
            // Of each wish another one, as after a restart.
            let wish = links(&store).ask(asked(account, at(secs)), 100).await.unwrap();
            assert_eq!(wish, is_mailed, "{account} {secs}");
            let claim = Claim {
                channel: MAILED_LINKS.into(),
                limit: 9,
                now: at(secs),
                until: at(secs + 60),
            };
            for message in store.claim_messages(claim).await.unwrap() {
                let done = crate::store::outbox::Settled::Done;
                store.settle_message(&message.id, done).await.unwrap();
            }
        }
    }

    #[test]
    fn an_address_asks_ten_times_an_hour() {
        let links = links(&Memory::new());
        let (one, other): (IpAddr, IpAddr) =
            ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for n in 0..10 {
            assert_eq!(links.admit_asking(one, at(n)), Ok(()), "{n}");
        }
        assert_eq!(links.admit_asking(one, at(100)), Err(Duration::from_secs(3500)));
        assert_eq!(links.admit_asking(other, at(100)), Ok(()));
        assert_eq!(links.admit(one, at(100)), Ok(()), "opening is another matter");
        assert_eq!(links.admit_asking(one, at(3600)), Ok(()));
    }

    #[tokio::test]
    async fn a_link_is_spent_once_with_its_like_and_ends_by_time() {
        let store = Memory::new();
        let links = links(&store);
        let link = |browser: &str| MailedLink {
            user: Person { directory: "django".into(), id: "7".into() },
            account: "kim".into(),
            password: hash_text(&Digest::of(b"pw")),
            browser: browser.into(),
            asked_at: 0,
            next: None,
        };
        let give = async |text: &str, link: &MailedLink| {
            let token = Secret::new(text);
            let new = NewQuestion {
                digest: link_digest(&token),
                about: link.about(),
                body: serde_json::to_vec(link).unwrap(),
                expires_at: at(600),
            };
            store.ask(new).await.unwrap();
            token
        };
        let cookie = Secret::new("cookie");
        let own = link(&hash_text(&cookie.digest()));
        let (first, second) = (give("one", &own).await, give("two", &own).await);
        let other = give("three", &link("another")).await;
        let found = links.look(&first, at(599)).await.unwrap().unwrap();
        assert!(found.is_of_browser(&cookie) && !found.is_of_browser(&Secret::new("")));
        assert_eq!(found.password_mark(), Some(Digest::of(b"pw")));
        assert_eq!(links.look(&first, at(600)).await.unwrap(), None, "too late");
        for none in ["", "ones", "One", &*"x".repeat(65), "mailed link\none"] {
            assert_eq!(links.look(&Secret::new(none), at(1)).await.unwrap(), None, "{none}");
        }
        assert!(!links.spend(&first, at(600)).await.unwrap());
        let both = tokio::join!(links.spend(&first, at(1)), links.spend(&first, at(1)));
        assert_eq!([both.0.unwrap(), both.1.unwrap()].iter().filter(|spent| **spent).count(), 1);
        assert_eq!(links.look(&second, at(1)).await.unwrap(), None, "of the same browser");
        assert!(links.look(&other, at(1)).await.unwrap().is_some());
        // The secret of another letter is no link, and a link answers no other letter.
        let plain = NewQuestion {
            digest: Secret::new("four").digest(),
            about: Digest::of(b"x"),
            body: serde_json::to_vec(&own).unwrap(),
            expires_at: at(600),
        };
        store.ask(plain).await.unwrap();
        assert_eq!(links.look(&Secret::new("four"), at(1)).await.unwrap(), None);
    }
}
