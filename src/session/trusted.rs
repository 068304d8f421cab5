//! Trusted browsers (`second_factor.trusted_devices`): a user who gave a right code of an app in a browser, and chose to trust
//! it, is not asked for a code at the next sign-ins there.
//!
//! Trust is stored in the device cookie, next to the entry of the known device, and is valid with that entry alone: for this
//! password, and until the user forgets the device or reports a sign-in that was not theirs. An entry has 80 bytes in
//! base64url:
//!
//! | bytes | |
//! |---|---|
//! | 8 | the account: a keyed hash of the folded name |
//! | 16 | the user |
//! | 8 | when the code was given, in seconds |
//! | 8 | the device: its random id, truncated |
//! | 16 | the second factors that the user had: any addition, removal or reset changes the value |
//! | 24 | HMAC-SHA-256 over the fields above and the account's name, truncated |
//!
//! Trust replaces a code at a sign-in and nowhere else: the session has proved a password only, so a route's `second_factor` or
//! `fresh` and every change of factors still require a code. A recovery code does not make a browser trusted.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::devices::{Devices, MOST, cut, stamp_key, user_tag};
use super::{Checked, SessionManager, SignedIn};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::context::RequestContext;
use crate::event::{EventKind, FactorEvent};
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};
use crate::store::{Keep, NewStamp, StoreError};

const ENTRY: usize = 80;

const TAG: usize = 24;

/// The most characters of such an entry in a cookie, including the dot before it.
pub(super) const TEXT: usize = 108;

/// The account, device and factors that a trusted browser is tied to.
#[derive(Clone, Copy)]
pub(super) struct TrustOf<'a> {
    /// The folded name of the account.
    pub(super) account: &'a str,
    pub(super) user: &'a UserKey,
    /// The id of the known device.
    pub(super) device: Digest,
    /// The hash of the second factors that the user has.
    pub(super) factors: Digest,
}

impl Devices {
    /// Whether the user trusted this browser within this time, with their current second factors.
    pub(super) fn trusts(
        &self,
        cookie: &str,
        of: TrustOf<'_>,
        lifetime: Duration,
        at: Timestamp,
    ) -> bool {
        entries(cookie).any(|(bytes, _)| {
            let Some((said, tag)) = bytes.split_last_chunk::<TAG>() else { return false };
            let given = said.get(24..32).unwrap_or_default();
            let given = Timestamp::from_secs(u64::from_be_bytes(cut(given)));
            let expected = self.said(of, given);
            let is_void = self
                .stamps
                .stamp(&distrust_key(of.user))
                .is_some_and(|since| given.as_secs() <= since.as_secs());
            let is_of = aws_lc_rs::constant_time::verify_slices_are_equal(&expected, said).is_ok();
            let sealed = self.trust_tag(said, of.account);
            let is_genuine =
                aws_lc_rs::constant_time::verify_slices_are_equal(&sealed, tag).is_ok();
            is_of && is_genuine && !is_void && given <= at && at.since(given) < lifetime
        })
    }

    /// Returns the cookie with which this browser is trusted from now on.
    pub(super) fn trust(&self, cookie: &Secret, of: TrustOf<'_>, at: Timestamp) -> Secret {
        let mut entry = self.said(of, at).to_vec();
        let tag = self.trust_tag(&entry, of.account);
        entry.extend_from_slice(&tag);
        let account = self.account_tag(of.account);
        let others = entries(cookie.expose()).filter(|(bytes, _)| !bytes.starts_with(&account));
        let known = cookie.expose().split('.').filter(|text| decoded(text).is_none());
        let mut all: Vec<String> = known.map(str::to_owned).collect();
        all.push(URL_SAFE_NO_PAD.encode(entry));
        all.extend(others.take(MOST - 1).map(|(_, text)| text.to_owned()));
        Secret::new(all.join("."))
    }

    /// Ends the trust in all browsers of this user.
    ///
    /// # Errors
    /// [`StoreError`]; the browsers are then still trusted.
    pub(super) async fn distrust(&self, user: &UserKey, at: Timestamp) -> Result<(), StoreError> {
        let kept_until = at.plus(super::devices::LIFETIME);
        let new = NewStamp { key: distrust_key(user), at, keep: Keep::Latest, kept_until };
        self.stamps.put(new).await.map(|_| ())
    }

    fn said(&self, of: TrustOf<'_>, given: Timestamp) -> [u8; ENTRY - TAG] {
        let mut said = Vec::with_capacity(ENTRY - TAG);
        said.extend_from_slice(&self.account_tag(of.account));
        said.extend_from_slice(&user_tag(of.user));
        said.extend_from_slice(&given.as_secs().to_be_bytes());
        said.extend_from_slice(&cut::<8>(of.device.as_bytes()));
        said.extend_from_slice(&cut::<16>(of.factors.as_bytes()));
        cut(&said)
    }

    fn trust_tag(&self, said: &[u8], account: &str) -> [u8; TAG] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"trusted\0");
        context.update(said);
        context.update(account.as_bytes());
        cut(context.sign().as_ref())
    }
}

/// Returns the entries that a cookie holds, genuine or not, with their text.
pub(super) fn entries(cookie: &str) -> impl Iterator<Item = ([u8; ENTRY], &str)> {
    cookie.split('.').filter_map(|text| Some((decoded(text)?, text))).take(MOST)
}

fn decoded(text: &str) -> Option<[u8; ENTRY]> {
    if text.len() >= TEXT {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

fn distrust_key(user: &UserKey) -> Digest {
    stamp_key(&[b"trusted\0".as_slice(), &user_tag(user)].concat())
}

impl SessionManager {
    /// Whether this sign-in may go on without a code, because its browser is trusted.
    pub(super) async fn is_trusted(
        &self,
        checked: &Checked,
        at: Timestamp,
    ) -> Result<bool, Refusal> {
        let Some(lifetime) = self.factors.policy().trusts_for() else { return Ok(false) };
        let Some(device) = self.device_of(checked, at) else { return Ok(false) };
        let factors = self.factors.set_of(checked.user(), at).await?;
        let of = TrustOf { account: &checked.name, user: checked.user(), device, factors };
        Ok(self.devices.trusts(&checked.device, of, lifetime, at))
    }

    /// Trusts the browser of a sign-in that has just succeeded.
    pub(super) async fn trust(
        &self,
        signed_in: SignedIn,
        (account, user): (&str, &UserKey),
        context: &RequestContext<'_>,
    ) -> Result<SignedIn, Refusal> {
        let Some(cookie) =
            signed_in.device.as_ref().filter(|_| self.factors.policy().trusts_for().is_some())
        else {
            return Ok(signed_in);
        };
        let Some(known) = self.devices.known(cookie.expose(), account, context.at) else {
            return Ok(signed_in);
        };
        let factors = self.factors.set_of(user, context.at).await?;
        let of = TrustOf { account, user, device: known.id, factors };
        let device = Some(self.devices.trust(cookie, of, context.at));
        context.note(EventKind::FactorChanged {
            user: user.clone(),
            change: FactorEvent::DeviceTrusted,
        });
        Ok(SignedIn { device, ..signed_in })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::session::testkit::NOW;
    use crate::store::Stamps;
    use crate::store::memory::Memory;

    const MONTH: Duration = Duration::from_secs(30 * 86_400);

    fn later(secs: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(secs))
    }

    fn of<'a>(account: &'a str, user: &'a UserKey, factors: &str) -> TrustOf<'a> {
        let device = Digest::of(b"device");
        TrustOf { account, user, device, factors: Digest::of(factors.as_bytes()) }
    }

    #[tokio::test]
    async fn a_browser_is_trusted_by_its_user_for_a_time_and_these_factors() {
        let devices = Devices::new(b"secret", Memory::new() as Arc<dyn Stamps>);
        let (kim, lee) = (UserKey::new("django", "7"), UserKey::new("django", "8"));
        let proved = (&kim, Digest::of(b"pw"));
        let before = devices.give("", "kim", proved, NOW, |_| true).unwrap().cookie;
        let cookie = devices.trust(&before, of("kim", &kim, "app"), NOW);
        let trusts = |cookie: &Secret, of, at| devices.trusts(cookie.expose(), of, MONTH, at);
        assert!(!trusts(&before, of("kim", &kim, "app"), NOW));
        assert!(trusts(&cookie, of("kim", &kim, "app"), NOW));
        let last = NOW.plus(MONTH).minus(Duration::from_secs(1));
        assert!(trusts(&cookie, of("kim", &kim, "app"), last));
        assert!(!trusts(&cookie, of("kim", &kim, "app"), NOW.plus(MONTH)));
        let elsewhere = TrustOf { device: Digest::of(b"other"), ..of("kim", &kim, "app") };
        let others = [
            of("kim", &kim, "app and key"),
            of("lee", &kim, "app"),
            of("kim", &lee, "app"),
            elsewhere,
        ];
        for other in others {
            assert!(!trusts(&cookie, other, NOW));
        }
        let foreign = Devices::new(b"other", Memory::new() as Arc<dyn Stamps>);
        assert!(!foreign.trusts(cookie.expose(), of("kim", &kim, "app"), MONTH, NOW));
        let text = cookie.expose().rsplit('.').next().unwrap().to_owned();
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = Secret::new(URL_SAFE_NO_PAD.encode(changed));
            assert!(!trusts(&changed, of("kim", &kim, "app"), NOW), "{place}");
        }
        devices.distrust(&kim, later(9)).await.unwrap();
        assert!(!trusts(&cookie, of("kim", &kim, "app"), later(9)));
        let again = devices.trust(&cookie, of("kim", &kim, "app"), later(10));
        assert!(trusts(&again, of("kim", &kim, "app"), later(10)));
    }

    #[test]
    fn the_next_sign_ins_keep_it_with_those_of_others() {
        let devices = Devices::new(b"secret", Memory::new() as Arc<dyn Stamps>);
        let mut cookie = Secret::new("");
        let names = ["ada", "bob", "kim"];
        for name in names {
            let user = UserKey::new("d", name);
            let proved = (&user, Digest::of(b"pw"));
            cookie = devices.give(cookie.expose(), name, proved, NOW, |_| true).unwrap().cookie;
            cookie = devices.trust(&cookie, of(name, &user, "app"), NOW);
        }
        for name in names {
            let user = UserKey::new("d", name);
            assert!(devices.known(cookie.expose(), name, NOW).is_some(), "{name}");
            let trusted = devices.trusts(cookie.expose(), of(name, &user, "app"), MONTH, NOW);
            assert!(trusted, "{name}");
        }
        assert!(cookie.expose().len() <= 700, "{}", cookie.expose().len());
    }
}
