//! `POST` and `GET /login/mailed-link`: a link that is mailed to a user who is to be let in, and the page that it leads to.
//!
//! | a request | does |
//! |---|---|
//! | `POST` with `username` | asks for a link, where unknown browsers have to wait because others guess at that account |
//! | `POST` with `ticket` | asks for a link, where a first second factor is due and takes more than the password |
//! | `GET ?token=` | shows a page with one button, and changes nothing: programs that check for harmful links open every one |
//! | `POST` with `token` | lets this browser in: for ten minutes it may try the password, and set up the first factor |
//!
//! **A request reveals nothing**: not whether there is such an account, whether it has an address, or whether a mail is sent.
//! The answer is the same, and no user is looked up for it (`notify::links`). Too many requests of a client are refused as
//! such, whatever it asks for. While the store cannot count, nobody may request or open a link (503).
//!
//! **The browser that asked** has a cookie of its own for it; elsewhere the link does nothing and is not used up. So a person
//! who is talked into opening a link that somebody else asked for lets nobody in. A program stores that cookie like any other.
//!
//! The link signs nobody in. What it grants is described at the head of `session::mailed_link`.
//!
//! **Where the user wanted to go** (`next`) is stored with the request and with the link, and not in the mail, where others
//! could read or change it. It is checked when it is stored, and again when the page leads back to the login page.

use askama::Template;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::login::next_of_form;
use super::mailed_link_texts::LinkTexts;
use super::refused::Refused;
use super::second_factor::text;
use super::texts::Texts;
use super::{Endpoints, Served, input, navigation, page};
use crate::caller::UserKey;
use crate::config::Config;
use crate::event::{EventKind, MailedLinkEvent};
use crate::notify::{LinkAsked, MailedLink, MailedLinks, hash_text};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::lockout::folded;
use crate::session::mailed_link::{ADMISSION, LinkOwner};
use crate::session::{PendingStep, SignInTicket, store_failed};
use crate::store::StoreError;
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::body::{FieldProblem, Fields};
use crate::wire::next::Next;
use crate::wire::reply::Reply;

/// The longest name in a request for a link, in bytes.
const LONGEST: usize = 1024;

/// The longest `next` that is stored with a request; as long as a target can be unless the configuration says otherwise.
const LONGEST_NEXT: usize = 8 * 1024;

/// What the pages need besides the store.
pub(super) struct LinkMailing {
    links: MailedLinks,
    /// The most requests for links that wait.
    bound: u32,
    /// Where a link is requested; `None` if none are mailed.
    path: Option<String>,
}

/// The offer of a mailed link on a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkOffer<'a> {
    /// Where the link is requested.
    pub(super) path: &'a str,
    /// The texts in the language of the page.
    pub(super) texts: &'static LinkTexts,
}

#[derive(Template)]
#[template(path = "mailed_link.html")]
struct LinkTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static LinkTexts,
    service: &'a str,
    heading: &'static str,
    message: &'static str,
    form: Option<LinkForm<'a>>,
    /// Where the user signs in.
    login: Option<&'a str>,
}

struct LinkForm<'a> {
    account: &'a str,
    action: &'a str,
    token: &'a str,
}

/// A link that was presented, and the user that it belongs to.
struct PresentedLink {
    link: MailedLink,
    user: UserKey,
}

impl LinkMailing {
    pub(super) fn new(links: MailedLinks, config: &Config, path: Option<String>) -> Self {
        let path = path.filter(|_| config.notify.mail.is_some());
        Self { links, bound: config.notify.queue, path }
    }
}

impl<'a> LinkOffer<'a> {
    pub(super) fn to(path: &'a str, language: Language) -> Self {
        Self { path, texts: LinkTexts::of(language) }
    }
}

impl Endpoints {
    /// Returns the offer to a user who was not let in; `None` where a link would not help.
    pub(super) async fn link_offer<'a>(
        &'a self,
        refused: &Refused,
        username: &str,
        arrival: &Arrival,
    ) -> Option<LinkOffer<'a>> {
        let is_due = |ticket: &SignInTicket| {
            matches!(ticket.due, PendingStep::Enrolment { takes_invitation: true })
        };
        let sessions = self.issuers.sessions();
        let helps = refused.ticket.as_deref().is_some_and(is_due)
            || (refused.refusal == Refusal::TooManyAttempts
                && sessions.mailed_links().holds_back_strangers(username, arrival.at).await
                    == Ok(true));
        self.link_for_enrolment(helps, arrival)
    }

    /// Returns the offer where a first factor is due, if it takes more than the password.
    pub(super) fn link_for_enrolment(
        &self,
        takes_more: bool,
        arrival: &Arrival,
    ) -> Option<LinkOffer<'_>> {
        let path = self.mailing.path.as_deref().filter(|_| takes_more)?;
        Some(LinkOffer::to(path, Language::negotiate(&arrival.headers)))
    }

    /// Answers all methods.
    pub(super) async fn mailed_link(&self, arrival: &Arrival, body: &Bytes) -> Served {
        let answered = match arrival.method {
            Method::POST => self.link_posted(arrival, body).await,
            _ => self.link_shown(arrival).await,
        };
        let wants_page = arrival.method != Method::POST || input::is_page_form(arrival);
        let refused = match answered {
            Ok(reply) => return Served::reply(reply),
            Err(refused) => refused,
        };
        if !wants_page {
            return Served::refused(refused, &arrival.request_id);
        }
        let language = Language::negotiate(&arrival.headers);
        let own = LinkTexts::of(language);
        let (heading, message, login) = match refused.refusal {
            Refusal::LinkNotValid => {
                (own.gone_heading, own.gone_message, self.login_path.as_deref())
            }
            Refusal::LinkOfOtherBrowser => (own.other_heading, own.other_message, None),
            _ => {
                let reply = page::of_refusal(&refused, &arrival.request_id, language, None);
                return Served { reply, refusal: Some(refused.refusal) };
            }
        };
        let reply = self.link_page(language, (heading, message), None, login);
        let reply = Reply { status: refused.refusal.status(), ..reply };
        Served { reply, refusal: Some(refused.refusal) }
    }

    async fn link_posted(&self, arrival: &Arrival, body: &Bytes) -> Result<Reply, Refused> {
        if !self.may_set_cookie(arrival) {
            return Err(Refusal::CrossSite.into());
        }
        let fields = self.login_fields(arrival, body)?;
        match text(&fields, "token").map(Secret::new) {
            Some(token) => self.open_link(arrival, &token).await,
            None => self.ask_for_link(arrival, &fields).await,
        }
    }

    async fn ask_for_link(&self, arrival: &Arrival, fields: &Fields) -> Result<Reply, Refused> {
        let (ticket, name) = (text(fields, "ticket").map(Secret::new), text(fields, "username"));
        if ticket.is_none() && name.is_none() {
            return Err(Refused::field("username", FieldProblem::Required));
        }
        let client = arrival.client_ip();
        self.mailing.links.admit_asking(client, arrival.at).await?;
        let sessions = self.issuers.sessions();
        let brought = sessions.cookie_names().link_of(&arrival.headers);
        let cookie = match brought {
            // A second mail must not invalidate the first link.
            Some(cookie) => cookie,
            None => Secret::random().map_err(|_| Refusal::Internal)?,
        };
        let (user, account) = match &ticket {
            Some(ticket) => {
                let found = sessions.mailed_links().enrolling(ticket, &arrival.context()).await?;
                (Some(found.0), found.1)
            }
            None => (None, folded(name.unwrap_or_default()).into()),
        };
        let name = name.unwrap_or_default();
        let fits = name.len() <= LONGEST && !name.chars().any(char::is_control);
        let helps = user.is_some()
            || sessions.mailed_links().holds_back_strangers(&account, arrival.at).await?;
        let is_asked = self.mailing.path.is_some() && fits && helps && {
            let asked = LinkAsked {
                name: name.to_owned(),
                is_typed: input::is_page_form(arrival),
                user: user.as_ref().map(crate::notify::Person::of),
                account: account.to_string(),
                browser: hash_text(&cookie.digest()),
                client,
                agent: arrival.context().agent.chars().take(256).collect(),
                at: arrival.at.as_millis(),
                next: kept_next(fields),
            };
            self.mailing.links.ask(asked, self.mailing.bound).await.map_err(failed)?
        };
        let what = if is_asked { MailedLinkEvent::Asked } else { MailedLinkEvent::Withheld };
        if fits {
            arrival.note(EventKind::MailedLink { account, user, what });
        }
        let language = Language::negotiate(&arrival.headers);
        let own = LinkTexts::of(language);
        let reply = match input::is_page_form(arrival) {
            true => self.link_page(language, (own.asked_heading, own.asked_message), None, None),
            false => told(StatusCode::ACCEPTED, LinkTexts::of(Language::English).asked_message),
        };
        Ok(self.cookie.set_link(reply, &cookie))
    }

    /// Returns the page that a link leads to. It changes nothing.
    async fn link_shown(&self, arrival: &Arrival) -> Result<Reply, Refused> {
        let query = arrival.target.query().unwrap_or_default();
        let mut all = form_urlencoded::parse(query.as_bytes());
        let token = all.find(|(key, _)| key == "token").map(|(_, value)| value.into_owned());
        let token = Secret::new(token.unwrap_or_default());
        let presented = self.presented(arrival, &token).await?;
        let language = Language::negotiate(&arrival.headers);
        let own = LinkTexts::of(language);
        let form = LinkForm {
            account: &presented.link.account,
            action: arrival.target.path().as_str(),
            token: token.expose(),
        };
        Ok(self.link_page(language, (own.open_heading, own.open_message), Some(form), None))
    }

    async fn open_link(&self, arrival: &Arrival, token: &Secret) -> Result<Reply, Refused> {
        let presented = self.looked_up(arrival, token).await?;
        let PresentedLink { link, user } = &presented;
        let note = |what| {
            let (account, user) = (link.account.as_str().into(), Some(user.clone()));
            arrival.note(EventKind::MailedLink { account, user, what });
        };
        if !self.is_here(arrival, link) {
            note(MailedLinkEvent::OtherBrowser);
            return Err(Refusal::LinkOfOtherBrowser.into());
        }
        let (sessions, at) = (self.issuers.sessions(), arrival.at);
        let owner = LinkOwner {
            user,
            account: &link.account,
            password_mark: link.password_mark().ok_or(Refusal::Internal)?,
            asked_at: crate::clock::Timestamp::from_millis(link.asked_at),
        };
        let is_good = sessions.mailed_links().is_good(owner).await?;
        // Of parallel uses, only one succeeds.
        let is_first = self.mailing.links.spend(token, at).await.map_err(failed)?;
        if !is_good || !is_first {
            note(MailedLinkEvent::Void);
            return Err(Refusal::LinkNotValid.into());
        }
        let device = sessions.cookie_names().device_of(&arrival.headers);
        let device = sessions.mailed_links().admit(device, owner, at)?;
        note(MailedLinkEvent::Opened);
        let language = Language::negotiate(&arrival.headers);
        let own = LinkTexts::of(language);
        let next = link.next.as_deref();
        let login = self.login_path.as_deref().map(|login| navigation::login_to(login, next));
        let said = (own.opened_heading, own.opened_message);
        let reply = match input::is_page_form(arrival) {
            true => self.link_page(language, said, None, login.as_deref()),
            false => {
                let works = json!(ADMISSION.as_secs());
                let said = LinkTexts::of(Language::English).opened_message;
                Reply::json(StatusCode::OK, &json!({"detail": said, "works_for_seconds": works}))
            }
        };
        Ok(self.cookie.set_device(self.cookie.remove_link(reply), Some(&device)))
    }

    /// Returns the link, if it was requested in this browser.
    async fn presented(&self, arrival: &Arrival, token: &Secret) -> Result<PresentedLink, Refused> {
        let presented = self.looked_up(arrival, token).await?;
        match self.is_here(arrival, &presented.link) {
            true => Ok(presented),
            false => Err(Refusal::LinkOfOtherBrowser.into()),
        }
    }

    async fn looked_up(&self, arrival: &Arrival, token: &Secret) -> Result<PresentedLink, Refused> {
        let (links, client) = (&self.mailing.links, arrival.client_ip());
        links.admit(client, arrival.at).await?;
        let Some(link) = links.look(token, arrival.at).await.map_err(failed)? else {
            links.note_wrong(client, arrival.at).await.map_err(store_failed)?;
            return Err(Refusal::LinkNotValid.into());
        };
        let user = link.user.key();
        Ok(PresentedLink { link, user })
    }

    fn is_here(&self, arrival: &Arrival, link: &MailedLink) -> bool {
        let cookie = self.issuers.sessions().cookie_names().link_of(&arrival.headers);
        cookie.is_some_and(|cookie| link.is_of_browser(&cookie))
    }

    fn link_page(
        &self,
        language: Language,
        (heading, message): (&'static str, &'static str),
        form: Option<LinkForm<'_>>,
        login: Option<&str>,
    ) -> Reply {
        page::reply(&LinkTemplate {
            css: page::CSS,
            texts: Texts::of(language),
            own: LinkTexts::of(language),
            service: &self.title,
            heading,
            message,
            form,
            login,
        })
    }
}

/// Returns where the user wanted to go; `None` for the start page, where a sign-in leads anyway.
fn kept_next(fields: &Fields) -> Option<String> {
    let next = next_of_form(fields);
    let is_kept = next != Next::default() && next.as_str().len() <= LONGEST_NEXT;
    is_kept.then(|| next.as_str().to_owned())
}

fn told(status: StatusCode, text: &str) -> Reply {
    Reply::json(status, &json!({"detail": Value::from(text)}))
}

fn failed(_: StoreError) -> Refusal {
    Refusal::StoreUnavailable
}
