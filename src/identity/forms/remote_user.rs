//! `remote-user`: what a web server that authenticated somebody itself would say.
//!
//! Django's `RemoteUserMiddleware` reads `REMOTE_USER`, which no proxy can set; a subclass with
//! `header = "HTTP_REMOTE_USER"` reads this one. That middleware makes an account for a name that it does not know.

use http::header::{HeaderName, HeaderValue};

use crate::caller::Known;
use crate::config::{self, UserValue};
use crate::wire::header_value;

pub(super) struct RemoteUser {
    header: HeaderName,
    value: UserValue,
}

impl RemoteUser {
    pub(super) fn new(settings: &config::RemoteUser) -> Result<Self, String> {
        let header = HeaderName::from_bytes(settings.header.as_bytes())
            .map_err(|_| format!("{:?} is no header name", settings.header))?;
        Ok(Self { header, value: settings.value })
    }

    pub(super) const fn header(&self) -> &HeaderName {
        &self.header
    }

    pub(super) fn field(&self, known: &Known) -> (HeaderName, HeaderValue) {
        let text = match self.value {
            UserValue::Name => known.identity.name.as_str(),
            UserValue::Id => &known.identity.key.id,
        };
        (self.header.clone(), header_value::value(text))
    }
}
