//! `GET` and `POST /incident`: a user answers a mail about an incident (`notify::mail`).
//!
//! The link in the mail is the proof: its token has 256 random bits and works once. A GET shows what happened and asks;
//! it changes nothing, because programs that check mail for harmful links open every one. The POST acts. "This was not me"
//! ends every session of the user, and with them every refresh token, and forgets the browsers that the account knows,
//! before the question counts as answered: if the store fails, the link still works. "This was me" is only reported.
//!
//! Links that are invalid or were used are counted by address: above a limit each gets 429, until some minutes have passed. While
//! they cannot be counted, every link gets 503.
//!
//! The answer signs nobody in, and says nothing that the mail did not say. The page has no link to another site while its
//! URL contains the token.

use askama::Template;
use bytes::Bytes;
use http::{Method, StatusCode};

use super::refused::Refused;
use super::texts::Texts;
use super::{Endpoints, Served, input, page};
use crate::config::Config;
use crate::event::{EndReason, EventKind};
use crate::notify::{IncidentQuestions, IncidentReply, IncidentText, Question, describe};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::store_failed;
use crate::store::{SessionSelection, StoreError};
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::reply::Reply;

/// The longest token, in bytes.
const LONGEST_TOKEN: usize = 64;

/// What the page needs besides the question.
pub(super) struct Incidents {
    pub(super) answers: IncidentQuestions,
    /// Where users change their password.
    pub(super) password_change_url: Option<String>,
    /// The time zone of the times on the page.
    pub(super) time_zone: String,
}

impl Incidents {
    pub(super) fn new(answers: IncidentQuestions, config: &Config) -> Self {
        let mail = config.notify.mail.as_ref();
        Self {
            answers,
            password_change_url: mail.and_then(|mail| mail.password_change_url.clone()),
            time_zone: mail.map_or_else(|| "UTC".to_owned(), |mail| mail.time_zone.clone()),
        }
    }
}

#[derive(Template)]
#[template(path = "incident.html")]
struct IncidentTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    service: &'a str,
    heading: &'static str,
    message: String,
    asked: Option<IncidentForm<'a>>,
    link: Option<&'a str>,
}

/// The question, and the form that answers it.
struct IncidentForm<'a> {
    account: &'a str,
    described: IncidentText,
    action: &'a str,
    token: &'a str,
    answer: &'static str,
    button: &'static str,
    other_link: String,
    other_button: &'static str,
}

/// The answer to whether it was the user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum IncidentAnswer {
    Me,
    NotMe,
}

impl IncidentAnswer {
    fn parse(text: &str) -> Option<Self> {
        [Self::Me, Self::NotMe].into_iter().find(|answer| answer.name() == text)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Me => "me",
            Self::NotMe => "not-me",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Me => Self::NotMe,
            Self::NotMe => Self::Me,
        }
    }

    const fn button(self, texts: &'static Texts) -> &'static str {
        match self {
            Self::Me => texts.this_was_me,
            Self::NotMe => texts.this_was_not_me,
        }
    }
}

impl Endpoints {
    /// Answers `GET /incident?answer=not-me&token=...`, and the form of its page.
    pub(super) async fn incident(&self, arrival: &Arrival, body: &Bytes) -> Served {
        let language = Language::negotiate(&arrival.headers);
        let answered = match arrival.method {
            Method::POST => self.answer(arrival, body, language).await,
            _ => self.ask(arrival, language).await,
        };
        answered.unwrap_or_else(|refused| {
            let reply = page::of_refusal(&refused, &arrival.request_id, language, None);
            Served { reply, refusal: Some(refused.refusal) }
        })
    }

    async fn ask(&self, arrival: &Arrival, language: Language) -> Result<Served, Refused> {
        let query = arrival.target.query().unwrap_or_default();
        let parameter = |name: &str| {
            let mut all = form_urlencoded::parse(query.as_bytes());
            all.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let token = Secret::new(parameter("token").unwrap_or_default());
        let Some(question) = self.question(&token, arrival).await? else {
            return Ok(self.works_no_more(language));
        };
        let answer = parameter("answer").and_then(|text| IncidentAnswer::parse(&text));
        let answer = answer.unwrap_or(IncidentAnswer::NotMe);
        let (texts, action) = (Texts::of(language), arrival.target.path().as_str());
        let (heading, message) = match answer {
            IncidentAnswer::NotMe => (texts.not_me_heading, texts.not_me_means),
            IncidentAnswer::Me => (texts.me_heading, texts.me_means),
        };
        let other = answer.other();
        let asked = IncidentForm {
            account: &question.account,
            described: describe(&question.incident, &self.incidents.time_zone, language),
            action,
            token: token.expose(),
            answer: answer.name(),
            button: answer.button(texts),
            other_link: format!("{action}?answer={}&token={}", other.name(), token.expose()),
            other_button: other.button(texts),
        };
        Ok(Served::reply(self.incident_page(texts, heading, message.to_owned(), Some(asked), None)))
    }

    async fn answer(
        &self,
        arrival: &Arrival,
        body: &Bytes,
        language: Language,
    ) -> Result<Served, Refused> {
        input::same_site(arrival, &self.trusted_origins)?;
        let fields = input::fields(arrival, body)?;
        let text = |name| fields.text(name).map_err(|problem| Refused::field(name, problem));
        let token = Secret::new(text("token")?);
        let answer = IncidentAnswer::parse(text("answer")?).ok_or(Refusal::BadBody)?;
        let Some(question) = self.question(&token, arrival).await? else {
            return Ok(self.works_no_more(language));
        };
        let user = question.incident.user_key().ok_or(Refusal::Internal)?;
        let ended = match answer {
            IncidentAnswer::NotMe => {
                let which = SessionSelection::User(user.clone());
                let sessions = self.issuers.sessions();
                let ended =
                    sessions.end(&which, EndReason::NotMe, arrival.at, &arrival.events).await?;
                // The other person may have left a browser that the account knows, or may be about to use a mailed link.
                sessions.own_account().forget_devices(&user, arrival.at, &arrival.events).await?;
                ended
            }
            IncidentAnswer::Me => 0,
        };
        let was_me = answer == IncidentAnswer::Me;
        let answered = IncidentReply {
            incident: question.incident.clone(),
            was_me,
            ended: ended as u64,
            at: arrival.at.as_millis(),
        };
        let is_first = self.incidents.answers.take(&token, answered).await.map_err(failed)?;
        if is_first {
            let (detector, ended) = (question.incident.detector.into(), ended as u64);
            arrival.note(EventKind::IncidentAnswered { user, detector, was_me, ended });
        }
        let texts = Texts::of(language);
        let (heading, message, link) = match answer {
            IncidentAnswer::NotMe => {
                let link = self.incidents.password_change_url.as_deref();
                (texts.signed_out_everywhere, (texts.sessions_ended)(ended), link)
            }
            IncidentAnswer::Me => (texts.thank_you, texts.nothing_changed.to_owned(), None),
        };
        Ok(Served::reply(self.incident_page(texts, heading, message, None, link)))
    }

    async fn question(
        &self,
        token: &Secret,
        arrival: &Arrival,
    ) -> Result<Option<Question>, Refused> {
        let (answers, client) = (&self.incidents.answers, arrival.client_ip());
        answers.admit(client, arrival.at).await?;
        let is_one = !token.expose().is_empty() && token.expose().len() <= LONGEST_TOKEN;
        let question = match is_one {
            true => answers.question(token, arrival.at).await.map_err(failed)?,
            false => None,
        };
        if question.is_none() {
            answers.note_wrong(client, arrival.at).await.map_err(store_failed)?;
        }
        Ok(question)
    }

    /// Returns the same page for a link that never worked and for a used one, so that it does not reveal which it is.
    fn works_no_more(&self, language: Language) -> Served {
        let texts = Texts::of(language);
        let (heading, message) = (texts.link_gone_heading, texts.link_gone.to_owned());
        let mut reply = self.incident_page(texts, heading, message, None, None);
        reply.status = StatusCode::GONE;
        Served::reply(reply)
    }

    fn incident_page(
        &self,
        texts: &'static Texts,
        heading: &'static str,
        message: String,
        asked: Option<IncidentForm<'_>>,
        link: Option<&str>,
    ) -> Reply {
        let service = self.title.as_str();
        let css = page::CSS;
        page::reply(&IncidentTemplate { css, texts, service, heading, message, asked, link })
    }
}

fn failed(_: StoreError) -> Refusal {
    Refusal::StoreUnavailable
}
