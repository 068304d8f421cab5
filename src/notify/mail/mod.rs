//! `[notify.mail]`: notifies the user whom an incident concerns by mail, and asks whether it was them.
//!
//! **Recipients.** The directory is queried when the letter is sent, so that a changed address counts. A user whom no directory
//! can look up (a directory of `kind = "http"`) may have an address in a live session. Without an address nothing is sent, and
//! that is counted. Several accounts may share one address: each letter names its account, and no address gets more than
//! `per_address` letters an hour; the others wait.
//!
//! **The link.** Each attempt has a secret of its own, of which only the hash is stored; all secrets of one message belong to
//! one question, and one answer settles all. The link leads to `notify.mail.public_url`, never to a host that a request named.
//!
//! **Headers** never contain a name. The recipient is a valid address and nothing else; characters that could end a line are
//! removed from the subject, which is encoded besides.

mod code;
mod letter;
mod link;
mod template;
pub(crate) mod words;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub use self::code::CodeMail;
use self::letter::{Letter, Letters, Values};
pub use self::link::LinkMail;
use super::channel::{Deliver, Delivery, Parcel};
use super::news::{News, Person, ToldIncident};
use crate::caller::{Identity, UserKey};
use crate::clock::Timestamp;
use crate::config::{MailSettings, MailTls};
use crate::directory::{Account, Directory, Users};
use crate::secret::{Digest, Secret};
use crate::store::outbox::{NewQuestion, Questions};
use crate::store::{Former, Sessions};
use crate::wire::accept::Language;

const HOUR: Duration = Duration::from_secs(3600);

/// The most addresses that are counted for `per_address`. Beyond it, those without a letter in the last hour are dropped, then
/// all.
const ADDRESSES: usize = 10_000;

/// What the answer to a letter needs, as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The incident.
    pub incident: ToldIncident,
    /// The name that the user signs in with.
    pub account: String,
}

/// The settings of mail, and everything else that it needs.
pub struct MailParts {
    /// The settings.
    pub settings: MailSettings,
    /// The password of `username`, if there is one.
    pub password: Option<Secret>,
    /// The name of the service (`login.title`).
    pub service: String,
    /// The path of the page with the question (`paths.incident`).
    pub path: String,
    /// The path of the account page (`paths.account`); `None` if it is off.
    pub account_path: Option<String>,
    /// The directories that know addresses.
    pub directories: Vec<Directory>,
    /// The live sessions, which know addresses where a directory cannot be queried.
    pub sessions: Arc<dyn Sessions>,
    /// The former sessions, which know addresses when no session is live.
    pub former: Arc<dyn Former>,
    /// How far back former sessions are searched (`privacy.retention`).
    pub retention: Duration,
    /// The store of questions.
    pub questions: Arc<dyn Questions>,
}

/// Sends mail.
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    settings: MailSettings,
    service: String,
    path: String,
    account_path: Option<String>,
    letters: Letters,
    directories: Vec<Directory>,
    sessions: Arc<dyn Sessions>,
    former: Arc<dyn Former>,
    retention: Duration,
    questions: Arc<dyn Questions>,
    lately: Mutex<HashMap<Digest, Vec<Timestamp>>>,
}

impl Mail {
    /// Creates it; nothing is sent yet.
    ///
    /// # Errors
    /// Which part of it cannot be used.
    pub fn new(parts: MailParts) -> Result<Self, String> {
        let MailParts {
            settings,
            password,
            service,
            path,
            account_path,
            directories,
            sessions,
            former,
            retention,
            questions,
        } = parts;
        let from = settings.from.parse().map_err(|error| format!("from: {error}"))?;
        let letters = Letters::read(settings.templates.as_deref())?;
        let transport = transport(&settings, password)?;
        Ok(Self {
            transport,
            from,
            letters,
            service: if service.is_empty() { host_of(&settings.public_url) } else { service },
            settings,
            path,
            account_path,
            directories,
            sessions,
            former,
            retention,
            questions,
            lately: Mutex::default(),
        })
    }

    /// Checks whether everything that it needs is there, and discards it.
    ///
    /// # Errors
    /// Which part of it cannot be used.
    pub fn check(settings: &MailSettings, password: Option<Secret>) -> Result<(), String> {
        settings.from.parse::<Mailbox>().map_err(|error| format!("from: {error}"))?;
        Letters::read(settings.templates.as_deref())?;
        transport(settings, password).map(drop)
    }

    /// Returns the identity of a user, from the directory or else from a session.
    async fn person(
        &self,
        user: &UserKey,
        now: Timestamp,
    ) -> Result<Option<Arc<Identity>>, String> {
        let mut directories = self.directories.iter();
        let directory = directories.find(|one| one.name() == &*user.directory);
        if let Some(users) = directory.and_then(Directory::users) {
            let account = users.by_id(user).await.map_err(|error| error.to_string())?;
            return Ok(account.map(|account| account.identity));
        }
        let sessions = self.sessions.list(Some(user), now).await;
        let sessions = sessions.map_err(|error| error.to_string())?;
        if let Some(session) = sessions.first() {
            return Ok(Some(session.identity.load_full()));
        }
        // The incident may have ended the user's only session.
        let last = self.former.last_identity(user, now.minus(self.retention)).await;
        Ok(last.map_err(|error| error.to_string())?.map(Arc::new))
    }

    /// Returns a user's account in their directory; `None` if the directory cannot look up users, or the user is gone.
    async fn account_of(&self, person: &Person) -> Result<Option<(Account, &dyn Users)>, String> {
        let user = person.key();
        let mut directories = self.directories.iter();
        let theirs = directories.find(|one| one.name() == &*user.directory);
        let Some(users) = theirs.and_then(Directory::users) else { return Ok(None) };
        let account = users.by_id(&user).await.map_err(|error| error.to_string())?;
        Ok(account.map(|account| (account, users)))
    }

    /// Returns the address for links and codes; `None` if the account is inactive or has no address of its own.
    async fn own_address(account: &Account, users: &dyn Users) -> Result<Option<Address>, String> {
        if !account.active {
            return Ok(None);
        }
        let own = users.own_address(&account.identity).await.map_err(|error| error.to_string())?;
        Ok(own.and_then(|address| address.parse().ok()))
    }

    /// Counts one more letter to this address, or returns how long it has to wait.
    fn admit(&self, address: &Address, now: Timestamp) -> Result<(), Duration> {
        let key = Digest::of(address.to_string().to_lowercase().as_bytes());
        let mut lately = self.lately.lock();
        if lately.len() >= ADDRESSES {
            let is_of_this_hour =
                |sent: &mut Vec<Timestamp>| sent.last().is_some_and(|last| now.since(*last) < HOUR);
            lately.retain(|_, sent| is_of_this_hour(sent));
            if lately.len() >= ADDRESSES {
                lately.clear();
            }
        }
        let sent = lately.entry(key).or_default();
        sent.retain(|at| now.since(*at) < HOUR);
        let limit = usize::try_from(self.settings.per_address).unwrap_or(usize::MAX);
        match sent.first() {
            Some(first) if sent.len() >= limit => Err(first.plus(HOUR).since(now)),
            _ => {
                sent.push(now);
                Ok(())
            }
        }
    }

    /// Uncounts a letter that was admitted and not sent.
    fn take_back(&self, address: &Address, now: Timestamp) {
        let key = Digest::of(address.to_string().to_lowercase().as_bytes());
        if let Some(sent) = self.lately.lock().get_mut(&key)
            && let Some(index) = sent.iter().rposition(|at| *at == now)
        {
            sent.remove(index);
        }
    }

    /// Stores the question, and returns the secret with which it is answered.
    async fn ask(
        &self,
        parcel: &Parcel,
        question: &Question,
        until: Timestamp,
    ) -> Result<Secret, String> {
        let secret = Secret::random().map_err(|error| error.to_string())?;
        let new = NewQuestion {
            digest: secret.digest(),
            about: Digest::of(parcel.id.as_bytes()),
            body: serde_json::to_vec(question).map_err(|error| error.to_string())?,
            expires_at: until,
        };
        self.questions.ask(new).await.map_err(|error| error.to_string())?;
        Ok(secret)
    }

    fn letter(
        &self,
        question: &Question,
        secret: &Secret,
        until: Timestamp,
        language: Language,
    ) -> Letter {
        let told = &question.incident;
        let described = describe(told, &self.settings.time_zone, language);
        let link = |answer: &str| {
            let (base, path, secret) = (&self.settings.public_url, &self.path, secret.expose());
            format!("{base}{path}?answer={answer}&token={secret}")
        };
        self.letters.write(
            language,
            &Values {
                service: &self.service,
                account: &question.account,
                what: described.what,
                when: &described.when,
                place: &described.place,
                device: &described.device,
                done: words::done_about(&told.detector, &told.actions, language),
                not_me: &link("not-me"),
                me: &link("me"),
                until: &time(until, &self.settings.time_zone),
                account_page: &format!(
                    "{}{}",
                    self.settings.public_url,
                    self.account_path.as_deref().unwrap_or("/")
                ),
            },
        )
    }

    fn message(&self, parcel: &Parcel, to: Address, letter: Letter) -> Result<Message, String> {
        let header = |name, value: &str| {
            HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
        };
        let id = format!("<{}@{}>", parcel.id, host_of(&self.settings.public_url));
        let at = std::time::UNIX_EPOCH + Duration::from_millis(parcel.now.as_millis());
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .date(at)
            .subject(letter.subject)
            // The same in each attempt, so that a mail program shows a repetition once.
            .message_id(Some(id))
            // RFC 3834: no program should reply.
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("X-Auto-Response-Suppress", "All"))
            .multipart(MultiPart::alternative_plain_html(letter.text, letter.html))
            .map_err(|error| error.to_string())
    }

    async fn tell(&self, parcel: &Parcel, told: &ToldIncident) -> Result<Delivery, String> {
        let Some(user) = told.user_key() else { return Ok(Delivery::NoAddress) };
        let Some(identity) = self.person(&user, parcel.now).await? else {
            return Ok(Delivery::NoAddress);
        };
        let attribute = |name: &str| identity.attributes.get(name).map(|value| value.trim());
        let Some(to) = attribute("email").and_then(|email| email.parse::<Address>().ok()) else {
            return Ok(Delivery::NoAddress);
        };
        if let Err(wait) = self.admit(&to, parcel.now) {
            return Ok(Delivery::Later(wait));
        }
        let language = language_of(&identity, self.settings.language);
        let question = Question { incident: told.clone(), account: identity.name.clone() };
        let until = parcel.now.plus(self.settings.link_lifetime);
        let sent = async {
            let secret = self.ask(parcel, &question, until).await?;
            let letter = self.letter(&question, &secret, until, language);
            let message = self.message(parcel, to.clone(), letter)?;
            Ok::<_, String>(of_answer(self.transport.send(message).await))
        };
        let delivery = sent.await;
        if !matches!(delivery, Ok(Delivery::Sent)) {
            self.take_back(&to, parcel.now);
        }
        delivery
    }
}

#[async_trait]
impl Deliver for Mail {
    async fn deliver(&self, parcel: &Parcel) -> Delivery {
        match &parcel.news {
            News::Incident(told) => match self.tell(parcel, told).await {
                Ok(delivery) => delivery,
                Err(reason) => Delivery::Again(reason, None),
            },
            News::Answered(_)
            | News::LinkAsked(_)
            | News::CodeAsked(_)
            | News::SessionEnded(_)
            | News::PasswordChanged(_)
            | News::FactorChanged(_)
            | News::PersonalTokenChanged(_)
            | News::AssuranceChanged(_) => {
                Delivery::Never("it is not a message for users".to_owned())
            }
        }
    }
}

/// Returns the language of a user, by the attributes from their directory.
fn language_of(identity: &Identity, otherwise: Language) -> Language {
    let code = identity.attributes.get("language").map(|code| code.trim());
    match code.map(|code| code.get(..2).unwrap_or_default()) {
        Some("ko") => Language::Korean,
        Some("en") => Language::English,
        _ => otherwise,
    }
}

fn transport(
    settings: &MailSettings,
    password: Option<Secret>,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let parameters = || -> Result<TlsParameters, String> {
        let mut tls = TlsParameters::builder(settings.host.clone());
        if let Some(path) = &settings.ca_file {
            let wrong = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
            let pem = std::fs::read(path).map_err(|error| wrong(&error))?;
            tls = tls
                .add_root_certificate(Certificate::from_pem(&pem).map_err(|error| wrong(&error))?);
        }
        tls.build_rustls().map_err(|error| error.to_string())
    };
    let tls = match settings.tls {
        MailTls::StartTls => Tls::Required(parameters()?),
        MailTls::Implicit => Tls::Wrapper(parameters()?),
        MailTls::None => Tls::None,
    };
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.clone());
    let builder = builder.port(settings.port).timeout(Some(settings.timeout)).tls(tls);
    Ok(match (&settings.username, password) {
        (Some(username), Some(password)) => {
            let password = password.expose().trim_end_matches(['\r', '\n']).to_owned();
            builder.credentials(Credentials::new(username.clone(), password)).build()
        }
        _ => builder.build(),
    })
}

/// An incident in words for users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IncidentText {
    /// What happened.
    pub what: &'static str,
    /// The time, with the time zone.
    pub when: String,
    /// The client's address, and its country.
    pub place: String,
    /// The device.
    pub device: String,
}

/// Describes an incident for users.
pub fn describe(told: &ToldIncident, time_zone: &str, language: Language) -> IncidentText {
    let place = match (told.client, &told.country) {
        (Some(client), Some(country)) => format!("{client} ({country})"),
        (Some(client), None) => client.to_string(),
        (None, _) => words::unknown(language).to_owned(),
    };
    IncidentText {
        what: words::what(&told.detector, language),
        when: time(Timestamp::from_millis(told.at), time_zone),
        place,
        device: words::device(&told.agent, language),
    }
}

/// Describes the device by its `User-Agent`.
pub fn device(agent: &str, language: Language) -> String {
    words::device(agent, language)
}

/// Describes in one sentence what a detector of this name found.
pub fn what_was_found(detector: &str, language: Language) -> &'static str {
    words::what(detector, language)
}

/// Returns the time in this zone, or in UTC if the system does not know the zone any more.
pub fn time(at: Timestamp, zone: &str) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    let Ok(at) = jiff::Timestamp::from_millisecond(millis) else { return String::new() };
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    at.to_zoned(zone).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

/// A mailbox that the server rejects for good (RFC 5321 section 4.2.3) is given up; every other failure may pass.
fn of_answer(
    answer: Result<lettre::transport::smtp::response::Response, lettre::transport::smtp::Error>,
) -> Delivery {
    let Err(error) = answer else { return Delivery::Sent };
    let code = error.status().map(u16::from);
    match code {
        Some(550 | 551 | 553 | 556) => {
            Delivery::Never(format!("the server answers {}", code.unwrap_or_default()))
        }
        Some(code) => Delivery::Again(format!("the server answers {code}"), None),
        None => Delivery::Again(error.to_string(), None),
    }
}

/// Returns the host of an origin, for the ids of messages.
fn host_of(origin: &str) -> String {
    let rest = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    rest.split([':', '/']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
