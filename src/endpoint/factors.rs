//! `/account/second-factors`: users manage their own second factors.
//!
//! A GET shows them (a page, or JSON for a program). A POST does one thing, by `action`: `begin` shows a secret, `confirm`
//! sets it up, `remove` and `rename` concern one `id`, `recovery` gives new recovery codes, `distrust` ends the trust in
//! all browsers. Each requires a proof of the last ten minutes with all that the user has: a browser is redirected to the
//! page that asks for it and back, a program gets 401 `insufficient_user_authentication` (RFC 9470). So a stolen cookie or
//! password removes nothing, and what it adds has to be proved first where a factor is required.
//!
//! A cookie's POST from another site is refused, as everywhere.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::factor_page::{EnrolPage, FactorsPage};
use super::passkey::PasskeyStep;
use super::refused::Refused;
use super::second_factor::{FIRST_NAME, described, text, with_recovery_codes};
use super::{Endpoints, Served, input, navigation, recovery_codes};
use crate::caller::UserKey;
use crate::config::FactorMode;
use crate::directory::second_factors::ServiceFactorKind;
use crate::event::{EventKind, FactorEvent, FactorRefusal};
use crate::factor::{AllFactors, Confirmed};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::store::Session;
use crate::store::factors::StoredFactors;
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::body::{FieldProblem, Fields};
use crate::wire::reply::Reply;

/// The action that a `POST` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FactorAction {
    Begin,
    Confirm,
    Remove,
    Rename,
    Recovery,
    Download,
    Distrust,
}

impl FactorAction {
    const ALL: [Self; 7] = [
        Self::Begin,
        Self::Confirm,
        Self::Remove,
        Self::Rename,
        Self::Recovery,
        Self::Download,
        Self::Distrust,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Confirm => "confirm",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::Recovery => "recovery",
            Self::Download => "download",
            Self::Distrust => "distrust",
        }
    }

    fn read(fields: &Fields) -> Result<Self, Refused> {
        input::action(fields, &Self::ALL, Self::name)
    }
}

impl Endpoints {
    /// Answers `GET` and `POST /account/second-factors`.
    pub(super) async fn factors(&self, arrival: &Arrival, body: &Bytes) -> Served {
        let is_post = arrival.method == Method::POST;
        let wants_page = input::wants_page(arrival);
        let (session, proof) = match self.session_of(arrival).await {
            Ok(found) => found,
            Err(refused) if wants_page => return self.to_login_or_refused(arrival, refused),
            Err(refused) => return Served::refused(refused, &arrival.request_id),
        };
        let from_here = if is_post { self.is_from_here(arrival, proof) } else { Ok(()) };
        let made = match is_post {
            true => match from_here {
                Ok(()) => self.change_factors(arrival, body, &session, wants_page).await,
                Err(refusal) => Err(refusal.into()),
            },
            false => self.show_factors(arrival, &session, wants_page).await,
        };
        match made {
            Ok(reply) => Served::reply(reply),
            Err(refused) if wants_page => {
                let back = self.factors_path.as_deref().unwrap_or("/");
                if let Some(reply) = self.to_confirmation(&refused, back) {
                    return Served { reply, refusal: Some(refused.refusal) };
                }
                let language = Language::negotiate(&arrival.headers);
                let reply = super::page::of_refusal(&refused, &arrival.request_id, language, None);
                Served { reply, refusal: Some(refused.refusal) }
            }
            Err(refused) => Served::refused(refused, &arrival.request_id),
        }
    }

    async fn show_factors(
        &self,
        arrival: &Arrival,
        session: &Session,
        wants_page: bool,
    ) -> Result<Reply, Refused> {
        let identity = session.identity.load_full();
        let all = self.issuers.sessions().factors().all_of(&identity.key, arrival.at).await?;
        if !wants_page {
            return Ok(Reply::json(StatusCode::OK, &all_listed(&all)));
        }
        let page = FactorsPage {
            service: &self.title,
            action: arrival.target.path().as_str(),
            name: &identity.name,
            kept: &all.own,
            at_service: &all.at_service.usable,
            can_trust: self.issuers.sessions().factors().policy().trusts_for().is_some(),
            rp_id: self.passkey_rp_id(),
            time_zone: &self.incidents.time_zone,
            language: Language::negotiate(&arrival.headers),
        };
        Ok(page.reply())
    }

    async fn change_factors(
        &self,
        arrival: &Arrival,
        body: &Bytes,
        session: &Session,
        wants_page: bool,
    ) -> Result<Reply, Refused> {
        let fields = input::fields(arrival, body)?;
        let action = FactorAction::read(&fields)?;
        if action == FactorAction::Download {
            // The answer contains only what the request sent, so it requires no proof.
            let codes = fields.trimmed("codes").map_err(|why| Refused::field("codes", why))?;
            let language = Language::negotiate(&arrival.headers);
            return recovery_codes::as_file(&self.title, codes, language)
                .ok_or_else(|| Refused::field("codes", FieldProblem::NotAString));
        }
        let sessions = self.issuers.sessions();
        let user = session.identity.load().key.clone();
        if let Err(refusal) = sessions.step_up().is_fresh(session, arrival.at).await {
            if refusal == Refusal::InsufficientAuthentication {
                let context = &arrival.context();
                sessions.second_factors().note_refused(&user, FactorRefusal::NotFresh, context);
            }
            return Err(refusal.into());
        }
        let step = PasskeyStep::read(&fields, body);
        match action {
            FactorAction::Begin if matches!(step, Some(PasskeyStep::Begin)) => {
                self.begin_passkey(arrival, session, wants_page).await
            }
            FactorAction::Begin => {
                self.begin_factor(arrival, session, wants_page, None, None).await
            }
            FactorAction::Confirm if let Some(PasskeyStep::Made(said)) = &step => {
                let fields = (&fields, said);
                self.confirm_passkey(arrival, fields, session, wants_page).await
            }
            FactorAction::Confirm => {
                self.confirm_factor(arrival, &fields, session, wants_page).await
            }
            FactorAction::Remove | FactorAction::Rename => {
                let id = text(&fields, "id").ok_or(Refusal::BadBody)?;
                let administration = sessions.factors().administration();
                let (is_made, change) = match action {
                    FactorAction::Remove => {
                        let kept = sessions.factors().of(&user).await?;
                        let mut factors = kept.factors.iter();
                        let is_passkey = factors.any(|one| one.id == id && one.passkey.is_some());
                        let change = match is_passkey {
                            true => FactorEvent::PasskeyRemoved,
                            false => FactorEvent::Removed,
                        };
                        (administration.remove(&user, id).await?, change)
                    }
                    _ => {
                        let name = text(&fields, "name").unwrap_or_default();
                        (administration.rename(&user, id, name).await?, FactorEvent::Renamed)
                    }
                };
                if !is_made {
                    return Err(Refused::field("id", FieldProblem::NotAString));
                }
                arrival.note(EventKind::FactorChanged { user: user.clone(), change });
                self.after_change(arrival, &user, wants_page).await
            }
            // Answered above.
            FactorAction::Download => Err(Refusal::Internal.into()),
            FactorAction::Distrust => {
                let context = &arrival.context();
                sessions.own_account().distrust_devices(&user, context).await?;
                self.after_change(arrival, &user, wants_page).await
            }
            FactorAction::Recovery => {
                if sessions.factors().of(&user).await?.factors.is_empty() {
                    return Err(Refusal::BadBody.into());
                }
                let codes = sessions.factors().administration().renew_recovery(&user).await?;
                let change = FactorEvent::RecoveryRenewed;
                arrival.note(EventKind::FactorChanged { user: user.clone(), change });
                self.with_codes(arrival, &user, &codes, wants_page).await
            }
        }
    }

    async fn begin_factor(
        &self,
        arrival: &Arrival,
        session: &Session,
        wants_page: bool,
        token: Option<&Secret>,
        problem: Option<&Refused>,
    ) -> Result<Reply, Refused> {
        let identity = session.identity.load_full();
        let enrolments = self.issuers.sessions().factors().enrolments();
        let (user, name) = (&identity.key, &identity.name);
        let shown = token.and_then(|token| enrolments.again(user, name, token, arrival.at));
        let enrolment = match shown {
            Some(shown) => shown,
            None => enrolments.begin(user, name, arrival.at)?,
        };
        let takes_invitation = self.takes_invitation(arrival, session).await?;
        if !wants_page {
            return Ok(Reply::json(StatusCode::OK, &described(&enrolment, takes_invitation)));
        }
        let page = EnrolPage {
            service: &self.title,
            action: arrival.target.path().as_str(),
            next: "",
            ticket: None,
            takes_invitation,
            link: None,
            enrolment: &enrolment,
            language: Language::negotiate(&arrival.headers),
        };
        Ok(page.reply(problem, &arrival.request_id))
    }

    async fn confirm_factor(
        &self,
        arrival: &Arrival,
        fields: &Fields,
        session: &Session,
        wants_page: bool,
    ) -> Result<Reply, Refused> {
        let user = session.identity.load().key.clone();
        let secret = |name| text(fields, name).map(Secret::new);
        let token = secret("enrolment").ok_or(Refusal::BadBody)?;
        let code = secret("otp").unwrap_or_else(|| Secret::new(""));
        let given = secret("invitation");
        let invitation = match self.takes_invitation(arrival, session).await? {
            true => Some(given.unwrap_or_else(|| Secret::new(""))),
            false => None,
        };
        let confirmed = Confirmed {
            token: &token,
            code: &code,
            name: text(fields, "name").unwrap_or(FIRST_NAME),
            invitation: invitation.as_ref(),
        };
        let context = &arrival.context();
        match self.issuers.sessions().second_factors().enrol(&user, confirmed, context).await {
            Ok(codes) if codes.is_empty() => self.after_change(arrival, &user, wants_page).await,
            Ok(codes) => self.with_codes(arrival, &user, &codes, wants_page).await,
            Err(refused) => {
                let refused = Refused::from(refused);
                let stays =
                    matches!(refused.refusal, Refusal::BadCode | Refusal::EnrolmentProofRequired);
                match wants_page && stays {
                    true => {
                        let (token, problem) = (Some(&token), Some(&refused));
                        self.begin_factor(arrival, session, wants_page, token, problem).await
                    }
                    false => Err(refused),
                }
            }
        }
    }

    /// Whether the first factor takes more than a session and a password: where one is required of the user.
    pub(super) async fn takes_invitation(
        &self,
        arrival: &Arrival,
        session: &Session,
    ) -> Result<bool, Refused> {
        let identity = session.identity.load_full();
        let sessions = self.issuers.sessions();
        let all = sessions.factors().all_of(&identity.key, arrival.at).await?;
        let is_due = sessions.factors().policy().mode_of(&identity) == FactorMode::Required
            || all.own.reset_at.is_some();
        if all.has_any() || !is_due {
            return Ok(false);
        }
        let device = sessions.cookie_names().device_of(&arrival.headers);
        Ok(!sessions.step_up().knows_device(device, session, arrival.at))
    }

    pub(super) async fn with_codes(
        &self,
        arrival: &Arrival,
        user: &UserKey,
        codes: &[Secret],
        wants_page: bool,
    ) -> Result<Reply, Refused> {
        if !wants_page {
            let reply = self.after_change(arrival, user, wants_page).await?;
            return Ok(with_recovery_codes(reply, codes));
        }
        Ok(self.recovery_page(arrival, codes, arrival.target.path().as_str()))
    }

    pub(super) async fn after_change(
        &self,
        arrival: &Arrival,
        user: &UserKey,
        wants_page: bool,
    ) -> Result<Reply, Refused> {
        if wants_page {
            return Ok(navigation::to(arrival.target.path().as_str()));
        }
        let all = self.issuers.sessions().factors().all_of(user, arrival.at).await?;
        Ok(Reply::json(StatusCode::OK, &all_listed(&all)))
    }
}

/// Lists for a user's own programs the second factors that they have here and at their service.
fn all_listed(all: &AllFactors) -> Value {
    let mut listed = listed(&all.own);
    let at_service = all.at_service.usable.iter().map(|factor| {
        let (kind, left) = match factor.kind {
            ServiceFactorKind::App => ("totp", None),
            ServiceFactorKind::WrittenCodes { left } => ("recovery_code", Some(left)),
        };
        json!({
            "kind": kind,
            "name": factor.name,
            "left": left,
            "last_used": factor.last_used.map(|at| at.to_string()),
        })
    });
    let at_service: Vec<Value> = at_service.collect();
    if let Value::Object(members) = &mut listed
        && !at_service.is_empty()
    {
        members.insert("at_service".to_owned(), at_service.into());
    }
    listed
}

/// Lists a user's second factors for programs: the user's own, and the operator's.
pub(crate) fn listed(kept: &StoredFactors) -> Value {
    let factors = kept.factors.iter().map(|factor| {
        let mut one = Map::new();
        let mut say = |name: &str, value: Value| drop(one.insert(name.to_owned(), value));
        say("id", json!(factor.id));
        say("kind", json!(factor.kind));
        say("name", json!(factor.name));
        say("created_at", json!(factor.created_at.to_string()));
        say("last_used", json!(factor.last_used.map(|at| at.to_string())));
        if let Some(passkey) = &factor.passkey {
            say("rp_id", json!(passkey.rp_id));
            say("backed_up", json!(passkey.backed_up));
            say("discoverable", json!(passkey.is_discoverable));
        }
        Value::Object(one)
    });
    json!({
        "factors": factors.collect::<Vec<_>>(),
        "recovery_codes_left": kept.recovery_left,
        "reset_at": kept.reset_at.map(|at| at.to_string()),
    })
}
