//! Known devices: browsers in which a user has signed in before, recognised by a cookie.
//!
//! While others guess at an account, a browser with its device cookie can still sign in as usual (see
//! [`lockout`](super::lockout)). The cookie is no credential and proves nothing else. A successful sign-in sets it. It holds up
//! to `MOST` entries, each for one account, of 72 bytes in base64url:
//!
//! | bytes | |
//! |---|---|
//! | 8 | the account: a keyed hash of the folded name |
//! | 16 | the user: so that all devices of a user can be voided, whatever names were used to sign in |
//! | 16 | the device id: random, the same while the device is known, used to count failures and to forget the device |
//! | 8 | when the entry was issued, in seconds |
//! | 8 | the password: a keyed hash of the password mark from the directory, as sessions have it |
//! | 16 | HMAC-SHA-256 over the fields above and the account's name, truncated |
//!
//! An entry is valid for a year, unless it was voided since: because its owner forgot the device, or because all devices of the
//! user were voided (a sign-in was not theirs, or the account was disabled). The store keeps a date for that, which is looked
//! up in memory. An entry is valid for its password alone, whether or not anybody was signed in when the password changed. This
//! is checked after the directory was asked, and the attempt then counts as a stranger's. (A directory that checks passwords
//! itself says nothing about them.) Ten failures void an entry too; the lockout counts them.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::mailed_link;
use super::trusted;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::secret::{Digest, Secret, random_bytes};
use crate::store::read_only::ReadOnlyStamps;
use crate::store::{Keep, NewStamp, Stamps, StoreError};

/// The most accounts that one browser can be known for.
pub(super) const MOST: usize = 3;

/// How long an entry is valid.
pub const LIFETIME: Duration = Duration::from_secs(365 * 86_400);

pub(super) const ENTRY: usize = 72;

/// The most bytes of a cookie that are read.
pub(super) const LONGEST: usize = MOST * (97 + trusted::TEXT) + mailed_link::TEXT;

/// Issues and recognises device cookies with a secret of the gateway's own.
pub struct Devices {
    pub(super) key: hmac::Key,
    /// The time before which everything issued is void, for each user and device.
    pub(super) stamps: Arc<dyn Stamps>,
}

/// A device that is known for an account, provided that its password is still the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct KnownDevice {
    /// The id of the device, by which failures are counted.
    pub(super) id: Digest,
    pub(super) password: [u8; 8],
}

/// The device cookie that a sign-in sets.
#[derive(Debug)]
pub(super) struct GivenDevice {
    pub(super) cookie: Secret,
    /// The id of the device.
    pub(super) device: Digest,
}

/// An entry of the cookie, as it was read.
struct DeviceEntry([u8; ENTRY]);

impl Devices {
    /// Creates it with this secret. Stamps of voided devices go to the store.
    pub fn new(secret: &[u8], stamps: Arc<dyn Stamps>) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let own = hmac::sign(&root, b"doorwarden device cookies");
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()), stamps }
    }

    /// Returns a copy that voids nothing.
    pub(super) fn read_only(&self) -> Self {
        let stamps = Arc::new(ReadOnlyStamps::new(Arc::clone(&self.stamps)));
        Self { key: self.key.clone(), stamps }
    }

    /// Whether a device of this user is void if its cookie was last issued at `given`.
    pub(super) fn is_void(&self, user: &UserKey, device: &Digest, given: Timestamp) -> bool {
        let keys = [stamp_key(&user_tag(user)), one_key(device)];
        keys.iter().any(|key| {
            // The comparison is in whole seconds, so that an entry issued within the same second is void.
            let since = self.stamps.stamp(key);
            since.is_some_and(|since| given.as_secs() <= since.as_secs())
        })
    }

    /// Returns the device that a sign-in with this cookie comes from, if it is known for this account (a folded name).
    pub(super) fn known(&self, cookie: &str, account: &str, at: Timestamp) -> Option<KnownDevice> {
        let entry = self.entry_of(cookie, account, at)?;
        Some(KnownDevice { id: Digest::of(entry.id()), password: cut(entry.password()) })
    }

    /// Returns the entry of a cookie that is valid for this account.
    fn entry_of(&self, cookie: &str, account: &str, at: Timestamp) -> Option<DeviceEntry> {
        let tag = self.account_tag(account);
        let entry = entries(cookie).find(|entry| entry.account() == tag)?;
        if !self.is_genuine(&entry, account) || at.since(entry.given()) >= LIFETIME {
            return None;
        }
        let keys = [stamp_key(entry.user()), one_key(&Digest::of(entry.id()))];
        // The comparison is in whole seconds, so that an entry issued within the same second is void.
        let is_void = keys.iter().any(|key| {
            let since = self.stamps.stamp(key);
            since.is_some_and(|since| entry.given().as_secs() <= since.as_secs())
        });
        (!is_void).then_some(entry)
    }

    /// Whether the device was issued for the password with this mark.
    pub(super) fn is_of_password(&self, device: &KnownDevice, mark: Digest) -> bool {
        let tag = self.password_tag(mark);
        aws_lc_rs::constant_time::verify_slices_are_equal(&tag, &device.password).is_ok()
    }

    /// Returns the cookie after a sign-in with the password of this mark: the entry of this account first, then the others. A
    /// known device keeps its id if `may_keep` allows it, so that its owner sees one device, and voiding it voids every copy of
    /// its cookie. Without randomness there is no cookie, and the next sign-in counts as a stranger's.
    pub(super) fn give(
        &self,
        cookie: &str,
        account: &str,
        (user, password): (&UserKey, Digest),
        at: Timestamp,
        may_keep: impl Fn(Digest) -> bool,
    ) -> Option<GivenDevice> {
        let tag = self.account_tag(account);
        let is_of_password = |entry: &DeviceEntry| {
            let known = KnownDevice { id: Digest::of(entry.id()), password: cut(entry.password()) };
            self.is_of_password(&known, password)
        };
        let kept = self
            .entry_of(cookie, account, at)
            .filter(|entry| entry.user() == user_tag(user) && is_of_password(entry))
            .filter(|entry| may_keep(Digest::of(entry.id())));
        let id = kept.map_or_else(|| random_bytes::<16>().ok(), |entry| Some(cut(entry.id())))?;
        let new = self.entry(account, (user, password), id, at)?;
        let device = Digest::of(new.id());
        let others = entries(cookie).filter(|entry| entry.account() != tag).take(MOST - 1);
        let trusted = trusted::entries(cookie).map(|(_, text)| text.to_owned());
        let all: Vec<String> = std::iter::once(new)
            .chain(others)
            .map(|entry| URL_SAFE_NO_PAD.encode(entry.0))
            .chain(trusted)
            .collect();
        Some(GivenDevice { cookie: Secret::new(all.join(".")), device })
    }

    /// Forgets all devices of this user, because a sign-in was not theirs or they may not sign in.
    ///
    /// # Errors
    /// [`StoreError`]; the devices are then still known.
    pub(super) async fn forget(&self, user: &UserKey, at: Timestamp) -> Result<(), StoreError> {
        let key = stamp_key(&user_tag(user));
        let new = NewStamp { key, at, keep: Keep::Latest, kept_until: at.plus(LIFETIME) };
        self.stamps.put(new).await.map(|_| ())
    }

    /// Forgets one device, whoever has a copy of its cookie.
    ///
    /// # Errors
    /// [`StoreError`]; the device is then still known.
    pub(super) async fn forget_one(
        &self,
        device: &Digest,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let key = one_key(device);
        let new = NewStamp { key, at, keep: Keep::Latest, kept_until: at.plus(LIFETIME) };
        self.stamps.put(new).await.map(|_| ())
    }

    fn entry(
        &self,
        account: &str,
        (user, mark): (&UserKey, Digest),
        id: [u8; 16],
        at: Timestamp,
    ) -> Option<DeviceEntry> {
        let mut said = Vec::with_capacity(ENTRY);
        said.extend_from_slice(&self.account_tag(account));
        said.extend_from_slice(&user_tag(user));
        said.extend_from_slice(&id);
        said.extend_from_slice(&at.as_secs().to_be_bytes());
        said.extend_from_slice(&self.password_tag(mark));
        let tag = self.sign(&said, account);
        said.extend_from_slice(&tag);
        said.try_into().ok().map(DeviceEntry)
    }

    fn is_genuine(&self, entry: &DeviceEntry, account: &str) -> bool {
        let tag = self.sign(entry.said(), account);
        aws_lc_rs::constant_time::verify_slices_are_equal(&tag, entry.tag()).is_ok()
    }

    fn sign(&self, said: &[u8], account: &str) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"entry\0");
        context.update(said);
        context.update(account.as_bytes());
        cut(context.sign().as_ref())
    }

    pub(super) fn password_tag(&self, mark: Digest) -> [u8; 8] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"password\0");
        context.update(mark.as_bytes());
        cut(context.sign().as_ref())
    }

    pub(super) fn account_tag(&self, account: &str) -> [u8; 8] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"account\0");
        context.update(account.as_bytes());
        cut(context.sign().as_ref())
    }
}

impl DeviceEntry {
    fn part(&self, from: usize, to: usize) -> &[u8] {
        self.0.get(from..to).unwrap_or_default()
    }

    fn account(&self) -> &[u8] {
        self.part(0, 8)
    }

    fn user(&self) -> &[u8] {
        self.part(8, 24)
    }

    fn id(&self) -> &[u8] {
        self.part(24, 40)
    }

    fn given(&self) -> Timestamp {
        Timestamp::from_secs(u64::from_be_bytes(cut(self.part(40, 48))))
    }

    fn password(&self) -> &[u8] {
        self.part(48, 56)
    }

    fn said(&self) -> &[u8] {
        self.part(0, 56)
    }

    fn tag(&self) -> &[u8] {
        self.part(56, ENTRY)
    }
}

/// Returns the entries that a cookie holds, genuine or not.
fn entries(cookie: &str) -> impl Iterator<Item = DeviceEntry> {
    let cookie = if cookie.len() <= LONGEST { cookie } else { "" };
    cookie.split('.').filter_map(|text| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(DeviceEntry)
    })
}

pub(super) fn user_tag(user: &UserKey) -> [u8; 16] {
    cut(Digest::of(format!("{}\0{}", user.directory, user.id).as_bytes()).as_bytes())
}

pub(super) fn stamp_key(user_tag: &[u8]) -> Digest {
    Digest::of(&[b"devices of a user\0", user_tag].concat())
}

pub(super) fn one_key(device: &Digest) -> Digest {
    Digest::of(&[b"one device\0", device.as_bytes().as_slice()].concat())
}

pub(super) fn cut<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut first = [0; N];
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::testkit::NOW;
    use crate::store::memory::Memory;

    fn kim() -> UserKey {
        UserKey::new("django", "7")
    }

    fn mark(password: &str) -> Digest {
        Digest::of(password.as_bytes())
    }

    fn devices(secret: &[u8]) -> Devices {
        Devices::new(secret, Memory::new() as Arc<dyn Stamps>)
    }

    #[test]
    fn a_device_is_known_for_its_account_and_for_no_other() {
        let devices = devices(b"secret");
        let cookie = devices.give("", "kim", (&kim(), mark("pw")), NOW, |_| true).unwrap().cookie;
        let cookie = cookie.expose();
        let id = devices.known(cookie, "kim", NOW);
        assert!(id.is_some());
        assert_eq!(devices.known(cookie, "lee", NOW), None);
        assert_eq!(self::devices(b"other").known(cookie, "kim", NOW), None);
        let (last, over) = (NOW.plus(LIFETIME).minus(Duration::from_secs(1)), NOW.plus(LIFETIME));
        assert_eq!(devices.known(cookie, "kim", last), id);
        assert_eq!(devices.known(cookie, "kim", over), None);
    }

    #[test]
    fn a_device_is_of_the_password_that_was_right_there() {
        let devices = devices(b"secret");
        let cookie = devices.give("", "kim", (&kim(), mark("pw")), NOW, |_| true).unwrap().cookie;
        let known = devices.known(cookie.expose(), "kim", NOW).unwrap();
        assert!(devices.is_of_password(&known, mark("pw")));
        assert!(!devices.is_of_password(&known, mark("other")));
        assert!(!self::devices(b"other").is_of_password(&known, mark("pw")));
    }

    #[test]
    fn no_changed_byte_is_taken_for_a_device() {
        let devices = devices(b"secret");
        let cookie = devices.give("", "kim", (&kim(), mark("pw")), NOW, |_| true).unwrap().cookie;
        let bytes = URL_SAFE_NO_PAD.decode(cookie.expose()).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(devices.known(&changed, "kim", NOW), None, "{place}");
        }
        for other in ["", ".", "x", "..", &"A".repeat(100_000), "ä"] {
            assert_eq!(devices.known(other, "kim", NOW), None);
        }
    }

    #[test]
    fn one_browser_is_known_for_several_accounts_the_last_ones() {
        let devices = devices(b"secret");
        let mut cookie = Secret::new("");
        for name in ["ada", "bob", "kim", "lee", "kim"] {
            let user = UserKey::new("d", name);
            cookie = devices
                .give(cookie.expose(), name, (&user, mark("pw")), NOW, |_| true)
                .unwrap()
                .cookie;
        }
        assert!(cookie.expose().len() < LONGEST);
        let is_known = |name| devices.known(cookie.expose(), name, NOW).is_some();
        assert_eq!(["ada", "bob", "kim", "lee"].map(is_known), [false, true, true, true]);
    }

    #[tokio::test]
    async fn what_was_given_before_it_was_voided_is_void() {
        let devices = devices(b"secret");
        let at = |secs| NOW.plus(Duration::from_secs(secs));
        let give = |cookie: &str, secs| {
            devices.give(cookie, "kim", (&kim(), mark("pw")), at(secs), |_| true).unwrap()
        };
        let given = |secs| give("", secs).cookie;
        let (old, new) = (given(0), given(11));
        devices.forget(&kim(), at(10)).await.unwrap();
        let is_known = |cookie: &Secret| devices.known(cookie.expose(), "kim", at(12)).is_some();
        assert_eq!((is_known(&old), is_known(&new)), (false, true));
        devices.read_only().forget(&kim(), at(12)).await.unwrap();
        assert!(is_known(&new), "whoever only asks what would be voids nothing");
        let user = UserKey::new("django", "8");
        let lee = devices.give("", "lee", (&user, mark("pw")), at(0), |_| true).unwrap().cookie;
        assert!(devices.known(lee.expose(), "lee", at(12)).is_some());
    }

    #[tokio::test]
    async fn one_device_is_forgotten_with_every_copy_of_its_cookie_and_no_other() {
        let devices = devices(b"secret");
        let at = |secs| NOW.plus(Duration::from_secs(secs));
        let give = |cookie: &str, password: &str, secs, may_keep| {
            let user = (&kim(), mark(password));
            devices.give(cookie, "kim", user, at(secs), |_| may_keep).unwrap()
        };
        let first = give("", "pw", 0, true);
        let again = give(first.cookie.expose(), "pw", 5, true);
        assert_eq!(again.device, first.device, "it is one device, however often it signs in");
        let fresh = |given: GivenDevice| given.device != first.device;
        assert!(fresh(give(first.cookie.expose(), "pw", 5, false)), "it was used up");
        assert!(fresh(give(first.cookie.expose(), "other", 5, true)), "of another password");
        assert!(fresh(give("", "pw", 5, true)), "another browser");
        let other = give("", "pw", 5, true);
        devices.forget_one(&first.device, at(10)).await.unwrap();
        let is_known =
            |given: &GivenDevice| devices.known(given.cookie.expose(), "kim", at(12)).is_some();
        assert_eq!([&first, &again, &other].map(is_known), [false, false, true]);
        assert!(devices.is_void(&kim(), &first.device, at(5)));
        assert!(!devices.is_void(&kim(), &other.device, at(5)));
        assert!(fresh(give(first.cookie.expose(), "pw", 12, true)), "it comes back as another");
    }
}
