//! The form `remote-user`: sets the name that a web server which authenticated the user itself would pass on.
//!
//! Django's `RemoteUserMiddleware` reads `REMOTE_USER`, which no proxy can set; a subclass with `header = "HTTP_REMOTE_USER"`
//! reads this one. That middleware makes an account for a name that it does not know.
//!
//! So the name must arrive unchanged. WSGI reads the bytes of a header as Latin-1, and nothing decodes `%C3%A9`: a name with
//! letters beyond ASCII, a `%` or blanks at an end would become a new account, so such a user is refused.

use http::header::{HeaderName, HeaderValue};

use crate::caller::Known;
use crate::config::{self, UserValue};
use crate::refusal::Refusal;
use crate::wire::header_value;

pub(super) struct RemoteUserForm {
    header: HeaderName,
    value: UserValue,
}

impl RemoteUserForm {
    pub(super) fn new(settings: &config::RemoteUserSettings) -> Result<Self, String> {
        let header = HeaderName::from_bytes(settings.header.as_bytes())
            .map_err(|_| format!("{:?} is no header name", settings.header))?;
        Ok(Self { header, value: settings.value })
    }

    pub(super) const fn header(&self) -> &HeaderName {
        &self.header
    }

    pub(super) fn field(&self, known: &Known) -> Result<(HeaderName, HeaderValue), Refusal> {
        let text = match self.value {
            UserValue::Name => known.identity.name.as_str(),
            UserValue::Id => &known.identity.key.id,
        };
        let value = header_value::value(text);
        if value.as_bytes() != text.as_bytes() {
            tracing::warn!(
                user = %known.identity.key,
                header = self.header.as_str(),
                "a header cannot carry this user's name through WSGI, and the service would make a new user: \
                 set value = \"id\" in the form, or use another form"
            );
            return Err(Refusal::IdentityNotCarried);
        }
        Ok((self.header.clone(), value))
    }
}
