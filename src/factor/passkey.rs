//! Implements passkeys and security keys (WebAuthn level 3) with `webauthn-rs`, which parses and verifies their answers.
//!
//! **A ceremony** is a challenge and its answer. The state of a challenge is in a token that the client holds: sealed, bound to
//! its purpose and to the place in which it was begun (a sign-in's ticket, a session, a network), and valid for five minutes.
//! So a page that is only viewed writes nothing. The store remembers the challenges that were answered, so that each is
//! answered once.
//!
//! **The user is always verified** (a PIN, a fingerprint): a passkey is two factors by itself, and may replace both. Keys that
//! cannot verify their user are refused.
//!
//! **The signature counter** is compared and raised by the store, in one step with the challenge; the crate gets none. If a
//! counter does not increase, somebody has a copy of the key: the answer is refused and the owner is notified.
//!
//! **No attestation is requested**: it would tie people to vendors, and says nothing about passkeys that phones store. So
//! whether a key is in hardware (`hwk`) is derived from its flags: one that may be copied to another device (`BE`) is `swk`.
//!
//! Attempts with passkeys are not counted as guesses, because nobody guesses a signature.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use webauthn_rs::prelude::{
    Credential, CredentialID, DiscoverableAuthentication, Passkey, PasskeyRegistration,
    PublicKeyCredential, RegisterPublicKeyCredential, Url, Uuid, Webauthn, WebauthnBuilder,
};

use super::{CodeRefused, Factors, PASSKEY, failed, name_of, recovery_codes, refused};
use crate::caller::{AuthMethod, UserKey};
use crate::clock::Timestamp;
use crate::config::PasskeySettings;
use crate::event::FactorRefusal;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};
use crate::store::factors::{FactorChange, FactorChanged, StoredFactor, StoredFactors};
use crate::store::passkeys::{PasskeyUse, PasskeyUsed, SpentChallenge, StoredPasskey};

/// How long a challenge can be answered, and the timeout for browsers (in the recommended range of WebAuthn section 15.1).
const LIFETIME: Duration = Duration::from_secs(300);

/// The most bytes of an authenticator's answer, or of a token, that are read.
const LONGEST: usize = 16 * 1024;

/// The name of a passkey unless its owner gives it another.
pub const FIRST_PASSKEY: &str = "Passkey";

const ENROLMENT: &str = "passkey enrolment";

const ASSERTION: &str = "passkey";

/// The relying party that passkeys belong to.
pub struct Passkeys {
    webauthn: Webauthn,
    rp_id: String,
    sign_in: bool,
}

/// A ceremony that has begun.
#[derive(Debug)]
pub struct PasskeyCeremony {
    /// `{"publicKey": ...}`, whose member is for `parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON`.
    pub options: Value,
    /// The sealed state of the ceremony, which the client sends back with the answer.
    pub token: Secret,
}

/// The place in which a ceremony was begun. Its answer is valid only there.
#[derive(Clone, Debug)]
pub struct CeremonyPlace(String);

/// An authenticator's answer.
#[derive(Clone, Copy, Debug)]
pub struct PasskeyAnswer<'a> {
    /// The token of the ceremony: [`PasskeyCeremony::token`]
    pub token: &'a Secret,
    /// The credential, as `PublicKeyCredential.toJSON()` returns it.
    pub credential: &'a Secret,
    /// The place in which the answer is given; the ceremony must have been begun there.
    pub place: &'a CeremonyPlace,
}

/// A passkey that is to be set up.
#[derive(Clone, Copy, Debug)]
pub struct NewPasskey<'a> {
    /// The authenticator's answer.
    pub answer: PasskeyAnswer<'a>,
    /// The name that its owner gives the passkey.
    pub name: &'a str,
    /// The operator's invitation, where one is required.
    pub invitation: Option<&'a Secret>,
}

/// A passkey that was set up.
#[derive(Debug)]
pub struct EnrolledPasskey {
    /// The new recovery codes, if the user had no unused ones; else empty.
    pub codes: Vec<Secret>,
    /// The authentication method that the passkey proves.
    pub key: AuthMethod,
}

/// An attempt with a passkey.
#[derive(Clone, Copy, Debug)]
pub struct PasskeyAttempt<'a> {
    /// The user who makes the attempt.
    pub user: &'a UserKey,
    /// The authenticator's answer.
    pub answer: PasskeyAnswer<'a>,
    /// The device, if it is known to have signed this user in.
    pub device: Option<Digest>,
    /// The current time.
    pub at: Timestamp,
}

/// The kinds of second factor that a user may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OfferedFactors {
    /// Whether a code of an app may be used.
    pub app: bool,
    /// Whether a passkey that works at this host may be used.
    pub passkey: bool,
    /// Whether a code may be mailed to the user.
    pub mail: bool,
}

/// The content of a token.
#[derive(Serialize, Deserialize)]
struct CeremonyState<S> {
    /// When the token expires, in milliseconds since 1970.
    until: u64,
    challenge: Vec<u8>,
    state: S,
}

impl Passkeys {
    /// Creates the relying party from the configuration; `title` is the name of the service there.
    ///
    /// # Errors
    /// If an origin does not belong to the RP ID.
    pub fn new(settings: &PasskeySettings, title: &str) -> Result<Self, String> {
        let PasskeySettings { rp_id, rp_name, origins, sign_in } = settings;
        let wrong = |error: &dyn std::fmt::Display| {
            format!("second_factor.passkeys cannot be used: {error}")
        };
        let urls = origins.iter().map(|origin| Url::parse(origin).map_err(|error| wrong(&error)));
        let urls = urls.collect::<Result<Vec<_>, _>>()?;
        let (first, more) = urls.split_first().ok_or_else(|| wrong(&"there is no origin"))?;
        let builder = WebauthnBuilder::new(rp_id, first).map_err(|error| wrong(&error))?;
        let builder = more.iter().fold(builder, WebauthnBuilder::append_allowed_origin);
        let name = [rp_name.as_str(), title].into_iter().find(|name| !name.is_empty());
        let webauthn = builder
            .rp_name(name.unwrap_or(rp_id))
            .timeout(LIFETIME)
            .allow_any_port(settings.takes_any_port())
            .build()
            .map_err(|error| wrong(&error))?;
        Ok(Self { webauthn, rp_id: rp_id.clone(), sign_in: *sign_in })
    }
}

impl CeremonyPlace {
    /// Creates a place of this kind.
    pub fn new(kind: &str, place: &[u8]) -> Self {
        Self(format!("{kind}:{}", URL_SAFE_NO_PAD.encode(place)))
    }

    /// Returns the place as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Sets up passkeys and uses them.
#[derive(Clone, Copy)]
pub struct PasskeyFactors<'f>(pub(super) &'f Factors);

impl<'f> PasskeyFactors<'f> {
    /// Whether passkeys are on.
    pub fn are_on(self) -> bool {
        self.0.passkeys.is_some()
    }

    /// Returns the RP ID to which passkeys belong. `None` if passkeys are off.
    pub fn rp_id(self) -> Option<&'f str> {
        self.0.passkeys.as_ref().map(|one| &*one.rp_id)
    }

    /// Whether a passkey signs a user in by itself.
    pub fn can_sign_in(self) -> bool {
        self.0.passkeys.as_ref().is_some_and(|one| one.sign_in)
    }

    /// Returns how many passkeys nobody can use, because they belong to another RP ID, or because passkeys are off.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn count_useless(self) -> Result<u64, Refusal> {
        let rp_id = self.0.passkeys.as_ref().map_or("", |one| &one.rp_id);
        self.0.passkey_store.passkeys_elsewhere(rp_id).await.map_err(failed)
    }

    /// Whether the factor is a passkey of this RP ID.
    pub(super) fn works_here(self, factor: &StoredFactor) -> bool {
        let (Some(passkeys), Some(stored)) = (&self.0.passkeys, &factor.passkey) else {
            return false;
        };
        factor.kind == PASSKEY && stored.rp_id == passkeys.rp_id
    }

    /// Creates the challenge with which a user sets up a passkey; `name` is the user's name in the authenticator.
    ///
    /// # Errors
    /// [`Refusal::BadBody`] if passkeys are off, [`Refusal::StoreUnavailable`], [`Refusal::Internal`]
    pub async fn begin_enrolment(
        self,
        user: &UserKey,
        name: &str,
        place: &CeremonyPlace,
        at: Timestamp,
    ) -> Result<PasskeyCeremony, Refusal> {
        let passkeys = self.0.passkeys.as_ref().ok_or(Refusal::BadBody)?;
        let kept = self.0.of(user).await?;
        let theirs = self.credentials(user, &kept).into_iter().map(|one| one.cred_id);
        let theirs: Vec<CredentialID> = theirs.collect();
        let (options, state) = passkeys
            .webauthn
            .start_passkey_registration(self.handle(user), name, name, Some(theirs))
            .map_err(not_begun)?;
        let challenge = options.public_key.challenge.clone();
        let mut options = serde_json::to_value(options).map_err(|_| Refusal::Internal)?;
        let selection = options.pointer_mut("/publicKey/authenticatorSelection");
        if let Some(Value::Object(selection)) = selection {
            // The crate asks keys not to store the credential, but only a stored one can sign in without a user name. A key
            // without room for it is still a second factor.
            selection.insert("residentKey".to_owned(), json!("preferred"));
        }
        let token = self.sealed(ENROLMENT, place, challenge, state, at)?;
        Ok(PasskeyCeremony { options, token })
    }

    /// Sets up a passkey. Returns recovery codes if the user has no unused ones.
    ///
    /// # Errors
    /// `Ok(Err(...))`: why the passkey was not set up. [`Refusal::StoreUnavailable`], [`Refusal::Internal`]
    pub async fn enrol(
        self,
        user: &UserKey,
        new: NewPasskey<'_>,
        at: Timestamp,
    ) -> Result<Result<EnrolledPasskey, FactorRefusal>, Refusal> {
        let Some(passkeys) = &self.0.passkeys else { return Ok(Err(FactorRefusal::BadPasskey)) };
        let opened = self.opened::<PasskeyRegistration>(ENROLMENT, new.answer, at);
        let Some((state, challenge)) = opened else { return Ok(Err(FactorRefusal::Ticket)) };
        let said = new.answer.credential.expose();
        let Some((answer, raw)) = read::<RegisterPublicKeyCredential>(said) else {
            return Ok(Err(FactorRefusal::BadPasskey));
        };
        let registered = passkeys.webauthn.finish_passkey_registration(&answer, &state);
        let passkey = match registered {
            Ok(passkey) => passkey,
            Err(error) => {
                tracing::info!(%user, %error, "a passkey was not set up");
                return Ok(Err(FactorRefusal::BadPasskey));
            }
        };
        let spent = self.0.passkey_store.spend_challenge(challenge).await.map_err(failed)?;
        if !spent {
            return Ok(Err(FactorRefusal::UsedChallenge));
        }
        if let Some(invitation) = new.invitation
            && !self.0.administration().take_invitation(user, invitation, at).await?
        {
            return Ok(Err(FactorRefusal::NoProof));
        }
        let bytes = serde_json::to_vec(&passkey).map_err(|_| Refusal::Internal)?;
        let credential = Credential::from(passkey);
        let codes = recovery_codes()?;
        let rk = raw.pointer("/clientExtensionResults/credProps/rk").and_then(Value::as_bool);
        let change = FactorChange::Add {
            factor: StoredFactor {
                id: self.passkey_id(&credential.cred_id),
                kind: PASSKEY.to_owned(),
                name: name_of(new.name, FIRST_PASSKEY),
                sealed: self.0.key.seal(PASSKEY, &user.to_string(), &bytes)?,
                last_step: u64::from(credential.counter),
                created_at: at,
                last_used: None,
                passkey: Some(StoredPasskey {
                    rp_id: passkeys.rp_id.clone(),
                    backed_up: credential.backup_state,
                    is_discoverable: rk.unwrap_or(false),
                }),
            },
            recovery: self.0.recovery_hashes(user, &codes),
        };
        let key = kind_of_key(credential.backup_eligible);
        Ok(match self.0.change(user, change).await? {
            FactorChanged::MadeWithRecovery => Ok(EnrolledPasskey { codes, key }),
            FactorChanged::Made => Ok(EnrolledPasskey { codes: Vec::new(), key }),
            FactorChanged::Not => Err(FactorRefusal::Ticket),
        })
    }

    /// Creates a challenge for a user's passkeys, or for anybody's passkey if no user is given.
    ///
    /// # Errors
    /// [`Refusal::BadBody`] if passkeys are off or the user has none, [`Refusal::StoreUnavailable`], [`Refusal::Internal`]
    pub async fn challenge(
        self,
        user: Option<&UserKey>,
        place: &CeremonyPlace,
        at: Timestamp,
    ) -> Result<PasskeyCeremony, Refusal> {
        let passkeys = self.0.passkeys.as_ref().ok_or(Refusal::BadBody)?;
        let (options, state) =
            passkeys.webauthn.start_discoverable_authentication().map_err(not_begun)?;
        let challenge = options.public_key.challenge.clone();
        let mut options = serde_json::to_value(options).map_err(|_| Refusal::Internal)?;
        if let Some(user) = user {
            let kept = self.0.of(user).await?;
            let theirs = self.credentials(user, &kept);
            if theirs.is_empty() {
                return Err(Refusal::BadBody);
            }
            let allowed = theirs.iter().map(|one| {
                json!({
                    "type": "public-key",
                    "id": URL_SAFE_NO_PAD.encode(&one.cred_id),
                    "transports": one.transports.clone().unwrap_or_default(),
                })
            });
            if let Some(Value::Object(members)) = options.get_mut("publicKey") {
                members.insert("allowCredentials".to_owned(), allowed.collect());
            }
        }
        // The page decides about the mediation.
        if let Value::Object(members) = &mut options {
            members.remove("mediation");
        }
        let token = self.sealed(ASSERTION, place, challenge, state, at)?;
        Ok(PasskeyCeremony { options, token })
    }

    /// Returns the owner of the passkey, as the authenticator states it. This proves nothing yet.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn owner_named(self, answer: PasskeyAnswer<'_>) -> Result<Option<UserKey>, Refusal> {
        let Some((answer, _)) = read::<PublicKeyCredential>(answer.credential.expose()) else {
            return Ok(None);
        };
        let id = self.passkey_id(answer.get_credential_id());
        let found = self.0.passkey_store.owner_of(&id).await.map_err(failed)?;
        let named = found.map(|(user, _)| user);
        // If nobody else has named the user, the key itself has to do so (WebAuthn section 7.2, step 6).
        Ok(named.filter(|user| {
            answer.get_user_unique_id() == Some(self.handle(user).as_bytes().as_slice())
        }))
    }

    /// Uses a user's passkey, and returns the authentication method that it proves.
    ///
    /// # Errors
    /// [`CodeRefused`]
    pub async fn check(self, attempt: PasskeyAttempt<'_>) -> Result<AuthMethod, CodeRefused> {
        let not = |why| Err(CodeRefused::Not(why));
        let PasskeyAttempt { user, answer, device, at } = attempt;
        let Some(passkeys) = &self.0.passkeys else { return not(FactorRefusal::BadPasskey) };
        let opened = self.opened::<DiscoverableAuthentication>(ASSERTION, answer, at);
        let Some((state, challenge)) = opened else { return not(FactorRefusal::Ticket) };
        let Some((said, _)) = read::<PublicKeyCredential>(answer.credential.expose()) else {
            return not(FactorRefusal::BadPasskey);
        };
        let id = self.passkey_id(said.get_credential_id());
        let kept = self.0.of(user).await.map_err(CodeRefused::Failed)?;
        let found = kept.factors.iter().find(|one| one.id == id && self.works_here(one));
        let Some(factor) = found else { return not(FactorRefusal::BadPasskey) };
        let is_theirs = said
            .get_user_unique_id()
            .is_none_or(|handle| handle == self.handle(user).as_bytes().as_slice());
        let credential = self.credential(user, factor).map_err(CodeRefused::Failed)?;
        let verified = passkeys.webauthn.finish_discoverable_authentication_v2(
            &said,
            state,
            Passkey::from(credential),
        );
        let verified = match verified {
            Ok(verified) if is_theirs && verified.user_verified() => verified,
            Ok(_) => return not(FactorRefusal::BadPasskey),
            Err(error) => {
                tracing::info!(%user, %error, "a passkey was not accepted");
                return not(FactorRefusal::BadPasskey);
            }
        };
        let source = self.0.source_of(user, device.as_ref());
        let used = PasskeyUse {
            user: user.clone(),
            id,
            counter: verified.counter(),
            backed_up: verified.backup_state(),
            challenge,
            source,
            at,
        };
        match self.0.passkey_store.use_passkey(used).await.map_err(refused)? {
            PasskeyUsed::Yes => Ok(kind_of_key(verified.backup_eligible())),
            PasskeyUsed::Replayed => not(FactorRefusal::UsedChallenge),
            PasskeyUsed::CounterBehind => not(FactorRefusal::ClonedPasskey),
            PasskeyUsed::Gone => not(FactorRefusal::BadPasskey),
        }
    }

    /// Returns the user's handle for authenticators, which reveals nothing about the user (WebAuthn section 14.6.1).
    fn handle(self, user: &UserKey) -> Uuid {
        let hash = self.0.key.hash("passkey user", &user.to_string(), b"");
        Uuid::from_bytes(*hash.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]))
    }

    /// Returns the id in the store, which is derived from the credential id: one key is one factor.
    fn passkey_id(self, credential: &[u8]) -> String {
        let id = self.0.key.hash("passkey id", "", credential);
        URL_SAFE_NO_PAD.encode(id.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]))
    }

    /// Returns a user's passkeys of this RP ID.
    fn credentials(self, user: &UserKey, kept: &StoredFactors) -> Vec<Credential> {
        let here = kept.factors.iter().filter(|factor| self.works_here(factor));
        here.filter_map(|factor| self.credential(user, factor).ok()).collect()
    }

    /// Returns a passkey in the crate's form, without a counter: see the head of this module.
    fn credential(self, user: &UserKey, factor: &StoredFactor) -> Result<Credential, Refusal> {
        let opened = self.0.key.open(PASSKEY, &user.to_string(), &factor.sealed);
        let passkey = opened.and_then(|bytes| serde_json::from_slice::<Passkey>(&bytes).ok());
        let passkey = passkey.ok_or_else(|| {
            tracing::error!(%user, "a passkey was sealed by another key than second_factor.key_file");
            Refusal::Internal
        })?;
        Ok(Credential { counter: 0, ..passkey.into() })
    }

    fn sealed<S: Serialize>(
        self,
        purpose: &str,
        place: &CeremonyPlace,
        challenge: Vec<u8>,
        state: S,
        at: Timestamp,
    ) -> Result<Secret, Refusal> {
        let until = at.plus(LIFETIME).as_millis();
        let bytes = serde_json::to_vec(&CeremonyState { until, challenge, state });
        let sealed = self.0.key.seal(purpose, &place.0, &bytes.map_err(|_| Refusal::Internal)?)?;
        Ok(Secret::new(URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens a token. `None` if it is not for this purpose and place, or has expired.
    fn opened<S: DeserializeOwned>(
        self,
        purpose: &str,
        answer: PasskeyAnswer<'_>,
        at: Timestamp,
    ) -> Option<(S, SpentChallenge)> {
        let token = answer.token.expose();
        let token = Some(token).filter(|token| token.len() <= LONGEST)?;
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let opened = self.0.key.open(purpose, &answer.place.0, &sealed)?;
        let CeremonyState { until, challenge, state } = serde_json::from_slice(&opened).ok()?;
        let kept_until = Timestamp::from_millis(until);
        let digest = Digest::of(&challenge);
        (at < kept_until).then_some((state, SpentChallenge { digest, kept_until }))
    }
}

/// Returns whether a key is in software or in hardware: see the head of this module.
const fn kind_of_key(may_be_copied: bool) -> AuthMethod {
    if may_be_copied { AuthMethod::SoftwareKey } else { AuthMethod::HardwareKey }
}

fn read<A: DeserializeOwned>(said: &str) -> Option<(A, Value)> {
    let said = Some(said).filter(|said| said.len() <= LONGEST)?;
    Some((serde_json::from_str(said).ok()?, serde_json::from_str(said).ok()?))
}

fn not_begun(error: webauthn_rs::prelude::WebauthnError) -> Refusal {
    tracing::warn!(%error, "no challenge for a passkey can be made");
    Refusal::Internal
}
