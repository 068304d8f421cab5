//! The page `/account`. It works without scripts: every button is a form.

use askama::Template;

use super::account_activity::ListedEntries;
use super::account_devices::ShownDevice;
use super::account_sessions::ListedSessions;
use super::account_texts::AccountTexts;
use super::page::{self, CSS};
use super::texts::Texts;
use crate::notify::device;
use crate::store::factors::StoredFactors;
use crate::wire::accept::Language;
use crate::wire::reply::Reply;

/// The contents of the page.
pub(super) struct AccountPage<'a> {
    pub(super) service: &'a str,
    pub(super) name: &'a str,
    pub(super) path: &'a str,
    pub(super) sessions_path: Option<&'a str>,
    pub(super) devices_path: Option<&'a str>,
    pub(super) tokens_path: Option<&'a str>,
    pub(super) sign_out_path: Option<&'a str>,
    pub(super) sessions: ListedSessions,
    pub(super) activity: ListedEntries,
    pub(super) devices: Vec<ShownDevice>,
    pub(super) factors: Option<FactorsPart<'a>>,
    /// Where users change their password, here or elsewhere.
    pub(super) password_path: Option<&'a str>,
    /// The action that was carried out a moment ago.
    pub(super) done: Option<PageSection>,
    pub(super) language: Language,
}

/// The user's second factors.
pub(super) struct FactorsPart<'a> {
    pub(super) path: &'a str,
    pub(super) kept: StoredFactors,
}

/// The finished action, or the part of the page, that a redirect names in the URL. It only selects a sentence to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PageSection {
    Sessions,
    Ended,
    OthersEnded,
    Activity,
    Devices,
    DevicesForgotten,
    PasswordChanged,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static AccountTexts,
    page: &'a AccountPage<'a>,
    done: Option<&'static str>,
}

impl PageSection {
    const ALL: [Self; 7] = [
        Self::Sessions,
        Self::Ended,
        Self::OthersEnded,
        Self::Activity,
        Self::Devices,
        Self::DevicesForgotten,
        Self::PasswordChanged,
    ];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Ended => "ended",
            Self::OthersEnded => "others-ended",
            Self::Activity => "activity",
            Self::Devices => "devices",
            Self::DevicesForgotten => "devices-forgotten",
            Self::PasswordChanged => "password-changed",
        }
    }

    /// Returns the anchor of the part of the page that this is about.
    pub(super) const fn anchor(self) -> &'static str {
        match self {
            Self::Sessions | Self::Ended | Self::OthersEnded => "sessions",
            Self::Activity => "activity",
            Self::Devices | Self::DevicesForgotten => "devices",
            Self::PasswordChanged => "password",
        }
    }

    const fn text(self, texts: &'static AccountTexts) -> Option<&'static str> {
        match self {
            Self::Sessions | Self::Activity | Self::Devices => None,
            Self::Ended => Some(texts.done_ended),
            Self::OthersEnded => Some(texts.done_others_ended),
            Self::DevicesForgotten => Some(texts.done_devices_forgotten),
            Self::PasswordChanged => Some(texts.done_password_changed),
        }
    }
}

/// Returns the heading of a device, from its `User-Agent`.
pub(super) fn device_heading(agent: &str, language: Language) -> String {
    let said = device(agent, language);
    // An agent that is described like an empty one says nothing about the device.
    match said == device("", language) {
        true => AccountTexts::of(language).unknown_device.to_owned(),
        false => said,
    }
}

impl AccountPage<'_> {
    pub(super) fn reply(&self) -> Reply {
        let (texts, own) = (Texts::of(self.language), AccountTexts::of(self.language));
        let done = self.done.and_then(|done| done.text(own));
        page::reply(&AccountTemplate { css: CSS, texts, own, page: self, done })
    }
}

#[cfg(test)]
mod tests {
    use super::super::account_activity::ShownEntry;
    use super::super::account_sessions::ShownSession;
    use super::*;

    fn shown(id: &str, device: &str) -> ShownSession {
        ShownSession {
            id: id.into(),
            device: device.into(),
            place: Some("<i>Seoul</i>".into()),
            began: "2026-11-30 09:00 KST".into(),
            last_used: "2026-11-30 10:00 KST".into(),
        }
    }

    fn reply(others: usize, language: Language) -> Reply {
        let page = AccountPage {
            service: "Acme & Sons",
            name: "<b>kim</b>",
            path: "/account",
            sessions_path: Some("/account/sessions"),
            devices_path: Some("/account/devices"),
            tokens_path: Some("/account/tokens"),
            sign_out_path: Some("/logout"),
            activity: ListedEntries {
                entries: vec![ShownEntry {
                    what: "<b>x</b>".into(),
                    when: "2026-11-30 09:00 KST".into(),
                    place: Some("<i>Seoul</i>".into()),
                    device: "<b>curl</b>".into(),
                }],
                next: Some("5.1".into()),
                is_later: true,
            },
            devices: vec![ShownDevice {
                id: "<b>".into(),
                device: "<b>curl</b>".into(),
                place: None,
                first_used: String::new(),
                last_used: String::new(),
                is_current: others == 1,
            }],
            password_path: Some("/account/password"),
            factors: Some(FactorsPart { path: "/x", kept: StoredFactors::default() }),
            sessions: ListedSessions {
                own: shown("s0", "Firefox on Linux"),
                others: (1..=others).map(|at| shown(&format!("s{at}"), "<b>curl</b>")).collect(),
                count: others,
                next: (others > 1).then(|| "5.s1".to_owned()),
                is_later: others > 1,
            },
            done: Some(PageSection::Ended),
            language,
        };
        page.reply()
    }

    #[test]
    fn nothing_is_scripted_loaded_or_markup_of_anybodys() {
        for language in [Language::English, Language::Korean] {
            for others in [0, 1, 3] {
                let reply = reply(others, language);
                assert_eq!(reply.headers["cache-control"], "no-store");
                let policy = reply.headers["content-security-policy"].to_str().unwrap();
                assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
                let html = std::str::from_utf8(&reply.body).unwrap();
                for never in
                    ["<script", "<img", "<link", "@import", "url(", " style=", "<b>", "<i>"]
                {
                    assert!(!html.contains(never), "{never} is in\n{html}");
                }
                assert!(html.contains(&format!("<html lang=\"{}\">", language.code())));
                assert_eq!(html.matches("<h1>").count(), 1, "{html}");
                // Each of the other sessions has a button; this one has none.
                assert_eq!(html.matches("value=\"end\"").count(), others, "{html}");
                assert_eq!(html.matches("value=\"end_others\"").count(), usize::from(others > 0));
                assert_eq!(html.matches("value=\"end_all\"").count(), 1);
            }
        }
    }

    #[test]
    fn what_was_done_is_read_from_a_closed_list() {
        for section in PageSection::ALL {
            assert_eq!(PageSection::parse(section.name()), Some(section));
        }
        assert_eq!(PageSection::parse("<b>"), None);
    }
}
