//! Answers the own paths: the requests that the gateway answers itself.
//!
//! Each own path has a file, and this one knows their methods and calls them. An endpoint returns a reply or a refusal and
//! reports what happened; nothing here counts or logs. Every reply is `no-store`, and every refusal goes through the one
//! mapping in `wire::reply`.
//!
//! Any site's page can post a form here without a preflight; so the sender of a form, and of whatever the cookie
//! authenticates, is checked (`input.rs`). JSON from another origin needs a preflight, which only listed origins
//! pass ([`cors`]).
//!
//! A HEAD gets the reply of the GET; the code that writes it omits the body and keeps its length.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http::header::{ALLOW, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};

use crate::caller::{IssuerName, Proof};
use crate::config::{Config, IssuerKind, Issues, OwnPath, OwnPathEntry, Shape, SignInMode};
use crate::issuer::Issuers;
use crate::notify::{IncidentQuestions, RequestedLetters};
use crate::refusal::Refusal;
use crate::wire::arrival::Arrival;
use crate::wire::cookie::{self, CookieValue};
use crate::wire::framing::Methods;
use crate::wire::reply::Reply;

use self::account::AccountPaths;
use self::cors::CorsPolicy;
pub use self::held::LONGEST_HELD;
use self::incident::Incidents;
use self::logout::LogoutScope;
use self::mailed_code::CodeMailing;
use self::mailed_link::LinkMailing;
use self::refused::Refused;
use self::sent_back::SentBack;
use self::session_cookie::SessionCookie;

mod account;
mod account_activity;
mod account_devices;
mod account_page;
mod account_password;
mod account_sessions;
mod account_texts;
mod alias;
mod blacklist;
mod confirmation;
pub mod cors;
mod credentials;
mod dj_rest_auth;
pub mod error_pages;
mod factor_page;
mod factor_texts;
pub(crate) mod factors;
mod grpc;
mod held;
mod incident;
mod input;
mod keys;
mod login;
mod logout;
mod logout_page;
mod mailed_code;
mod mailed_link;
mod mailed_link_texts;
mod navigation;
mod page;
mod page_texts;
pub(crate) mod paging;
mod passkey;
mod passkey_page;
mod passkey_script;
pub mod personal_tokens;
mod recovery_codes;
mod refresh;
mod refuse;
pub(crate) mod refused;
mod rest_framework;
mod second_factor;
mod sent_back;
mod session;
mod session_cookie;
#[cfg(test)]
mod tests;
mod texts;
mod token_page;
mod token_texts;
mod verify;

/// Answers the own paths.
pub struct Endpoints {
    issuers: Arc<Issuers>,
    cookie: SessionCookie,
    /// The cookies that are credentials of an issuer.
    issued_cookies: Vec<IssuedCookie>,
    /// Whether a 401 offers to take a name and a password (HTTP Basic).
    challenges: bool,
    issues: Issues,
    title: String,
    links: Vec<(String, String)>,
    trusted_origins: Vec<String>,
    login_path: Option<String>,
    /// The path that a code is posted to.
    second_factor_path: Option<String>,
    /// The path where users manage their second factors.
    factors_path: Option<String>,
    factors_script_path: Option<String>,
    /// The path where a passkey signs in without a password.
    passkey_path: Option<String>,
    /// The path of the script for pages that use passkeys.
    passkey_script: Option<String>,
    /// The paths where users manage the rest of their account.
    account: AccountPaths,
    /// The path where users manage their personal access tokens.
    tokens_path: Option<String>,
    sign_out_path: Option<String>,
    sent_back: SentBack,
    cors: CorsPolicy,
    incidents: Incidents,
    mailing: LinkMailing,
    code_mailing: CodeMailing,
    /// Whether the log already says that browsers drop the cookie, which it says once and not for each visitor.
    has_warned_of_plain_http: AtomicBool,
}

/// A cookie that is a credential of an issuer.
struct IssuedCookie {
    issuer: IssuerName,
    name: String,
    /// The domain for which the service may have set it.
    domain: Option<String>,
}

/// An answer, and the refusal if it is one.
#[derive(Clone, Debug)]
pub struct Served {
    /// The reply to the client.
    pub reply: Reply,
    /// The refusal, if the reply refuses.
    pub refusal: Option<Refusal>,
}

impl Endpoints {
    /// Creates the endpoints from the parts of the configuration that concern own paths.
    pub fn new(
        issuers: Arc<Issuers>,
        answers: IncidentQuestions,
        letters: RequestedLetters,
        config: &Config,
    ) -> Self {
        let page_of = |own| {
            let is_page = |entry: &&OwnPathEntry| {
                entry.own == own && entry.shape == Shape::SimpleJwt && entry.path.is_literal()
            };
            config.paths.iter().find(is_page).map(|entry| entry.path.to_string())
        };
        Self {
            cookie: SessionCookie::new(&config.session, issuers.sessions().cookie_names().clone()),
            issuers,
            issued_cookies: config
                .issuers
                .iter()
                .filter_map(|one| {
                    let (issuer, domain) = (IssuerName::new(&one.name), one.cookie_domain.clone());
                    one.cookie().map(|name| IssuedCookie { issuer, name: name.into(), domain })
                })
                .collect(),
            challenges: config
                .issuers
                .iter()
                .any(|one| matches!(one.kind, IssuerKind::Basic { challenge: true, .. })),
            issues: config.login.token_delivery,
            title: config.login.title.clone(),
            links: config.login.links.clone(),
            trusted_origins: config.session.trusted_origins.clone(),
            login_path: match (config.sign_in.mode, &config.sign_in.login_path) {
                (_, Some(path)) => Some(path.to_string()),
                (SignInMode::Replace, None) => page_of(OwnPath::Login),
                (SignInMode::Follow, None) => None,
            },
            second_factor_path: page_of(OwnPath::SecondFactor),
            factors_path: page_of(OwnPath::Factors),
            factors_script_path: page_of(OwnPath::FactorsScript),
            passkey_path: page_of(OwnPath::Passkey),
            passkey_script: page_of(OwnPath::PasskeyScript),
            account: AccountPaths {
                page: page_of(OwnPath::Account),
                sessions: page_of(OwnPath::AccountSessions),
                devices: page_of(OwnPath::AccountDevices),
                password: page_of(OwnPath::AccountPassword),
                settings: config.account.clone(),
            },
            tokens_path: page_of(OwnPath::PersonalTokens),
            sign_out_path: page_of(OwnPath::Logout),
            sent_back: SentBack::new(),
            cors: CorsPolicy::new(&config.cors),
            incidents: Incidents::new(answers, config),
            mailing: LinkMailing::new(letters.links, config, page_of(OwnPath::MailedLink)),
            code_mailing: CodeMailing::new(letters.codes, config),
            has_warned_of_plain_http: AtomicBool::new(false),
        }
    }

    /// Answers a request to an own path.
    pub async fn serve(&self, own: &OwnPathEntry, arrival: &Arrival, body: Bytes) -> Served {
        let methods = methods(own);
        if arrival.preflight().is_some() {
            return Served::reply(self.cors.preflight(arrival, methods));
        }
        let mut served = match own.own {
            _ if !methods.contains(&arrival.method) => {
                Served::refused(wrong_method(&arrival.method, methods), &arrival.request_id)
            }
            OwnPath::Login | OwnPath::Logout | OwnPath::Refresh
                if own.shape != Shape::SimpleJwt =>
            {
                self.alias(own, arrival, &body).await
            }
            OwnPath::Login if arrival.method == Method::POST => {
                self.login(own, arrival, &body).await
            }
            OwnPath::Login => self.login_page(own, arrival).await,
            OwnPath::Logout if arrival.method != Method::POST => {
                self.logout_page(LogoutScope::Session, arrival).await
            }
            OwnPath::LogoutAll if arrival.method != Method::POST => {
                self.logout_page(LogoutScope::User, arrival).await
            }
            OwnPath::Logout => self.logout(LogoutScope::Session, arrival, &body).await,
            OwnPath::LogoutAll => self.logout(LogoutScope::User, arrival, &body).await,
            OwnPath::Refresh => Served::of(self.refresh(own, arrival, &body).await, arrival),
            OwnPath::Verify => Served::of(self.verify(arrival, &body).await, arrival),
            OwnPath::Blacklist => Served::of(self.blacklist(arrival, &body).await, arrival),
            OwnPath::Session => Served::of(self.session(arrival).await, arrival),
            OwnPath::Jwks => Served::reply(self.jwks()),
            OwnPath::Incident => self.incident(arrival, &body).await,
            OwnPath::SecondFactor => self.second_factor(own, arrival, &body).await,
            OwnPath::Factors => self.factors(arrival, &body).await,
            OwnPath::FactorsScript => Served::reply(recovery_codes::script()),
            OwnPath::Account => self.account(arrival).await,
            OwnPath::AccountSessions => self.account_sessions(arrival, &body).await,
            OwnPath::AccountActivity => self.account_activity(arrival).await,
            OwnPath::AccountDevices => self.account_devices(arrival, &body).await,
            OwnPath::AccountPassword => self.account_password(arrival, &body).await,
            OwnPath::PersonalTokens => self.personal_tokens(arrival, &body).await,
            OwnPath::Passkey => self.sign_in_by_passkey(own, arrival, &body).await,
            OwnPath::PasskeyScript => Served::reply(passkey_script::reply()),
            OwnPath::MailedLink => self.mailed_link(arrival, &body).await,
        };
        // Otherwise a browser with an unreadable cookie would be refused for ever.
        if served.refusal == Some(Refusal::BadCookie)
            && !served.reply.headers.contains_key(SET_COOKIE)
        {
            served.reply = self.remove_cookies(arrival, served.reply);
        }
        match served.refusal.filter(|_| own.is_alias) {
            Some(refusal) => {
                let reply = refused::in_the_services_words(served.reply, refusal);
                Served { reply, refusal: served.refusal }
            }
            None => served,
        }
    }

    /// Returns the reply, which removes the session cookie of this proof.
    fn remove_cookie(&self, proof: Proof, arrival: &Arrival, reply: Reply) -> Reply {
        match proof {
            Proof::SessionCookie => self.cookie.remove_brought(reply, arrival),
            Proof::IssuedCookie(issuer) => {
                let mut cookies = self.issued_cookies.iter();
                match cookies.find(|cookie| cookie.issuer == issuer) {
                    Some(cookie) => self.removed(reply, cookie),
                    None => reply,
                }
            }
            Proof::AccessToken | Proof::PersonalToken | Proof::Issued(_) | Proof::Password(_) => {
                reply
            }
        }
    }

    /// Returns the reply, which removes the gateway's session cookie, and of the others those that the request brought.
    fn remove_cookies(&self, arrival: &Arrival, reply: Reply) -> Reply {
        let reply = match self.cookie.is_brought(arrival) {
            true => reply,
            false => self.cookie.remove(reply),
        };
        self.remove_brought_cookies(arrival, reply)
    }

    /// Returns the reply, which removes each session cookie that the request brought, the gateway's or an issuer's.
    fn remove_brought_cookies(&self, arrival: &Arrival, mut reply: Reply) -> Reply {
        reply = self.cookie.remove_brought(reply, arrival);
        let mut removed: Vec<&str> = self.cookie.brought(arrival).collect();
        for cookie in &self.issued_cookies {
            let is_there = cookie::read(&arrival.headers, &cookie.name) != CookieValue::Absent;
            if is_there && !removed.contains(&&*cookie.name) {
                reply = self.removed(reply, cookie);
                removed.push(&cookie.name);
            }
        }
        reply
    }

    /// Returns the reply, which removes an issuer's cookie. A browser may have one for this host and one for the domain, if the
    /// service's setting was changed.
    fn removed(&self, reply: Reply, cookie: &IssuedCookie) -> Reply {
        let reply = self.cookie.removed(reply, &cookie.name);
        match &cookie.domain {
            Some(domain) => self.cookie.removed_from(reply, &cookie.name, domain),
            None => reply,
        }
    }

    /// Returns each `Set-Cookie` that removes a session cookie that a request brought.
    pub fn cookie_removals(&self, arrival: &Arrival) -> Vec<HeaderValue> {
        self.cookie.removals(arrival)
    }

    /// Returns the answer to `OPTIONS *` (RFC 9110 section 9.3.7): the methods that the gateway as a whole accepts.
    pub fn about_the_server(&self) -> Reply {
        let reply = Reply::empty(StatusCode::NO_CONTENT);
        match names(&Methods::USUAL) {
            Some(methods) => reply.with_header(ALLOW, methods),
            None => reply,
        }
    }

    /// Returns what front ends on other origins may do.
    pub const fn cors(&self) -> &CorsPolicy {
        &self.cors
    }
}

impl Served {
    const fn reply(reply: Reply) -> Self {
        Self { reply, refusal: None }
    }

    fn refused(refused: Refused, request_id: &str) -> Self {
        Self { refusal: Some(refused.refusal), reply: refused.reply(request_id) }
    }

    fn of(result: Result<Reply, Refused>, arrival: &Arrival) -> Self {
        match result {
            Ok(reply) => Self::reply(reply),
            Err(refused) => Self::refused(refused, &arrival.request_id),
        }
    }
}

/// Returns the methods that an own path accepts. Aliases in another shape have no pages to sign in and out.
const fn methods(own: &OwnPathEntry) -> &'static [Method] {
    match own.own {
        OwnPath::Login | OwnPath::Logout if !matches!(own.shape, Shape::SimpleJwt) => {
            &[Method::POST]
        }
        OwnPath::Login
        | OwnPath::Logout
        | OwnPath::LogoutAll
        | OwnPath::Incident
        | OwnPath::MailedLink
        | OwnPath::SecondFactor
        | OwnPath::Factors
        | OwnPath::AccountSessions
        | OwnPath::AccountDevices
        | OwnPath::AccountPassword
        | OwnPath::PersonalTokens => &[Method::GET, Method::HEAD, Method::POST],
        OwnPath::Refresh | OwnPath::Verify | OwnPath::Blacklist | OwnPath::Passkey => {
            &[Method::POST]
        }
        OwnPath::Session
        | OwnPath::Jwks
        | OwnPath::FactorsScript
        | OwnPath::PasskeyScript
        | OwnPath::Account
        | OwnPath::AccountActivity => &[Method::GET, Method::HEAD],
    }
}

fn wrong_method(method: &Method, allowed: &[Method]) -> Refused {
    Refused {
        allow: names(allowed),
        ..Refused::with_detail(
            Refusal::MethodNotAllowed,
            format!("Method \"{method}\" not allowed."),
        )
    }
}

/// Returns methods as the value of a header.
fn names(methods: &[Method]) -> Option<HeaderValue> {
    let names: Vec<_> = methods.iter().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", ")).ok()
}
