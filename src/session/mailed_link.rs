//! What a mailed link allows the browser in which it was opened: for ten minutes, it may try the account's password whatever
//! others do, and set up the first second factor where one is required.
//!
//! An opened link replaces a known device ([`devices`](super::devices)) and proves less: only that whoever opened it reads the
//! account's mail. So it is no second factor and allows no further guesses at one, and a sign-in with it counts as one from a
//! new browser, of which the user is notified. The password is required as usual.
//!
//! The admission is stored in the device cookie, next to the entries of known devices, as an `l` and 72 bytes in base64url, of
//! the same form as those but under another key. It is valid for ten minutes, for its account and its password alone. It is
//! voided by ten failures (the lockout counts them), by anything that voids a user's devices, and by an operator who removes
//! the user's second factors.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::devices::{Devices, ENTRY, KnownDevice, LONGEST, cut, one_key, stamp_key, user_tag};
use super::lockout::folded;
use super::{Checked, SessionManager, SignInRefused, store_failed};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::context::RequestContext;
use crate::factor::FactorRequirement;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret, random_bytes};
use crate::store::{Keep, NewStamp, Stamps, StoreError};

/// How long an admission is valid.
pub const ADMISSION: Duration = Duration::from_secs(600);

/// The length of such an entry in a cookie, including the dot before it.
pub(super) const TEXT: usize = 98;

const MARK: char = 'l';

/// The length of the part of an entry that the tag covers.
const SAID: usize = ENTRY - 16;

/// Mailed links: whom one would help, and what it allows.
#[derive(Clone, Copy)]
pub struct LinkAdmissions<'s>(pub(super) &'s SessionManager);

/// The account that a link admits to, and when the link was requested.
#[derive(Clone, Copy, Debug)]
pub struct LinkOwner<'a> {
    /// The user that the account belongs to.
    pub user: &'a UserKey,
    /// The name that was given, folded.
    pub account: &'a str,
    /// The mark of the password that the user had then.
    pub password_mark: Digest,
    /// When the link was requested.
    pub asked_at: Timestamp,
}

impl Devices {
    /// Returns the cookie of a browser in which a link was opened; `None` if there is no randomness.
    fn admit(&self, cookie: &str, of: LinkOwner<'_>, at: Timestamp) -> Option<Secret> {
        let mut entry = Vec::with_capacity(ENTRY);
        entry.extend_from_slice(&self.account_tag(of.account));
        entry.extend_from_slice(&user_tag(of.user));
        entry.extend_from_slice(&random_bytes::<16>().ok()?);
        entry.extend_from_slice(&at.as_secs().to_be_bytes());
        entry.extend_from_slice(&self.password_tag(of.password_mark));
        let tag = self.admission_tag(&entry, of.account);
        entry.extend_from_slice(&tag);
        let cookie = if cookie.len() <= LONGEST { cookie } else { "" };
        let is_other = |text: &&str| !text.is_empty() && admission(text).is_none();
        let mut all: Vec<String> = cookie.split('.').filter(is_other).map(str::to_owned).collect();
        all.push(format!("{MARK}{}", URL_SAFE_NO_PAD.encode(entry)));
        Some(Secret::new(all.join(".")))
    }

    /// Returns the admission that a link gave this browser for this account (a folded name), if it is still valid.
    fn admitted(&self, cookie: &str, account: &str, at: Timestamp) -> Option<KnownDevice> {
        if cookie.len() > LONGEST {
            return None;
        }
        let entry = cookie.split('.').find_map(admission)?;
        let part = |from: usize, to: usize| entry.get(from..to).unwrap_or_default();
        let (said, tag) = (part(0, SAID), part(SAID, ENTRY));
        let sealed = self.admission_tag(said, account);
        aws_lc_rs::constant_time::verify_slices_are_equal(&sealed, tag).ok()?;
        let given = Timestamp::from_secs(u64::from_be_bytes(cut(part(40, 48))));
        let id = Digest::of(part(24, 40));
        let user = cut::<16>(part(8, 24));
        let is_void = self.is_voided_since(&user, given) || {
            let since = self.stamps.stamp(&one_key(&id));
            since.is_some_and(|since| given.as_secs() <= since.as_secs())
        };
        let is_good = given <= at && at.since(given) < ADMISSION && !is_void;
        is_good.then(|| KnownDevice { id, password: cut(part(48, 56)) })
    }

    /// Whether the user's links were voided since `given`. In whole seconds, so that one given within the same second is void.
    fn is_voided_since(&self, user: &[u8; 16], given: Timestamp) -> bool {
        [stamp_key(user), links_key(user)].iter().any(|key| {
            let since = self.stamps.stamp(key);
            since.is_some_and(|since| given.as_secs() <= since.as_secs())
        })
    }

    fn admission_tag(&self, said: &[u8], account: &str) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"mailed link\0");
        context.update(said);
        context.update(account.as_bytes());
        cut(context.sign().as_ref())
    }
}

/// Voids the pending links of a user, and the admissions from links that were opened.
///
/// # Errors
/// [`StoreError`]; the links are then still valid.
pub async fn void_links(
    stamps: &Arc<dyn Stamps>,
    user: &UserKey,
    at: Timestamp,
) -> Result<(), StoreError> {
    let (key, kept_until) = (links_key(&user_tag(user)), at.plus(2 * ADMISSION));
    stamps.put(NewStamp { key, at, keep: Keep::Latest, kept_until }).await.map(|_| ())
}

fn links_key(user_tag: &[u8; 16]) -> Digest {
    stamp_key(&[b"mailed links\0".as_slice(), user_tag].concat())
}

/// Returns the entry in this part of a cookie, genuine or not.
fn admission(text: &str) -> Option<[u8; ENTRY]> {
    if text.len() >= TEXT {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text.strip_prefix(MARK)?).ok()?.try_into().ok()
}

impl LinkAdmissions<'_> {
    /// Whether strangers have to wait at the account of this name, so that a mailed link would help.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn holds_back_strangers(self, name: &str, at: Timestamp) -> Result<bool, Refusal> {
        self.0.lockout.holds_back_strangers(&folded(name), at).await.map_err(store_failed)
    }

    /// Returns who has to set up a first second factor, by the ticket of their sign-in, and the name under which they are
    /// counted.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::TicketNotValid`], also if no enrolment is due
    pub async fn enrolling(
        self,
        ticket: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<(UserKey, Arc<str>), SignInRefused> {
        let checked = self.0.tickets().checked_by(ticket, context).await?;
        match self.0.second_factors().duty(&checked, context.at).await? {
            FactorRequirement::Enrol | FactorRequirement::MailOrEnrol => {
                Ok((checked.user().clone(), checked.name))
            }
            FactorRequirement::Nothing | FactorRequirement::Prove => {
                Err(Refusal::TicketNotValid.into())
            }
        }
    }

    /// Whether a link still leads to the account as it was when the link was requested.
    ///
    /// # Errors
    /// [`Refusal::DirectoryUnavailable`]
    pub async fn is_good(self, of: LinkOwner<'_>) -> Result<bool, Refusal> {
        let users = self.0.directory(&of.user.directory).and_then(|one| one.directory().users());
        let Some(users) = users else { return Ok(false) };
        let account = users.by_id(of.user).await.map_err(super::sign_in::not_asked)?;
        let is_same = account
            .is_some_and(|account| account.active && account.password_mark() == of.password_mark);
        Ok(is_same && !self.0.devices.is_voided_since(&user_tag(of.user), of.asked_at))
    }

    /// Returns the device cookie of the browser in which a valid link was opened.
    ///
    /// # Errors
    /// [`Refusal::Internal`] if there is no randomness.
    pub fn admit(self, cookie: &str, of: LinkOwner<'_>, at: Timestamp) -> Result<Secret, Refusal> {
        self.0.devices.admit(cookie, of, at).ok_or(Refusal::Internal)
    }

    /// Voids the pending links of a user, and the admissions from links that were opened.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn void(self, user: &UserKey, at: Timestamp) -> Result<(), Refusal> {
        void_links(&self.0.devices.stamps, user, at).await.map_err(store_failed)
    }

    /// Returns why a browser may try this account's password whatever others do: a link was opened there recently, or else its
    /// owner signed in there before. (A device of an earlier password would hide the link.)
    pub(super) async fn let_in(
        self,
        cookie: &str,
        account: &str,
        at: Timestamp,
    ) -> Result<Option<KnownDevice>, StoreError> {
        if let Some(link) = self.0.devices.admitted(cookie, account, at)
            && !self.0.lockout.is_used_up(link.id, at).await?
        {
            return Ok(Some(link));
        }
        Ok(self.0.devices.known(cookie, account, at))
    }

    /// Whether the first second factor may be set up in this browser without an operator's code. If the store cannot say
    /// whether a link is used up, the answer is no.
    pub(super) async fn may_enrol_from(self, checked: &Checked, at: Timestamp) -> bool {
        if self.0.device_of(checked, at).is_some() {
            return true;
        }
        match self.0.devices.admitted(&checked.device, &checked.name, at) {
            Some(link) if self.0.is_of_password(&link, &checked.account) => {
                self.0.lockout.is_used_up(link.id, at).await == Ok(false)
            }
            Some(_) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Events;
    use crate::event::EventKind;
    use crate::session::SignedIn;
    use crate::session::testkit::{Kit, NOW, account, context, context_at, enter_in_browser};
    use crate::store::memory::Memory;

    fn kim() -> UserKey {
        UserKey::new("django", "7")
    }

    fn later(secs: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(secs))
    }

    fn of<'a>(user: &'a UserKey, account: &'a str, password: &str) -> LinkOwner<'a> {
        let password_mark = Digest::of(password.as_bytes());
        LinkOwner { user, account, password_mark, asked_at: NOW }
    }

    fn devices() -> Devices {
        Devices::new(b"secret", Memory::new() as Arc<dyn Stamps>)
    }

    #[test]
    fn what_a_link_gives_is_for_its_account_and_ten_minutes() {
        let (devices, kim) = (devices(), kim());
        let cookie = devices.admit("", of(&kim, "kim", "pw"), NOW).unwrap();
        let cookie = cookie.expose();
        let admitted = |cookie: &str, name: &str, at| devices.admitted(cookie, name, at).is_some();
        for (name, at, counts) in [
            ("kim", NOW, true),
            ("kim", later(599), true),
            ("kim", later(600), false),
            ("kim", NOW.minus(Duration::from_secs(1)), false),
            ("lee", NOW, false),
            ("", NOW, false),
        ] {
            assert_eq!(admitted(cookie, name, at), counts, "{name} {at:?}");
        }
        let known = devices.admitted(cookie, "kim", NOW).unwrap();
        assert!(devices.is_of_password(&known, Digest::of(b"pw")));
        assert!(!devices.is_of_password(&known, Digest::of(b"other")));
        assert_eq!(devices.known(cookie, "kim", NOW), None, "it is no known device");
        let bytes = URL_SAFE_NO_PAD.decode(&cookie[1..]).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(changed));
            assert!(!admitted(&changed, "kim", NOW), "{place}");
        }
        for other in [&cookie[1..], "l", "", &*format!("{cookie}A"), &*"x".repeat(2000)] {
            assert!(!admitted(other, "kim", NOW), "{other}");
        }
    }

    #[test]
    fn the_cookie_keeps_what_it_says_of_devices_and_one_link() {
        let (devices, kim) = (devices(), kim());
        let mut cookie = Secret::new("");
        for name in ["ada", "bob", "kim"] {
            let proved = (&kim, Digest::of(b"pw"));
            cookie = devices.give(cookie.expose(), name, proved, NOW, |_| true).unwrap().cookie;
        }
        let first = devices.admit(cookie.expose(), of(&kim, "kim", "pw"), NOW).unwrap();
        let both = devices.admit(first.expose(), of(&kim, "eve", "pw"), NOW).unwrap();
        assert!(both.expose().len() <= LONGEST);
        for name in ["ada", "bob", "kim"] {
            assert!(devices.known(both.expose(), name, NOW).is_some(), "{name}");
        }
        assert!(devices.admitted(both.expose(), "eve", NOW).is_some());
        assert!(
            devices.admitted(both.expose(), "kim", NOW).is_none(),
            "the later one is in its place"
        );
        let proved = (&kim, Digest::of(b"pw"));
        let signed_in = devices.give(both.expose(), "eve", proved, NOW, |_| true).unwrap().cookie;
        assert!(devices.admitted(signed_in.expose(), "eve", NOW).is_none(), "a sign-in ends it");
    }

    #[tokio::test]
    async fn what_voids_devices_or_links_voids_it() {
        for which in 0..3 {
            let (devices, kim) = (devices(), kim());
            let cookie = devices.admit("", of(&kim, "kim", "pw"), later(10)).unwrap();
            let counts = |at| devices.admitted(cookie.expose(), "kim", at).is_some();
            let (kept, other) = (&devices.stamps, UserKey::new("django", "8"));
            match which {
                0 => devices.forget(&kim, later(10)).await.unwrap(),
                1 => void_links(kept, &kim, later(11)).await.unwrap(),
                _ => void_links(kept, &other, later(11)).await.unwrap(),
            }
            assert_eq!(counts(later(12)), which == 2, "{which}");
            let again = devices.admit("", of(&kim, "kim", "pw"), later(12)).unwrap();
            assert!(devices.admitted(again.expose(), "kim", later(12)).is_some());
        }
    }

    async fn sign_in(
        kit: &Kit,
        password: &str,
        device: &str,
        context: &RequestContext<'_>,
    ) -> Result<SignedIn, SignInRefused> {
        enter_in_browser(&kit.sessions, ("kim", password), device, context).await
    }

    #[tokio::test]
    async fn whoever_opened_a_link_has_ten_tries_while_strangers_wait() {
        let kit = Kit::new();
        let events = Events::default();
        for n in 0..12_u8 {
            let client = std::net::Ipv4Addr::new(198, 51, n, 7).into();
            let guess = RequestContext { client, ..context(&events) };
            drop(sign_in(&kit, "a guess", "", &guess).await);
        }
        assert_eq!(kit.sessions.mailed_links().holds_back_strangers("KIM", NOW).await, Ok(true));
        assert_eq!(kit.sessions.mailed_links().holds_back_strangers("lee", NOW).await, Ok(false));
        fn from(network: u8, events: &Events) -> RequestContext<'_> {
            let client = std::net::Ipv4Addr::new(203, 0, network, 9).into();
            RequestContext { client, ..context_at(NOW, events) }
        }
        let waits = sign_in(&kit, "right", "", &from(113, &events)).await.unwrap_err();
        assert_eq!(waits.refusal, Refusal::TooManyAttempts);
        let (kim, mark) = (kim(), account("7", "kim", "right").password_mark());
        let owner = LinkOwner { user: &kim, account: "kim", password_mark: mark, asked_at: NOW };
        assert!(kit.sessions.mailed_links().is_good(owner).await.unwrap());
        let given = kit.sessions.mailed_links().admit("", owner, NOW).unwrap();
        let wrong = sign_in(&kit, "a slip", given.expose(), &from(113, &events)).await;
        assert_eq!(wrong.unwrap_err().refusal, Refusal::BadCredentials);
        events.take();
        let right = sign_in(&kit, "right", given.expose(), &from(113, &events)).await.unwrap();
        let is_known = events.take().iter().find_map(|event| match event {
            EventKind::SignedIn { known_device, .. } => Some(*known_device),
            _ => None,
        });
        assert_eq!(is_known, Some(false), "the person is told of a new browser");
        assert!(right.device.is_some());
        // In other places, the owner is no stranger wherever they have signed in.
        for _ in 0..10 {
            let wrong = sign_in(&kit, "a slip", given.expose(), &from(114, &events)).await;
            assert_eq!(wrong.unwrap_err().refusal, Refusal::BadCredentials);
        }
        let used_up = sign_in(&kit, "right", given.expose(), &from(114, &events)).await;
        assert_eq!(used_up.unwrap_err().refusal, Refusal::TooManyAttempts);
    }

    #[tokio::test]
    async fn a_link_leads_to_the_account_as_it_was() {
        let (kim, mark) = (kim(), account("7", "kim", "right").password_mark());
        let owner =
            LinkOwner { user: &kim, account: "kim", password_mark: mark, asked_at: later(5) };
        for change in [
            crate::directory::Account { active: false, ..account("7", "kim", "right") },
            account("7", "kim", "another"),
            account("8", "kim", "right"),
        ] {
            let kit = Kit::new();
            assert!(kit.sessions.mailed_links().is_good(owner).await.unwrap());
            *kit.directory.accounts.lock() = vec![change];
            assert!(!kit.sessions.mailed_links().is_good(owner).await.unwrap());
        }
        let kit = Kit::new();
        kit.sessions.mailed_links().void(&kim, later(4)).await.unwrap();
        assert!(kit.sessions.mailed_links().is_good(owner).await.unwrap(), "one of before");
        kit.sessions.mailed_links().void(&kim, later(6)).await.unwrap();
        assert!(!kit.sessions.mailed_links().is_good(owner).await.unwrap());
        let other = UserKey::new("nowhere", "7");
        let owner = LinkOwner { user: &other, ..owner };
        assert!(!kit.sessions.mailed_links().is_good(owner).await.unwrap());
    }
}
