//! `GET /account/activity?limit=COUNT&cursor=CURSOR`: the recent events of the user's own account, newest first, in pages.
//!
//! An event that somebody else caused is described by its kind and by the network that it came from, never by an address.

use http::StatusCode;
use serde_json::{Value, json};

use super::account::AccountOwner;
use super::account_page::{PageSection, device_heading};
use super::account_texts::AccountTexts;
use super::paging::Page;
use super::refused::Refused;
use super::{Endpoints, Served};
use crate::clock::Timestamp;
use crate::notify::{device, time, what_was_found};
use crate::refusal::Refusal;
use crate::store::records::StoredEntry;
use crate::wire::accept::{self, Language};
use crate::wire::arrival::Arrival;
use crate::wire::client_ip::network_24_or_48;
use crate::wire::reply::Reply;

/// How many entries the page shows at once.
const SHOWN: usize = 10;

/// An entry in the words of the page.
pub(super) struct ShownEntry {
    pub(super) what: String,
    pub(super) when: String,
    pub(super) place: Option<String>,
    pub(super) device: String,
}

/// The entries that the page shows, with the cursor of the next ones.
pub(super) struct ListedEntries {
    pub(super) entries: Vec<ShownEntry>,
    pub(super) next: Option<String>,
    pub(super) is_later: bool,
}

impl Endpoints {
    /// Answers `GET /account/activity`.
    pub(super) async fn account_activity(&self, arrival: &Arrival) -> Served {
        let wants_page = accept::is_navigation(&arrival.method, &arrival.headers);
        let made = match self.account_owner(arrival).await {
            Ok(_) if wants_page => Ok(self.back_to_account(PageSection::Activity)),
            Ok(owner) => self.list_activity(arrival, &owner).await,
            Err(refused) => Err(refused),
        };
        self.account_answer(arrival, wants_page, made)
    }

    async fn list_activity(
        &self,
        arrival: &Arrival,
        owner: &AccountOwner,
    ) -> Result<Reply, Refused> {
        let query = arrival.target.query().unwrap_or_default();
        let page = Page::read(query, |_, _| Err(Refusal::BadBody))?;
        let (entries, next) = self.entries(owner, &page).await?;
        let language = Language::negotiate(&arrival.headers);
        let described: Vec<Value> =
            entries.iter().map(|entry| self.describe_entry(entry, language)).collect();
        Ok(Reply::json(StatusCode::OK, &json!({"activity": described, "next": next})))
    }

    /// Returns the entries that the page shows.
    pub(super) async fn shown_activity(
        &self,
        owner: &AccountOwner,
        cursor: Option<String>,
        language: Language,
    ) -> Result<ListedEntries, Refused> {
        let page = Page { limit: SHOWN, cursor };
        let (entries, next) = self.entries(owner, &page).await?;
        let texts = AccountTexts::of(language);
        let shown = entries.iter().map(|entry| ShownEntry {
            what: counted(in_words(entry, texts, language), entry.count),
            when: time(entry.at, &self.incidents.time_zone),
            place: self.network_in_words(entry.network, language),
            device: device_heading(&entry.agent, language),
        });
        Ok(ListedEntries { entries: shown.collect(), next, is_later: page.cursor.is_some() })
    }

    async fn entries(
        &self,
        owner: &AccountOwner,
        page: &Page,
    ) -> Result<(Vec<StoredEntry>, Option<String>), Refused> {
        let before = page.cursor.as_deref().map(before).transpose()?;
        let sessions = self.issuers.sessions();
        let found = sessions
            .own_account()
            .entries(&owner.user, before, page.limit.saturating_add(1))
            .await?;
        Ok(page.cut(found.into_iter(), |last| format!("{}.{}", last.at.as_millis(), last.key)))
    }

    /// Returns the place of a network, or the network itself if no database knows its place.
    pub(super) fn network_in_words(
        &self,
        network: Option<std::net::IpAddr>,
        language: Language,
    ) -> Option<String> {
        let network = network?;
        let place = self.issuers.sessions().places().place(network, language);
        Some(place.unwrap_or_else(|| network_24_or_48(network).to_string()))
    }

    fn describe_entry(&self, entry: &StoredEntry, language: Language) -> Value {
        let sessions = self.issuers.sessions();
        let country = entry.network.and_then(|network| sessions.places().country(network));
        json!({
            "what": entry.what,
            "detail": entry.detail,
            "text": in_words(entry, AccountTexts::of(language), language),
            "count": entry.count,
            "first_at": entry.first_at.to_string(),
            "at": entry.at.to_string(),
            "device": device(&entry.agent, language),
            "place": entry.network.and_then(|network| sessions.places().place(network, language)),
            "country": country.as_ref().map(crate::geo::Country::as_str),
            "network": entry.network.map(|network| network_24_or_48(network).to_string()),
        })
    }
}

fn counted(text: &str, count: u64) -> String {
    if count > 1 { format!("{text} ({count}×)") } else { text.to_owned() }
}

/// Describes an entry in a sentence. An entry that a later version stored gets a general sentence.
fn in_words(entry: &StoredEntry, texts: &'static AccountTexts, language: Language) -> &'static str {
    match (&*entry.what, &*entry.detail) {
        ("signed_in", "new_device") => texts.signed_in_new,
        ("signed_in", "service" | "taken_over") => texts.signed_in_elsewhere,
        ("signed_in", _) => texts.signed_in,
        ("sign_in_refused", "wrong_password" | "refused_by_service") => texts.wrong_password,
        ("sign_in_refused", "locked_out" | "throttled") => texts.locked_out,
        ("sign_in_refused", "wrong_code" | "used_code") => texts.wrong_code,
        ("sign_in_refused", "no_proof") => texts.no_proof,
        ("sign_in_refused", "cloned_passkey") => what_was_found("passkey_cloned", language),
        ("sign_in_refused", _) => texts.refused,
        ("finding", detector) => what_was_found(detector, language),
        ("second_factor", "added") => what_was_found("second_factor_added", language),
        ("second_factor", "removed") => what_was_found("second_factor_removed", language),
        ("second_factor", "passkey_added") => what_was_found("passkey_added", language),
        ("second_factor", "passkey_removed") => what_was_found("passkey_removed", language),
        ("second_factor", "renamed") => what_was_found("second_factor_renamed", language),
        ("second_factor", "recovery_renewed") => what_was_found("recovery_codes_renewed", language),
        ("second_factor", "recovery_used") => what_was_found("recovery_code_used", language),
        ("second_factor", "reset") => what_was_found("second_factor_reset", language),
        ("second_factor", "invited") => texts.invited,
        ("second_factor", "device_trusted") => texts.device_trusted,
        ("second_factor", "devices_distrusted") => texts.devices_distrusted,
        ("personal_token", "made") => what_was_found("personal_token_made", language),
        ("personal_token", _) => what_was_found("personal_token_ended", language),
        ("session_ended", "account") => texts.ended_account,
        ("session_ended", "signed_out_everywhere") => texts.ended_everywhere,
        ("session_ended", "password_changed" | "directory_changed") => texts.ended_password,
        ("session_ended", "operator") => texts.ended_operator,
        ("session_ended", "not_me") => texts.ended_not_me,
        ("session_ended", _) => texts.ended_found,
        ("mailed_link", _) => texts.mailed_link,
        ("password_changed", _) => texts.password_changed,
        ("devices_forgotten", _) => texts.devices_forgotten,
        ("answered", "me") => texts.answered_me,
        ("answered", _) => texts.answered_not_me,
        _ => texts.something,
    }
}

/// Parses a cursor: the time and the key of an entry. The page lists the entries before it.
fn before(cursor: &str) -> Result<(Timestamp, u64), Refusal> {
    let (millis, key) = cursor.split_once('.').ok_or(Refusal::BadBody)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| Refusal::BadBody);
    Ok((Timestamp::from_millis(number(millis)?), number(key)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EndReason, FactorEvent, SignInFailure};

    fn entry(what: &str, detail: &str) -> StoredEntry {
        StoredEntry {
            key: 1,
            what: what.into(),
            detail: detail.into(),
            first_at: Timestamp::from_secs(1),
            at: Timestamp::from_secs(1),
            count: 1,
            network: None,
            agent: String::new(),
        }
    }

    #[test]
    fn everything_that_is_kept_has_words_of_its_own_kind() {
        for language in [Language::English, Language::Korean] {
            let texts = AccountTexts::of(language);
            let say = |what: &str, detail: &str| in_words(&entry(what, detail), texts, language);
            for detail in ["known_device", "new_device", "service", "taken_over"] {
                assert_ne!(say("signed_in", detail), texts.something);
            }
            for why in SignInFailure::ALL {
                assert_ne!(say("sign_in_refused", why.name()), texts.something);
            }
            for change in FactorEvent::ALL {
                let text = say("second_factor", change.name());
                assert_ne!(text, texts.something, "{change:?}");
                assert_ne!(text, what_was_found("another", language), "{change:?}");
            }
            for detail in ["made", "ended"] {
                let text = say("personal_token", detail);
                assert_ne!(text, what_was_found("another", language), "{detail}");
            }
            for why in EndReason::ALL {
                assert_ne!(say("session_ended", why.name()), texts.something);
            }
            assert_eq!(say("finding", "new_device"), what_was_found("new_device", language));
            assert_eq!(say("of a later version", "x"), texts.something);
        }
        assert_eq!(counted("A sign-in was refused.", 37), "A sign-in was refused. (37×)");
    }

    #[test]
    fn a_cursor_is_two_numbers() {
        assert_eq!(before("5.7"), Ok((Timestamp::from_millis(5), 7)));
        for wrong in ["", "5", "5.", ".7", "-1.2", "a.b", "1.2.3"] {
            assert_eq!(before(wrong), Err(Refusal::BadBody), "{wrong}");
        }
    }
}
