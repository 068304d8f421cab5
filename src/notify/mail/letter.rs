//! The letters: subject, text and HTML, in each language, from templates that an operator can replace.

use std::path::Path;

use super::template::MailTemplate;
use crate::wire::accept::Language;
use crate::wire::html;

/// The values that the template of a letter about an incident can use.
const NAMES: [&str; 11] = [
    "service",
    "account",
    "what",
    "when",
    "where",
    "device",
    "done",
    "not_me",
    "me",
    "until",
    "account_page",
];

/// The values that the template of a letter with a link can use.
const LINK_NAMES: [&str; 8] =
    ["service", "account", "when", "where", "device", "link", "until", "account_page"];

/// The values that the template of a letter with a code can use.
const CODE_NAMES: [&str; 8] =
    ["service", "account", "when", "where", "device", "code", "until", "account_page"];

/// The prefix of the first line of a text template.
const SUBJECT: &str = "Subject: ";

/// The templates of all letters.
#[derive(Clone, Debug)]
pub(super) struct Letters {
    incident: InBothLanguages,
    link: InBothLanguages,
    code: InBothLanguages,
}

/// The templates of one letter.
#[derive(Clone, Debug)]
struct InBothLanguages {
    english: Templates,
    korean: Templates,
}

#[derive(Clone, Debug)]
struct Templates {
    subject: MailTemplate,
    text: MailTemplate,
    html: MailTemplate,
}

/// The values of a letter about an incident.
#[derive(Clone, Debug)]
pub(super) struct Values<'a> {
    pub(super) service: &'a str,
    pub(super) account: &'a str,
    pub(super) what: &'a str,
    pub(super) when: &'a str,
    pub(super) place: &'a str,
    pub(super) device: &'a str,
    pub(super) done: &'a str,
    pub(super) not_me: &'a str,
    pub(super) me: &'a str,
    pub(super) until: &'a str,
    /// The address of the page that shows the sessions of their account.
    pub(super) account_page: &'a str,
}

/// The values of a requested letter.
#[derive(Clone, Debug)]
pub(super) struct RequestedValues<'a> {
    pub(super) service: &'a str,
    pub(super) account: &'a str,
    pub(super) when: &'a str,
    pub(super) place: &'a str,
    pub(super) device: &'a str,
    /// The link, or the code.
    pub(super) gives: &'a str,
    pub(super) until: &'a str,
    /// The address of the page that shows the sessions of their account.
    pub(super) account_page: &'a str,
}

/// A letter, ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

impl Letters {
    /// Reads the templates of a folder, with the built-in ones for those that it lacks.
    ///
    /// # Errors
    /// The name of the invalid file, and its problem.
    pub(super) fn read(folder: Option<&Path>) -> Result<Self, String> {
        let incident = [
            include_str!("../../../templates/mail/incident.en.txt"),
            include_str!("../../../templates/mail/incident.en.html"),
            include_str!("../../../templates/mail/incident.ko.txt"),
            include_str!("../../../templates/mail/incident.ko.html"),
        ];
        let link = [
            include_str!("../../../templates/mail/link.en.txt"),
            include_str!("../../../templates/mail/link.en.html"),
            include_str!("../../../templates/mail/link.ko.txt"),
            include_str!("../../../templates/mail/link.ko.html"),
        ];
        let code = [
            include_str!("../../../templates/mail/code.en.txt"),
            include_str!("../../../templates/mail/code.en.html"),
            include_str!("../../../templates/mail/code.ko.txt"),
            include_str!("../../../templates/mail/code.ko.html"),
        ];
        Ok(Self {
            incident: InBothLanguages::read(folder, "incident", &NAMES, incident)?,
            link: InBothLanguages::read(folder, "link", &LINK_NAMES, link)?,
            code: InBothLanguages::read(folder, "code", &CODE_NAMES, code)?,
        })
    }

    /// Returns the letter about an incident in this language.
    pub(super) fn write(&self, language: Language, values: &Values<'_>) -> Letter {
        let values = [
            values.service,
            values.account,
            values.what,
            values.when,
            values.place,
            values.device,
            values.done,
            values.not_me,
            values.me,
            values.until,
            values.account_page,
        ];
        self.incident.of(language).fill(&values)
    }

    /// Returns the letter with a link in this language.
    pub(super) fn link(&self, language: Language, values: &RequestedValues<'_>) -> Letter {
        self.link.of(language).fill(&values.in_order())
    }

    /// Returns the letter with a code in this language.
    pub(super) fn code(&self, language: Language, values: &RequestedValues<'_>) -> Letter {
        self.code.of(language).fill(&values.in_order())
    }
}

impl<'a> RequestedValues<'a> {
    /// Returns the values in the order of [`LINK_NAMES`] and [`CODE_NAMES`].
    const fn in_order(&self) -> [&'a str; 8] {
        let Self { service, account, when, place, device, gives, until, account_page } = *self;
        [service, account, when, place, device, gives, until, account_page]
    }
}

impl InBothLanguages {
    /// Reads the templates of one letter. The built-in ones are text and HTML in English, then in Korean.
    fn read(
        folder: Option<&Path>,
        name: &str,
        names: &[&str],
        [english_text, english_html, korean_text, korean_html]: [&str; 4],
    ) -> Result<Self, String> {
        let read = |language: &str, text, html| {
            Templates::read(folder, &format!("{name}.{language}"), names, text, html)
        };
        Ok(Self {
            english: read("en", english_text, english_html)?,
            korean: read("ko", korean_text, korean_html)?,
        })
    }

    const fn of(&self, language: Language) -> &Templates {
        match language {
            Language::English => &self.english,
            Language::Korean => &self.korean,
        }
    }
}

impl Templates {
    fn fill(&self, values: &[&str]) -> Letter {
        Letter {
            subject: self.subject.fill(values, one_line),
            text: self.text.fill(values, one_line),
            html: self.html.fill(values, |value| html::escape(&one_line(value))),
        }
    }

    fn read(
        folder: Option<&Path>,
        name: &str,
        names: &[&str],
        text: &str,
        html: &str,
    ) -> Result<Self, String> {
        let (text, text_name) = in_folder(folder, &format!("{name}.txt"), text)?;
        let (html, html_name) = in_folder(folder, &format!("{name}.html"), html)?;
        let wrong = |name: &str, what: String| format!("{name}: {what}");
        let first = text
            .split_once('\n')
            .and_then(|(first, rest)| Some((first.trim_end().strip_prefix(SUBJECT)?, rest)));
        let (subject, body) = first.ok_or_else(|| {
            wrong(&text_name, format!("its first line must begin with {SUBJECT:?}"))
        })?;
        let parse = |name: &str, text: &str| {
            MailTemplate::parse(text, names).map_err(|what| wrong(name, what))
        };
        Ok(Self {
            subject: parse(&text_name, subject)?,
            text: parse(&text_name, body.trim_start_matches(['\r', '\n']))?,
            html: parse(&html_name, &html)?,
        })
    }
}

/// Returns the text of the folder's file if there is one, else the built-in text, with its name for messages.
fn in_folder(
    folder: Option<&Path>,
    name: &str,
    built_in: &str,
) -> Result<(String, String), String> {
    let Some(folder) = folder else { return Ok((built_in.to_owned(), name.to_owned())) };
    let path = folder.join(name);
    let called = path.display().to_string();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((text, called)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.is_dir() => {
            Ok((built_in.to_owned(), name.to_owned()))
        }
        Err(error) => Err(format!("{called}: {error}")),
    }
}

/// Returns a value as one line of limited length, so that it adds neither a line nor a header, and does not fill a page.
fn one_line(value: &str) -> String {
    let visible = |letter: char| if is_unseen(letter) { ' ' } else { letter };
    value.chars().take(1024).map(visible).collect()
}

/// Whether it is a control character, a line or paragraph separator, or one that changes the direction of the text after it.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>() -> Values<'a> {
        Values {
            service: "Acme",
            account: "kim",
            what: "What happened.",
            when: "2026-11-29 17:00 UTC",
            place: "192.0.2.1 (KR)",
            device: "Firefox on Linux",
            done: "Nothing was changed.",
            not_me: "https://app.example/incident?answer=not-me&token=T",
            me: "https://app.example/incident?answer=me&token=T",
            until: "2026-12-06 17:00 UTC",
            account_page: "https://app.example/account",
        }
    }

    #[test]
    fn both_languages_say_everything_in_text_and_in_html() {
        let letters = Letters::read(None).unwrap();
        for language in [Language::English, Language::Korean] {
            let letter = letters.write(language, &values());
            assert!(letter.subject.starts_with("Acme: "), "{letter:?}");
            assert!(!letter.text.contains("Subject") && !letter.text.contains("{{"), "{letter:?}");
            let Values { account, what, when, place, device, done, until, account_page, .. } =
                values();
            for said in [account, what, when, place, device, done, until, account_page] {
                assert!(letter.text.contains(said), "{said}: {}", letter.text);
                assert!(letter.html.contains(said), "{said}: {}", letter.html);
            }
            assert!(letter.text.contains(values().not_me) && letter.text.contains(values().me));
            let link = "href=\"https://app.example/incident?answer=not-me&amp;token=T\"";
            assert!(letter.html.contains(link), "{}", letter.html);
            assert!(letter.html.contains(&format!("lang=\"{}\"", language.code())));
        }
    }

    #[test]
    fn a_letter_that_was_asked_for_says_everything_in_both_languages() {
        let letters = Letters::read(None).unwrap();
        let values = |gives| RequestedValues {
            service: "Acme",
            account: "<b>김</b>",
            when: "2026-11-29 17:00 UTC",
            place: "192.0.2.1",
            device: "Firefox on Linux",
            gives,
            until: "2026-11-29 17:10 UTC",
            account_page: "https://app.example/account",
        };
        let (link, code) = ("https://app.example/login/mailed-link?token=T", "1234 5678");
        for language in [Language::English, Language::Korean] {
            for (letter, gives) in [
                (letters.link(language, &values(link)), link),
                (letters.code(language, &values(code)), code),
            ] {
                assert!(letter.subject.starts_with("Acme: "), "{letter:?}");
                assert!(!letter.subject.contains(gives), "others see it: {letter:?}");
                assert!(!letter.text.contains("{{") && !letter.html.contains("{{"), "{letter:?}");
                for said in values(gives).in_order().into_iter().skip(2) {
                    assert!(letter.text.contains(said), "{said}: {}", letter.text);
                    assert!(letter.html.contains(said), "{said}: {}", letter.html);
                }
                assert!(!letter.html.contains("<b>"), "{}", letter.html);
                assert!(letter.html.contains(&format!("lang=\"{}\"", language.code())));
            }
        }
    }

    #[test]
    fn no_value_makes_a_header_a_line_or_markup_of_its_own() {
        let letters = Letters::read(None).unwrap();
        for evil in
            ["kim\r\nBcc: all@example.org", "kim\u{2028}x", "<script>x</script>", "\u{202e}mik"]
        {
            let letter = letters
                .write(Language::English, &Values { service: evil, account: evil, ..values() });
            assert!(!letter.subject.contains(['\r', '\n', '\u{2028}', '\u{202e}']), "{letter:?}");
            assert!(!letter.text.lines().any(|line| line.starts_with("Bcc")), "{letter:?}");
            assert!(!letter.html.contains("<script"), "{letter:?}");
        }
    }

    #[test]
    fn an_operator_replaces_what_they_want_and_learns_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("incident.ko.txt", "Subject: 알림 {{ service }}\n\n{{ what }}\n");
        let letters = Letters::read(Some(folder.path())).unwrap();
        let korean = letters.write(Language::Korean, &values());
        assert_eq!((&*korean.subject, &*korean.text), ("알림 Acme", "What happened.\n"));
        assert!(korean.html.contains("본인"), "what is not there is the built-in one");
        assert!(letters.write(Language::English, &values()).subject.contains("was this you"));

        for (text, problem) in [
            ("Hello\n", "its first line must begin with \"Subject: \""),
            ("Subject: x\n{{ wat }}\n", "there is no \"wat\""),
        ] {
            write("incident.en.txt", text);
            let wrong = Letters::read(Some(folder.path())).unwrap_err();
            assert!(wrong.contains("incident.en.txt: ") && wrong.contains(problem), "{wrong}");
        }
        assert!(Letters::read(Some(&folder.path().join("none"))).is_err(), "no such folder");
    }
}
