//! Passkeys and security keys (WebAuthn level 3), by `webauthn-rs`, which reads and verifies what authenticators say.
//!
//! **A ceremony** is a challenge and its answer. What has to be remembered of a challenge is in a token that its client holds:
//! sealed, bound to what it is for and to what it was begun in (a sign-in's ticket, a session, a network), and good for five
//! minutes. So a page that is only looked at writes nothing. The store remembers the challenges that were answered, so
//! that each is answered once.
//!
//! **The user is always verified** (a PIN, a fingerprint): a passkey is two factors by itself, and may stand for both. Keys that
//! cannot verify anybody are refused.
//!
//! **The signature counter** is compared and raised by the store, in one step with the challenge; the crate is told of
//! none. Of a counter that does not go on, somebody has a copy of the key: the answer is refused and its owner is told.
//!
//! **No attestation is asked for**: it would tie people to makers, and says nothing of the passkeys that phones keep. So whether
//! a key is in hardware (`hwk`) is what follows from its flags: one that may be copied to another device (`BE`) is `swk`.
//!
//! Nothing here is counted as a guess: nobody guesses a signature.

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

/// How long a challenge can be answered: as long as browsers ask for (the recommended range of WebAuthn section 15.1).
const LIFETIME: Duration = Duration::from_secs(300);

/// The most bytes of an authenticator's answer, or of a token, that are looked at.
const LONGEST: usize = 16 * 1024;

/// What a passkey is called unless its owner says otherwise.
pub const FIRST_PASSKEY: &str = "Passkey";

const ENROLMENT: &str = "passkey enrolment";

const ASSERTION: &str = "passkey";

/// The relying party that passkeys belong to.
pub struct Passkeys {
    webauthn: Webauthn,
    rp_id: String,
    sign_in: bool,
}

/// A ceremony that was begun.
#[derive(Debug)]
pub struct PasskeyCeremony {
    /// `{"publicKey": ...}`, for `parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON` of its member.
    pub options: Value,
    /// Comes back with the answer.
    pub token: Secret,
}

/// What a ceremony was begun in. Its answer is good there and nowhere else.
#[derive(Clone, Debug)]
pub struct CeremonyPlace(String);

/// What an authenticator said.
#[derive(Clone, Copy, Debug)]
pub struct PasskeyAnswer<'a> {
    /// [`PasskeyCeremony::token`]
    pub token: &'a Secret,
    /// `PublicKeyCredential.toJSON()`
    pub credential: &'a Secret,
    /// Where the ceremony was begun.
    pub place: &'a CeremonyPlace,
}

/// A passkey that is set up.
#[derive(Clone, Copy, Debug)]
pub struct NewPasskey<'a> {
    /// What the authenticator said.
    pub answer: PasskeyAnswer<'a>,
    /// What its owner calls it.
    pub name: &'a str,
    /// The code of an operator, where it takes one.
    pub invitation: Option<&'a Secret>,
}

/// A passkey that was set up.
#[derive(Debug)]
pub struct EnrolledPasskey {
    /// The recovery codes that came with it, if it is the user's first factor.
    pub codes: Vec<Secret>,
    /// What it proves.
    pub key: AuthMethod,
}

/// Whose passkey is used, and where.
#[derive(Clone, Copy, Debug)]
pub struct PasskeyAttempt<'a> {
    /// Whose.
    pub user: &'a UserKey,
    /// What the authenticator said.
    pub answer: PasskeyAnswer<'a>,
    /// The device, if it is known to have signed this user in.
    pub device: Option<Digest>,
    /// Now.
    pub at: Timestamp,
}

/// By what somebody may prove more than a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OfferedFactors {
    /// A code of an app.
    pub app: bool,
    /// A passkey that works at this host.
    pub passkey: bool,
    /// A code that is mailed to them.
    pub mail: bool,
}

/// What a token holds.
#[derive(Serialize, Deserialize)]
struct CeremonyState<S> {
    /// In milliseconds since 1970.
    until: u64,
    challenge: Vec<u8>,
    state: S,
}

impl Passkeys {
    /// From the configuration; `title` is what the service is called there.
    ///
    /// # Errors
    /// If an origin is not one of the RP ID's.
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
    /// In this place of this kind.
    pub fn new(kind: &str, place: &[u8]) -> Self {
        Self(format!("{kind}:{}", URL_SAFE_NO_PAD.encode(place)))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Sets up passkeys and uses them.
#[derive(Clone, Copy)]
pub struct PasskeyFactors<'f>(pub(super) &'f Factors);

impl<'f> PasskeyFactors<'f> {
    /// Are there passkeys?
    pub fn are_on(self) -> bool {
        self.0.passkeys.is_some()
    }

    /// Where they belong to.
    pub fn rp_id(self) -> Option<&'f str> {
        self.0.passkeys.as_ref().map(|one| &*one.rp_id)
    }

    /// Does one sign in by itself?
    pub fn can_sign_in(self) -> bool {
        self.0.passkeys.as_ref().is_some_and(|one| one.sign_in)
    }

    /// How many nobody can use, because they belong to another host, or because passkeys are off.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn count_useless(self) -> Result<u64, Refusal> {
        let rp_id = self.0.passkeys.as_ref().map_or("", |one| &one.rp_id);
        self.0.passkey_store.passkeys_elsewhere(rp_id).await.map_err(failed)
    }

    /// Is it a passkey of this RP ID?
    pub(super) fn works_here(self, factor: &StoredFactor) -> bool {
        let (Some(passkeys), Some(stored)) = (&self.0.passkeys, &factor.passkey) else {
            return false;
        };
        factor.kind == PASSKEY && stored.rp_id == passkeys.rp_id
    }

    /// A challenge with which a user, who is called `name`, sets up a passkey.
    ///
    /// # Errors
    /// [`Refusal::BadBody`] where there are no passkeys, [`Refusal::StoreUnavailable`], [`Refusal::Internal`]
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
            // The crate asks keys not to keep it; only what is kept in the authenticator signs in without a name. A key without
            // room for it is a second factor still.
            selection.insert("residentKey".to_owned(), json!("preferred"));
        }
        let token = self.sealed(ENROLMENT, place, challenge, state, at)?;
        Ok(PasskeyCeremony { options, token })
    }

    /// Sets up a passkey. With a user's first factor come recovery codes.
    ///
    /// # Errors
    /// `Ok(Err(...))`: why not. [`Refusal::StoreUnavailable`], [`Refusal::Internal`]
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

    /// A challenge for a user's passkeys; for whoever has one, where no user is named.
    ///
    /// # Errors
    /// [`Refusal::BadBody`] where there are no passkeys, [`Refusal::StoreUnavailable`], [`Refusal::Internal`]
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
        // Which mediation it is, the page decides.
        if let Value::Object(members) = &mut options {
            members.remove("mediation");
        }
        let token = self.sealed(ASSERTION, place, challenge, state, at)?;
        Ok(PasskeyCeremony { options, token })
    }

    /// Whose passkey an authenticator used, as it says. That proves nothing yet.
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
        // Who it is has to be said by the key itself, where nobody else has said so (WebAuthn section 7.2, step 6).
        Ok(named.filter(|user| {
            answer.get_user_unique_id() == Some(self.handle(user).as_bytes().as_slice())
        }))
    }

    /// Uses a user's passkey: what it proves.
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

    /// What authenticators call a user: it says nothing of them (WebAuthn section 14.6.1).
    fn handle(self, user: &UserKey) -> Uuid {
        let hash = self.0.key.hash("passkey user", &user.to_string(), b"");
        Uuid::from_bytes(*hash.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]))
    }

    /// The id in the store, which follows from the authenticator's: one key is one factor.
    fn passkey_id(self, credential: &[u8]) -> String {
        let id = self.0.key.hash("passkey id", "", credential);
        URL_SAFE_NO_PAD.encode(id.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]))
    }

    /// A user's passkeys of this RP ID.
    fn credentials(self, user: &UserKey, kept: &StoredFactors) -> Vec<Credential> {
        let here = kept.factors.iter().filter(|factor| self.works_here(factor));
        here.filter_map(|factor| self.credential(user, factor).ok()).collect()
    }

    /// As the crate has it, without a counter: see the head of this module.
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

    /// `None`: it is none of this purpose and place, or too old.
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

/// See the head of this module.
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
