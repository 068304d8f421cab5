//! Mails a requested code, if the user has an address of their own ([`Mail::own_address`]).

use std::sync::Arc;

use async_trait::async_trait;
use lettre::AsyncTransport as _;

use super::letter::RequestedValues;
use super::{Mail, language_of, of_answer, time, words};
use crate::clock::Timestamp;
use crate::notify::channel::{Deliver, Delivery, Parcel};
use crate::notify::codes::{CodeAsked, IssueCodes};
use crate::notify::news::News;

/// Sends mailed codes.
pub struct CodeMail {
    mail: Arc<Mail>,
    codes: Arc<dyn IssueCodes>,
}

impl CodeMail {
    /// Creates it with the mail and the source of codes.
    pub fn new(mail: Arc<Mail>, codes: Arc<dyn IssueCodes>) -> Self {
        Self { mail, codes }
    }

    async fn send(&self, parcel: &Parcel, asked: &CodeAsked) -> Result<Delivery, String> {
        let until = Timestamp::from_millis(asked.until);
        if parcel.now >= until {
            return Ok(Delivery::Never("its code has expired".to_owned()));
        }
        let Some((account, users)) = self.mail.account_of(&asked.user).await? else {
            return Ok(Delivery::NoAddress);
        };
        let Some(to) = Mail::own_address(&account, users).await? else {
            return Ok(Delivery::NoAddress);
        };
        let Mail { settings, letters, service, account_path, .. } = &*self.mail;
        let code = self.codes.issue_code(&account.identity.key, &asked.place, until).await?;
        let language = language_of(&account.identity, settings.language);
        let (base, zone) = (&settings.public_url, &settings.time_zone);
        let values = RequestedValues {
            service,
            account: &account.identity.name,
            when: &time(Timestamp::from_millis(asked.at), zone),
            place: &asked.client.to_string(),
            device: &words::device(&asked.agent, language),
            gives: code.expose(),
            until: &time(until, zone),
            account_page: &format!("{base}{}", account_path.as_deref().unwrap_or("/")),
        };
        let message = self.mail.message(parcel, to, letters.code(language, &values))?;
        Ok(of_answer(self.mail.transport.send(message).await))
    }
}

#[async_trait]
impl Deliver for CodeMail {
    async fn deliver(&self, parcel: &Parcel) -> Delivery {
        let News::CodeAsked(asked) = &parcel.news else {
            return Delivery::Never("it is not a request for a code".to_owned());
        };
        match self.send(parcel, asked).await {
            Ok(delivery) => delivery,
            Err(reason) => Delivery::Again(reason, None),
        }
    }
}
