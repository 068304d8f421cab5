//! `/account/password`: users change their own password, if their directory supports it.
//!
//! | request | does |
//! |---|---|
//! | `GET /account/password` | the form; a program gets whether the password can be changed here, and the rules |
//! | `POST` with `current_password`, `new_password` | changes it; a form gives the new one twice, in `new_password_again` |
//!
//! No answer contains either password.

use askama::Template;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::account::AccountOwner;
use super::account_page::PageSection;
use super::account_texts::AccountTexts;
use super::page::{self, CSS};
use super::refused::Refused;
use super::texts::Texts;
use super::{Endpoints, Served, input};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::change_password::{NotChanged, PasswordChange, PasswordFault};
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::body::Fields;
use crate::wire::reply::Reply;

#[derive(Template)]
#[template(path = "account_password.html")]
struct PasswordTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static AccountTexts,
    service: &'a str,
    /// The user name for which the browser stores the password.
    name: &'a str,
    action: &'a str,
    back: &'a str,
    min_length: usize,
    problem: Option<String>,
    request_id: &'a str,
}

impl Endpoints {
    /// Answers `GET` and `POST /account/password`.
    pub(super) async fn account_password(&self, arrival: &Arrival, body: &Bytes) -> Served {
        let is_post = arrival.method == Method::POST;
        let wants_page = input::wants_page(arrival);
        let made = match self.account_owner(arrival).await {
            Ok(owner) if is_post => {
                let changed = self.change_own_password(arrival, body, &owner, wants_page).await;
                match changed {
                    Err(refused) if wants_page && stays(&refused) => {
                        let reply = self.password_page(arrival, &owner, Some(&refused));
                        return Served { reply, refusal: Some(refused.refusal) };
                    }
                    changed => changed,
                }
            }
            Ok(owner) if wants_page => self.show_password_form(arrival, &owner).await,
            Ok(owner) => Ok(Reply::json(StatusCode::OK, &self.password_rules(&owner))),
            Err(refused) => Err(refused),
        };
        self.account_answer(arrival, wants_page, made)
    }

    /// Whether this user can change the password here.
    pub(super) fn changes_password(&self, owner: &AccountOwner) -> bool {
        self.account.settings.change_password
            && self.account.password.is_some()
            && self.issuers.sessions().own_password().is_changeable(&owner.user)
    }

    /// Describes for programs where the password is changed, and by which rules.
    pub(super) fn password_rules(&self, owner: &AccountOwner) -> Value {
        let settings = &self.account.settings;
        let here = self.changes_password(owner);
        json!({
            "change": if here {
                "here"
            } else if settings.password_change_url.is_some() {
                "elsewhere"
            } else {
                "nowhere"
            },
            "url": settings.password_change_url.as_deref().filter(|_| !here),
            "min_length": here.then_some(settings.password_min_length),
        })
    }

    /// Shows the form. Users who confirm with a code are asked for it before they fill in the form.
    async fn show_password_form(
        &self,
        arrival: &Arrival,
        owner: &AccountOwner,
    ) -> Result<Reply, Refused> {
        if !self.changes_password(owner) {
            return Err(Refusal::NotOnAccount.into());
        }
        let sessions = self.issuers.sessions();
        if sessions.step_up().confirms_by_code(&owner.session, arrival.at).await? {
            sessions.step_up().is_fresh(&owner.session, arrival.at).await?;
        }
        Ok(self.password_page(arrival, owner, None))
    }

    fn password_page(
        &self,
        arrival: &Arrival,
        owner: &AccountOwner,
        problem: Option<&Refused>,
    ) -> Reply {
        let language = Language::negotiate(&arrival.headers);
        let (texts, own) = (Texts::of(language), AccountTexts::of(language));
        let identity = owner.session.identity.load_full();
        let min_length = self.account.settings.password_min_length;
        let template = PasswordTemplate {
            css: CSS,
            texts,
            own,
            service: &self.title,
            name: &identity.name,
            action: arrival.target.path().as_str(),
            back: self.account.page.as_deref().unwrap_or("/"),
            min_length,
            problem: problem.map(|refused| in_words(refused, texts, own, min_length)),
            request_id: &arrival.request_id,
        };
        match problem {
            Some(refused) => page::page(refused.clone().reply(&arrival.request_id), &template),
            None => page::reply(&template),
        }
    }

    async fn change_own_password(
        &self,
        arrival: &Arrival,
        body: &Bytes,
        owner: &AccountOwner,
        wants_page: bool,
    ) -> Result<Reply, Refused> {
        self.is_from_here(arrival, owner.proof)?;
        if !self.changes_password(owner) {
            return Err(Refusal::NotOnAccount.into());
        }
        let fields = input::fields(arrival, body)?;
        let (current, new) = (field(&fields, "current_password")?, field(&fields, "new_password")?);
        if fields.is_form() && new != field(&fields, "new_password_again")? {
            return Err(not_allowed("differs"));
        }
        let sessions = self.issuers.sessions();
        let change = PasswordChange {
            current: &current,
            new: &new,
            min_length: self.account.settings.password_min_length,
            device: sessions.cookie_names().device_of(&arrival.headers),
        };
        let context = &arrival.context();
        let changed = match sessions.own_password().change(&owner.session, change, context).await {
            Ok(changed) => changed,
            Err(NotChanged::Fault(fault)) => return Err(not_allowed(fault.name())),
            Err(NotChanged::Refused(refused)) => return Err(refused.into()),
        };
        let reply = match wants_page {
            true => self.back_to_account(PageSection::PasswordChanged),
            false => Reply::json(StatusCode::OK, &json!({"ended": changed.ended})),
        };
        // As after a sign-in, a page of another site must not decide in which browser the user is known.
        Ok(match self.may_set_cookie(arrival) {
            true => self.cookie.set_device(reply, changed.device.as_ref()),
            false => reply,
        })
    }
}

/// Returns a password byte for byte, as everywhere.
fn field(fields: &Fields, name: &str) -> Result<Secret, Refused> {
    fields.text(name).map(Secret::new).map_err(|problem| Refused::field(name, problem))
}

/// Refuses the new password, with a stable word for the reason.
fn not_allowed(why: &str) -> Refused {
    let members = Map::from_iter([
        ("detail".to_owned(), json!(Refusal::PasswordNotAllowed.detail())),
        ("why".to_owned(), json!(why)),
    ]);
    Refused { members, ..Refusal::PasswordNotAllowed.into() }
}

/// Whether the form is shown again, with what is wrong.
fn stays(refused: &Refused) -> bool {
    matches!(
        refused.refusal,
        Refusal::PasswordNotAllowed
            | Refusal::BadCredentials
            | Refusal::BadBody
            | Refusal::TooManyAttempts
            | Refusal::Busy
            | Refusal::DirectoryUnavailable
    )
}

fn in_words(
    refused: &Refused,
    texts: &'static Texts,
    own: &'static AccountTexts,
    min_length: usize,
) -> String {
    let why = refused.members.get("why").and_then(Value::as_str).unwrap_or_default();
    let is = |fault: PasswordFault| fault.name() == why;
    let text = match refused.refusal {
        Refusal::PasswordNotAllowed if is(PasswordFault::TooShort) => {
            return format!("{} ({min_length}+)", own.too_short);
        }
        Refusal::PasswordNotAllowed if is(PasswordFault::LikeName) => own.like_name,
        Refusal::PasswordNotAllowed if is(PasswordFault::Same) => own.same_password,
        Refusal::PasswordNotAllowed if is(PasswordFault::Repeats) => own.repeats,
        Refusal::PasswordNotAllowed if why == "differs" => own.differs,
        Refusal::PasswordNotAllowed => own.too_long,
        Refusal::BadCredentials => own.wrong_current,
        Refusal::BadBody => texts.missing_any,
        refusal => return texts.sign_in_problem(refusal, refused.retry_after),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told_in_words_of_its_language_and_by_its_code() {
        for language in [Language::English, Language::Korean] {
            let (texts, own) = (Texts::of(language), AccountTexts::of(language));
            let faults = PasswordFault::ALL.iter().map(|fault| fault.name());
            for why in faults.chain(["differs"]) {
                let refused = not_allowed(why);
                assert!(stays(&refused));
                let said = in_words(&refused, texts, own, 8);
                let is_hangul = |c: char| ('가'..='힣').contains(&c);
                assert_eq!(
                    said.chars().any(is_hangul),
                    language == Language::Korean,
                    "{why}: {said}"
                );
                let body = refused.reply("r1").body;
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(
                    (&body["code"], &body["why"]),
                    (&json!("password_not_allowed"), &json!(why))
                );
            }
        }
    }
}
