//! Sets up authenticator apps: the page shows a secret, and a code of the app confirms it.
//!
//! Until it is confirmed, the secret is in the page and nowhere else, sealed for its user. The factor's id is derived from the
//! secret, so one secret cannot become two factors that would both accept the same code.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fast_qr::{ECL, QRBuilder};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::totp::{SECRET, TotpSecret};
use super::{FIRST_APP, Factors, TOTP, Wiped, name_of, recovery_codes, written};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::event::FactorRefusal;
use crate::refusal::Refusal;
use crate::secret::{Secret, random_bytes};
use crate::store::factors::{FactorChange, FactorChanged, StoredFactor};

const PURPOSE: &str = "enrolment";

/// How long a page with a secret can be confirmed.
const LIFETIME: Duration = Duration::from_secs(900);

/// A factor that is being set up, in the form in which its user sees it.
#[derive(Debug)]
pub struct Enrolment {
    /// The secret, in the form that is typed into an app by hand.
    pub secret: Secret,
    /// The content of the QR code: an `otpauth` URI.
    pub uri: Secret,
    /// The sealed secret, which the page sends back with the code that confirms it.
    pub token: Secret,
}

/// A QR code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QrCode {
    /// The number of modules of one side, with the quiet zone.
    pub size: usize,
    /// The dark modules, as the data of an SVG path.
    pub path: String,
}

/// Sets up authenticator apps.
#[derive(Clone, Copy)]
pub struct AppEnrolments<'f>(pub(super) &'f Factors);

impl AppEnrolments<'_> {
    /// Creates a secret for a user; `name` is the account name that the app shows.
    ///
    /// # Errors
    /// [`Refusal::Internal`]: there is no randomness.
    pub fn begin(self, user: &UserKey, name: &str, at: Timestamp) -> Result<Enrolment, Refusal> {
        let bytes = random_bytes::<SECRET>().map_err(|_| Refusal::Internal)?;
        let mut sealed = Zeroizing::new(at.plus(LIFETIME).as_millis().to_be_bytes().to_vec());
        sealed.extend_from_slice(&bytes);
        let token = self.0.key.seal(PURPOSE, &user.to_string(), &sealed)?;
        let token = Secret::new(URL_SAFE_NO_PAD.encode(token));
        Ok(self.shown(&TotpSecret::new(Zeroizing::new(bytes.to_vec())), name, token))
    }

    /// Returns the page's content again after a wrong code. `None` if the token has expired or belongs to another user.
    pub fn again(
        self,
        user: &UserKey,
        name: &str,
        token: &Secret,
        at: Timestamp,
    ) -> Option<Enrolment> {
        let secret = self.pending(user, token, at)?;
        Some(self.shown(&secret, name, token.clone()))
    }

    fn shown(self, secret: &TotpSecret, name: &str, token: Secret) -> Enrolment {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let (label, base32) = (&self.0.label, secret.base32());
        let name = name.replace(':', " ");
        let uri = format!(
            "otpauth://totp/{}:{}?secret={base32}&issuer={}&algorithm=SHA1&digits=6&period=30",
            encode(label),
            encode(&name),
            encode(label),
        );
        Enrolment { secret: Secret::new(base32), uri: Secret::new(uri), token }
    }

    fn pending(self, user: &UserKey, token: &Secret, at: Timestamp) -> Option<TotpSecret> {
        let sealed = URL_SAFE_NO_PAD.decode(token.expose()).ok()?;
        let opened: Wiped = self.0.key.open(PURPOSE, &user.to_string(), &sealed)?;
        let (until, secret) = opened.split_first_chunk::<8>()?;
        let is_good = at < Timestamp::from_millis(u64::from_be_bytes(*until));
        is_good.then(|| TotpSecret::new(Zeroizing::new(secret.to_vec())))
    }

    /// Sets up the factor if the code is right for its secret. Returns recovery codes if the user has no unused ones.
    ///
    /// # Errors
    /// `Ok(Err(...))`: why the factor was not set up. [`Refusal::StoreUnavailable`], [`Refusal::Internal`]
    pub async fn enrol(
        self,
        user: &UserKey,
        confirmed: Confirmed<'_>,
        at: Timestamp,
    ) -> Result<Result<Vec<Secret>, FactorRefusal>, Refusal> {
        let Some(secret) = self.pending(user, confirmed.token, at) else {
            return Ok(Err(FactorRefusal::Ticket));
        };
        let digits = written::read_digits(confirmed.code.expose());
        let step = digits.and_then(|digits| secret.step_of(digits.expose(), at));
        let Some(step) = step else { return Ok(Err(FactorRefusal::WrongCode)) };
        if let Some(invitation) = confirmed.invitation
            && !self.0.administration().take_invitation(user, invitation, at).await?
        {
            return Ok(Err(FactorRefusal::NoProof));
        }
        let owner = user.to_string();
        let id = self.0.key.hash("id", "", secret.bytes());
        let codes = recovery_codes()?;
        let change = FactorChange::Add {
            factor: StoredFactor {
                id: URL_SAFE_NO_PAD.encode(id.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16])),
                kind: TOTP.to_owned(),
                name: name_of(confirmed.name, FIRST_APP),
                sealed: self.0.key.seal(TOTP, &owner, secret.bytes())?,
                last_step: step,
                created_at: at,
                last_used: None,
                passkey: None,
            },
            recovery: self.0.recovery_hashes(user, &codes),
        };
        Ok(match self.0.change(user, change).await? {
            FactorChanged::MadeWithRecovery => Ok(codes),
            FactorChanged::Made => Ok(Vec::new()),
            FactorChanged::Not => Err(FactorRefusal::Ticket),
        })
    }
}

/// The confirmation that a factor was set up in an app.
#[derive(Clone, Copy, Debug)]
pub struct Confirmed<'a> {
    /// The token of the enrolment: [`Enrolment::token`]
    pub token: &'a Secret,
    /// The code that the app shows.
    pub code: &'a Secret,
    /// The name that its owner gives the factor.
    pub name: &'a str,
    /// The operator's invitation, where one is required. It is used only if the app's code is right.
    pub invitation: Option<&'a Secret>,
}

impl Enrolment {
    /// Returns the QR code. `None` if the names are too long for one; the secret can still be typed.
    pub fn qr(&self) -> Option<QrCode> {
        /// The number of modules of the quiet zone on each side (ISO/IEC 18004).
        const QUIET: usize = 4;
        let code = QRBuilder::new(self.uri.expose()).ecl(ECL::M).build().ok()?;
        let mut path = String::new();
        for row in 0..code.size {
            for column in 0..code.size {
                let is_dark =
                    code.data.get(row * code.size + column).is_some_and(|one| one.value());
                if is_dark {
                    path.push_str(&format!("M{} {}h1v1h-1z", column + QUIET, row + QUIET));
                }
            }
        }
        Some(QrCode { size: code.size + 2 * QUIET, path })
    }
}
