//! Reads `[notify]`: who is notified of incidents, and how.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::raw::{RawTable, Wrong};
use super::units::{DAY, HOUR, MINUTE, TIMEOUT, secs};
use super::{Tokens, values};
use crate::wire::accept::Language;
use crate::wire::host::Host;

/// `[notify]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// The most messages that wait in one channel; beyond it the oldest is dropped.
    pub queue: u32,
    /// How long the same incident is not reported again.
    pub cooldown: Duration,
    /// The wait after the first failure of a channel; it doubles with each further one.
    pub backoff_initial: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// The age at which a message is given up.
    pub give_up_after: Duration,
    /// `[[notify.webhook]]`
    pub webhooks: Vec<WebhookSettings>,
    /// `[notify.mail]`
    pub mail: Option<MailSettings>,
    /// `[[notify.security_events]]`
    pub security_events: Vec<SecurityEventsSettings>,
}

/// `[[notify.webhook]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// The metric label, which also names its waiting messages in the store.
    pub name: String,
    /// The URL to which messages are posted.
    pub url: String,
    /// The secrets that sign messages, one on each line.
    pub secret: SecretSource,
    /// The longest that an attempt may take.
    pub timeout: Duration,
    /// Certificates that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

/// `[notify.mail]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailSettings {
    /// The mail server.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: MailTls,
    /// The user as whom the gateway signs in at the server.
    pub username: Option<String>,
    /// The file with that user's password.
    pub password_file: Option<PathBuf>,
    /// The sender: an address, or `Name <address>`.
    pub from: String,
    /// The longest that an attempt may take.
    pub timeout: Duration,
    /// Certificates that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The origin where users reach the gateway: links in letters lead there.
    pub public_url: String,
    /// Where users change their password: a path, or an address elsewhere.
    pub password_change_url: Option<String>,
    /// How long a link in a letter works.
    pub link_lifetime: Duration,
    /// The language for users for whom no directory gives one.
    pub language: Language,
    /// The time zone of times in letters.
    pub time_zone: String,
    /// The most letters that one address gets in an hour; the others wait.
    pub per_address: u32,
    /// A folder with templates in place of the built-in ones.
    pub templates: Option<PathBuf>,
}

/// `notify.mail.tls`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// STARTTLS: plain at first, encrypted before anything is sent; never without TLS.
    StartTls,
    /// Encrypted from the first byte.
    Implicit,
    /// Not encrypted: `danger_plaintext`.
    None,
}

/// `[[notify.security_events]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityEventsSettings {
    /// The metric label, which also names its waiting messages in the store.
    pub name: String,
    /// The URL to which tokens are pushed.
    pub url: String,
    /// `aud`.
    pub audience: String,
    /// The file with the bearer token that authenticates the gateway to the receiver.
    pub token_file: Option<PathBuf>,
    /// The longest that an attempt may take.
    pub timeout: Duration,
    /// Certificates that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file that only the gateway's user can read.
    File(PathBuf),
    /// In an environment variable.
    Environment(String),
}

impl Notify {
    /// Whether there is any channel.
    pub(super) fn is_any(&self) -> bool {
        self.mail.is_some() || !self.webhooks.is_empty() || !self.security_events.is_empty()
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            queue: 1000,
            cooldown: HOUR,
            backoff_initial: secs(5),
            backoff_max: 15 * MINUTE,
            give_up_after: DAY,
            webhooks: Vec::new(),
            mail: None,
            security_events: Vec::new(),
        }
    }
}

/// The mail channel's name in metrics and in the store.
pub const MAIL: &str = "mail";

/// The name of the channel that mails sign-in links. It is a separate channel, so that a client that requests many links
/// displaces no letter about an incident.
pub const MAILED_LINKS: &str = "mailed-links";

/// The name of the channel that mails codes, which stand in for a second factor.
pub const MAILED_CODES: &str = "mailed-codes";

pub(super) fn notify(table: &RawTable<'_>, tokens: &Tokens) -> Notify {
    let default = Notify::default();
    let pace = Duration::from_millis(10)..=DAY;
    let notify = Notify {
        queue: table.number("queue", 1..=1_000_000).unwrap_or(default.queue),
        cooldown: table.duration("cooldown", Duration::ZERO..=30 * DAY).unwrap_or(default.cooldown),
        backoff_initial: table
            .duration("backoff_initial", pace.clone())
            .unwrap_or(default.backoff_initial),
        backoff_max: table.duration("backoff_max", pace).unwrap_or(default.backoff_max),
        give_up_after: table
            .duration("give_up_after", secs(1)..=30 * DAY)
            .unwrap_or(default.give_up_after),
        webhooks: table.tables("webhook", webhook),
        mail: table.has("mail").then(|| table.table("mail", mail)),
        security_events: table.tables("security_events", security_events),
    };
    if !notify.security_events.is_empty() && tokens.algorithm.is_shared() {
        table.error(
            "security_events",
            Wrong::new("nobody else could verify what tokens.algorithm = \"HS256\" signs")
                .help("sign with \"ES256\", \"EdDSA\" or \"RS256\""),
        );
    }
    table.ordered(("backoff_initial", notify.backoff_initial), ("backoff_max", notify.backoff_max));
    refuse_doubles(table, &notify);
    notify
}

fn refuse_doubles(table: &RawTable<'_>, notify: &Notify) {
    let mut names: Vec<&str> = notify.webhooks.iter().map(|one| one.name.as_str()).collect();
    names.extend(notify.security_events.iter().map(|one| one.name.as_str()));
    names.extend(notify.mail.iter().flat_map(|_| [MAIL, MAILED_LINKS, MAILED_CODES]));
    names.sort_unstable();
    for pair in names.windows(2) {
        if let [one, other] = pair
            && one == other
        {
            table.error(
                "webhook",
                Wrong::new(format!("two channels are called {one:?}"))
                    .help("messages wait under the channel's name: give each its own name"),
            );
        }
    }
}

fn webhook(table: &RawTable<'_>) -> WebhookSettings {
    table.require("name", "a name for metrics and logs, like \"operations\"");
    table.require("url", "where to post to, like \"https://example.com/hooks/doorwarden\"");
    WebhookSettings {
        name: table.text("name", values::name).unwrap_or_default(),
        url: receiver(table, "url"),
        secret: secret(table, "secret_file", "secret_env"),
        timeout: table.duration("timeout", TIMEOUT).unwrap_or(secs(10)),
        ca_file: table.path("ca_file"),
    }
}

fn security_events(table: &RawTable<'_>) -> SecurityEventsSettings {
    table.require("name", "a name for metrics and logs, like \"partner\"");
    table.require("url", "where to push to, like \"https://partner.example.com/events\"");
    table.require("audience", "the audience that the receiver expects (aud)");
    SecurityEventsSettings {
        name: table.text("name", values::name).unwrap_or_default(),
        url: receiver(table, "url"),
        audience: table.text("audience", values::filled).unwrap_or_default(),
        token_file: table.path("token_file"),
        timeout: table.duration("timeout", TIMEOUT).unwrap_or(secs(10)),
        ca_file: table.path("ca_file"),
    }
}

fn mail(table: &RawTable<'_>) -> MailSettings {
    table.require("host", "the mail server, like \"smtp.example.com\"");
    table.require("from", "the sender, like \"Example <security@example.com>\"");
    table.require("public_url", "where people reach the gateway, like \"https://app.example.com\"");
    let plain = table.flag("danger_plaintext").unwrap_or_default();
    let tls = table.choice("tls", &MAIL_TLS);
    if plain {
        let what = "mails, with links that end sessions, cross the network unencrypted";
        table.warn("danger_plaintext", Wrong::new(what));
        if tls.is_some() {
            table.error("tls", Wrong::new("contradicts danger_plaintext, which encrypts nothing"));
        }
    }
    let tls = if plain { MailTls::None } else { tls.unwrap_or(MailTls::StartTls) };
    let username = table.text("username", values::filled);
    let password_file = table.path("password_file");
    if username.is_some() != password_file.is_some() {
        let key = if username.is_some() { "username" } else { "password_file" };
        table.error(key, Wrong::new("username and password_file belong together"));
    }
    MailSettings {
        host: table.text("host", mail_host).unwrap_or_default(),
        port: table.number("port", 1..=u16::MAX).unwrap_or(match tls {
            MailTls::StartTls => 587,
            MailTls::Implicit => 465,
            MailTls::None => 25,
        }),
        tls,
        username,
        password_file,
        from: table.text("from", mailbox).unwrap_or_default(),
        timeout: table.duration("timeout", TIMEOUT).unwrap_or(secs(30)),
        ca_file: table.path("ca_file"),
        public_url: table.text("public_url", origin).unwrap_or_default(),
        password_change_url: table.text("password_change_url", page),
        link_lifetime: table.duration("link_lifetime", MINUTE..=30 * DAY).unwrap_or(7 * DAY),
        language: table.choice("language", &LANGUAGES).unwrap_or_default(),
        time_zone: table.text("time_zone", time_zone).unwrap_or_else(|| "UTC".to_owned()),
        per_address: table.number("per_address", 1..=10_000).unwrap_or(10),
        templates: table.path("templates"),
    }
}

const MAIL_TLS: [(&str, MailTls); 2] =
    [("starttls", MailTls::StartTls), ("implicit", MailTls::Implicit)];

const LANGUAGES: [(&str, Language); 2] = [("en", Language::English), ("ko", Language::Korean)];

fn mail_host(text: &str) -> Result<String, Wrong> {
    match Host::parse(text) {
        Ok(host) if host.port().is_none() => Ok(host.name().to_owned()),
        _ => Err(Wrong::new(format!("{text:?} is no host")).help("the port has a key of its own")),
    }
}

fn mailbox(text: &str) -> Result<String, Wrong> {
    let is_one =
        !text.chars().any(char::is_control) && text.parse::<lettre::message::Mailbox>().is_ok();
    match is_one {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(format!("{text:?} is no sender")).help(
            "allowed: an address, or a name and an address: \"Example <security@example.com>\"",
        )),
    }
}

/// Parses `scheme://host[:port]`.
fn origin(text: &str) -> Result<String, Wrong> {
    const FORM: &str =
        "allowed: a scheme and a host without a path, like \"https://app.example.com\"";
    let url = reqwest::Url::parse(text)
        .map_err(|error| Wrong::new(format!("{text:?} is no URL: {error}")).help(FORM))?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let has_name = !url.username().is_empty() || url.password().is_some();
    match (url.scheme(), is_bare && !has_name && url.has_host()) {
        ("https" | "http", true) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(Wrong::new(format!("{text:?} is no origin")).help(FORM)),
    }
}

/// Parses a path of this origin, or an address elsewhere.
pub(super) fn page(text: &str) -> Result<String, Wrong> {
    let is_path = text.starts_with('/') && !text.starts_with("//");
    let is_url =
        reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
    match (is_path || is_url) && !text.chars().any(|letter| letter.is_control() || letter == '\\') {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(format!("{text:?} is no page"))
            .help("allowed: a path like \"/accounts/password_change/\", or a URL with https")),
    }
}

fn time_zone(text: &str) -> Result<String, Wrong> {
    match jiff::tz::TimeZone::get(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Wrong::new(format!("there is no time zone {text:?}")).help(
            "allowed: a name like \"Asia/Seoul\" that this machine knows (/usr/share/zoneinfo)",
        )),
    }
}

/// Reads the URL of a receiver: it must use TLS, unless it is on this machine or `danger_plain_http` is set.
fn receiver(table: &RawTable<'_>, key: &'static str) -> String {
    let plain = table.flag("danger_plain_http").unwrap_or_default();
    if plain {
        table.warn(
            "danger_plain_http",
            Wrong::new("anyone on the network path can read who is attacked, and from where"),
        );
    }
    table.text(key, |text| receiver_url(text, plain)).unwrap_or_default()
}

fn receiver_url(text: &str, plain: bool) -> Result<String, Wrong> {
    const FORM: &str = "allowed: an absolute URL with https, like \"https://example.com/hook\"";
    let url = reqwest::Url::parse(text)
        .map_err(|error| Wrong::new(format!("{text:?} is no URL: {error}")).help(FORM))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::new("has a name or password in it").help(FORM));
    }
    if url.fragment().is_some() {
        return Err(Wrong::new("has a fragment, which is never sent").help(FORM));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => Ok(url.into()),
        "http" if is_here || plain => Ok(url.into()),
        "http" => Err(Wrong::new("would go over the network in plain text")
            .help("write https, or danger_plain_http = true beside it")),
        _ => Err(Wrong::new(format!("{text:?} is no address to post to")).help(FORM)),
    }
}

/// Reads a secret that must be given, in a file or in an environment variable.
fn secret(table: &RawTable<'_>, file: &'static str, env: &'static str) -> SecretSource {
    match optional_secret(table, file, env) {
        Some(source) => source,
        None => {
            if !table.has(file) && !table.has(env) {
                let help =
                    format!("write it into a file that only the gateway's user can read; or {env}");
                table.error(file, Wrong::new("is missing").help(help));
            }
            SecretSource::Environment(String::new())
        }
    }
}

/// Reads a secret, in a file or in an environment variable.
fn optional_secret(
    table: &RawTable<'_>,
    file: &'static str,
    env: &'static str,
) -> Option<SecretSource> {
    let in_file = table.path(file);
    let in_env = table.text(env, |text| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        match !text.is_empty() && text.bytes().all(legal) {
            true => Ok(text.to_owned()),
            false => Err(Wrong::new(format!("{text:?} is no name of a variable"))),
        }
    });
    if in_file.is_some() && in_env.is_some() {
        table.error(env, Wrong::new("is set twice").help(format!("keep one: {file} or {env}")));
    }
    in_file.map(SecretSource::File).or(in_env.map(SecretSource::Environment))
}
