//! Mailed sign-in links: how they are requested and opened.
//!
//! **A request reveals nothing.** It is answered before any user is looked up: the request goes into the outbox, and the worker
//! finds out whether there is such an account, with an address of its own. So neither the answer nor its time depends on it.
//!
//! **Three an hour for one name** ([`requested`](super::requested)). The requests of each address are limited as well
//! ([`tries_by_address`](super::tries_by_address)).
//!
//! **The link** is valid only in the browser that requested it. The store holds only the hashes of its secret and of that
//! browser's cookie. Showing its page changes nothing; it is used once, together with all others of the same account and
//! browser.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::news::{News, Person};
use super::requested::{HOUR, RequestedMail};
use super::tries_by_address::{TriesByAddress, TryRefused};
use super::worker::Counting;
use crate::clock::Timestamp;
use crate::config::MAILED_LINKS;
use crate::secret::{Digest, Secret};
use crate::store::StoreError;
use crate::store::counters::Counters;
use crate::store::outbox::{Outbox, Questions};

/// How long a link is valid after its request.
pub const LINK: Duration = Duration::from_secs(600);

/// The most requests of one address in [`HOUR`].
const PER_ADDRESS: u32 = 10;

/// The longest token; a longer text is not looked up.
const LONGEST_TOKEN: usize = 64;

/// A request for a link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LinkAsked {
    /// The name as it was given.
    pub name: String,
    /// Whether it was typed into the gateway's own form.
    pub is_typed: bool,
    /// The user whose password was right, if known.
    pub user: Option<Person>,
    /// The name under which requests are counted.
    pub account: String,
    /// The hash of the cookie of the browser that requests it.
    pub browser: String,
    /// The client's address.
    pub client: IpAddr,
    /// The `User-Agent`.
    pub agent: String,
    /// The time of the request, in milliseconds since 1970.
    pub at: u64,
    /// Where the user wanted to go; `None` is the start page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The meaning of a link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MailedLink {
    /// The user whom the link lets in.
    pub user: Person,
    /// The name under which requests are counted.
    pub account: String,
    /// The hash of the password mark from the directory.
    pub password: String,
    /// The hash of the cookie of the browser that requested it.
    pub browser: String,
    /// The time of the request, in milliseconds since 1970.
    pub asked_at: u64,
    /// Where the user wanted to go. Stored here and not in the letter, where others could read or change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Takes requests for links, and opens links: see the head of this module. Cheap to clone.
#[derive(Clone)]
pub struct MailedLinks {
    requested: RequestedMail,
    questions: Arc<dyn Questions>,
    asking: TriesByAddress,
    wrong: TriesByAddress,
}

impl LinkAsked {
    /// Returns the key of the `nth` request within an hour.
    fn key(&self, nth: u32) -> Digest {
        Digest::of(format!("mailed link {nth}\n{}", self.account).as_bytes())
    }
}

impl MailedLink {
    /// Whether the browser with this cookie requested it.
    pub fn is_of_browser(&self, cookie: &Secret) -> bool {
        self.browser == hash_text(&cookie.digest())
    }

    /// Returns the hash of the password mark from the directory.
    pub fn password_mark(&self) -> Option<Digest> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.password).ok()?;
        Some(Digest::from_bytes(bytes.try_into().ok()?))
    }

    /// Returns what all links of this account and browser have in common: using one uses all.
    pub(super) fn about(&self) -> Digest {
        let Person { directory, id } = &self.user;
        Digest::of(format!("mailed link\n{directory}\n{id}\n{}", self.browser).as_bytes())
    }
}

impl MailedLinks {
    /// Creates it with the outbox for requests, the store of links, and the counters of tries.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        questions: Arc<dyn Questions>,
        counting: Arc<dyn Counting>,
        counters: Arc<dyn Counters>,
    ) -> Self {
        let (of_asking, of_wrong) = ("requests for mailed links", "wrong mailed links");
        let asking = TriesByAddress::new(Arc::clone(&counters), of_asking, PER_ADDRESS, HOUR);
        let wrong = TriesByAddress::of_wrong_links(counters, of_wrong);
        let requested = RequestedMail::new(MAILED_LINKS, outbox, counting);
        Self { requested, questions, asking, wrong }
    }

    /// Checks whether this client may request a link, and counts a request that is allowed.
    ///
    /// # Errors
    /// [`TryRefused`].
    pub async fn admit_asking(&self, client: IpAddr, now: Timestamp) -> Result<(), TryRefused> {
        self.asking.take(client, now).await
    }

    /// Checks whether this client may open a link.
    ///
    /// # Errors
    /// [`TryRefused`] after too many invalid links, or if they cannot be counted.
    pub async fn admit(&self, client: IpAddr, now: Timestamp) -> Result<(), TryRefused> {
        self.wrong.admit(client, now).await
    }

    /// Records that this client tried an invalid link.
    ///
    /// # Errors
    /// If it cannot be counted.
    pub async fn note_wrong(&self, client: IpAddr, now: Timestamp) -> Result<(), StoreError> {
        self.wrong.note(client, now).await
    }

    /// Requests a link, durably when this returns. `bound`: the most requests that wait. Returns false after three within an
    /// hour.
    ///
    /// # Errors
    /// If the store cannot write it.
    pub async fn ask(&self, asked: LinkAsked, bound: u32) -> Result<bool, StoreError> {
        let key = |nth| asked.key(nth);
        self.requested.ask(&News::LinkAsked(asked.clone()), key, bound).await
    }

    /// Returns the meaning of a link; `None` if it is invalid, expired, or used.
    ///
    /// # Errors
    /// If the store cannot be read.
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

    /// Uses up the link, with all others of its account and browser. Returns true once.
    ///
    /// # Errors
    /// If the store cannot write it.
    pub async fn spend(&self, token: &Secret, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.questions.answer(&link_digest(token), now).await?.is_some())
    }
}

/// Returns the digest under which a link is stored. It never equals that of another letter's secret.
pub(super) fn link_digest(token: &Secret) -> Digest {
    Digest::of(format!("mailed link\n{}", token.expose()).as_bytes())
}

/// Returns a hash in the text form that is stored.
pub fn hash_text(digest: &Digest) -> String {
    URL_SAFE_NO_PAD.encode(digest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::DeliveryOutcome;
    use crate::store::counters::memory::CountersInMemory;
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
            CountersInMemory::new(),
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
            // A new instance for each request, as after a restart.
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

    #[tokio::test]
    async fn an_address_asks_ten_times_an_hour() {
        let links = links(&Memory::new());
        let (one, other): (IpAddr, IpAddr) =
            ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for n in 0..10 {
            assert_eq!(links.admit_asking(one, at(n)).await, Ok(()), "{n}");
        }
        let wait = TryRefused::Wait(Duration::from_secs(3500));
        assert_eq!(links.admit_asking(one, at(100)).await, Err(wait));
        assert_eq!(links.admit_asking(other, at(100)).await, Ok(()));
        assert_eq!(links.admit(one, at(100)).await, Ok(()), "opening is another matter");
        assert_eq!(links.admit_asking(one, at(3600)).await, Ok(()));
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
        // The secret of another letter is no link, and a link is no answer to another letter.
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
