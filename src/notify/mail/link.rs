//! Mails a requested link, if the user has an address of their own.
//!
//! The user is looked up here and not at the request, so that a request reveals nothing about accounts. The first directory
//! that knows the name decides, as at a sign-in. **An address that several users of the directory share is nobody's own**:
//! anybody else who reads it could sign in.

use std::sync::Arc;

use async_trait::async_trait;
use lettre::AsyncTransport as _;

use super::letter::{Letter, RequestedValues};
use super::{Mail, language_of, of_answer, time, words};
use crate::clock::Timestamp;
use crate::directory::{Account, Users};
use crate::notify::channel::{Deliver, Delivery, Parcel};
use crate::notify::links::{LINK, LinkAsked, MailedLink, hash_text, link_digest};
use crate::notify::news::{News, Person};
use crate::secret::Secret;
use crate::store::outbox::NewQuestion;
use crate::wire::accept::Language;

/// Sends mailed links.
pub struct LinkMail {
    mail: Arc<Mail>,
    /// The path of the page that links lead to (`paths.mailed_link`).
    path: String,
}

impl LinkMail {
    /// Creates it with the mail and the path of the page.
    pub fn new(mail: Arc<Mail>, path: String) -> Self {
        Self { mail, path }
    }

    /// Returns the account of a name or a ticket, and its directory.
    async fn account_of(&self, asked: &LinkAsked) -> Result<Option<(Account, &dyn Users)>, String> {
        if let Some(person) = &asked.user {
            return self.mail.account_of(person).await;
        }
        for directory in &self.mail.directories {
            // A service that checks passwords itself cannot look up names, and accepts every one.
            let Some(users) = directory.users() else { return Ok(None) };
            let typed = users.as_typed(&asked.name);
            let name = if asked.is_typed { &*typed } else { &asked.name };
            if let Some(account) = users.find(name).await.map_err(|error| error.to_string())? {
                return Ok(Some((account, users)));
            }
        }
        Ok(None)
    }

    async fn send(&self, parcel: &Parcel, asked: &LinkAsked) -> Result<Delivery, String> {
        let asked_at = Timestamp::from_millis(asked.at);
        let until = asked_at.plus(LINK);
        if parcel.now >= until {
            return Ok(Delivery::Never("its link has expired".to_owned()));
        }
        let Some((account, users)) = self.account_of(asked).await? else {
            return Ok(Delivery::NoAddress);
        };
        let Some(to) = Mail::own_address(&account, users).await? else {
            return Ok(Delivery::NoAddress);
        };
        let token = Secret::random().map_err(|error| error.to_string())?;
        let link = MailedLink {
            user: Person::of(&account.identity.key),
            account: asked.account.clone(),
            password: hash_text(&account.password_mark()),
            browser: asked.browser.clone(),
            asked_at: asked.at,
            next: asked.next.clone(),
        };
        let new = NewQuestion {
            digest: link_digest(&token),
            about: link.about(),
            body: serde_json::to_vec(&link).map_err(|error| error.to_string())?,
            expires_at: until,
        };
        self.mail.questions.ask(new).await.map_err(|error| error.to_string())?;
        let language = language_of(&account.identity, self.mail.settings.language);
        let letter = self.letter(asked, &account.identity.name, &token, language);
        let message = self.mail.message(parcel, to, letter)?;
        Ok(of_answer(self.mail.transport.send(message).await))
    }

    fn letter(&self, asked: &LinkAsked, name: &str, token: &Secret, language: Language) -> Letter {
        let Mail { settings, letters, service, account_path, .. } = &*self.mail;
        let base = &settings.public_url;
        let asked_at = Timestamp::from_millis(asked.at);
        letters.link(
            language,
            &RequestedValues {
                service,
                account: name,
                when: &time(asked_at, &settings.time_zone),
                place: &asked.client.to_string(),
                device: &words::device(&asked.agent, language),
                gives: &format!("{base}{}?token={}", self.path, token.expose()),
                until: &time(asked_at.plus(LINK), &settings.time_zone),
                account_page: &format!("{base}{}", account_path.as_deref().unwrap_or("/")),
            },
        )
    }
}

#[async_trait]
impl Deliver for LinkMail {
    async fn deliver(&self, parcel: &Parcel) -> Delivery {
        let News::LinkAsked(asked) = &parcel.news else {
            return Delivery::Never("it is not a request for a link".to_owned());
        };
        match self.send(parcel, asked).await {
            Ok(delivery) => delivery,
            Err(reason) => Delivery::Again(reason, None),
        }
    }
}
