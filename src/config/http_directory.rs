//! Reads `[[directory]] kind = "http"`: the login form of an application, and the meaning of its answers.
//!
//! So that no answer lets the wrong user in, the rules must distinguish right from wrong credentials (`success` needs more than
//! a status) and describe the answer to wrong ones (`refused`); everything else is an error.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri};

use super::raw::{RawTable, Wrong};
use super::units::{MINUTE, secs};
use super::values;

/// The settings of an `http` directory.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpDirectorySettings {
    /// Where the login form is posted.
    pub url: Uri,
    /// How the credentials are encoded.
    pub encoding: LoginEncoding,
    /// The field with the name.
    pub username_field: String,
    /// The field with the password.
    pub password_field: String,
    /// Further fields with constant values.
    pub fields: Vec<(String, String)>,
    /// Header fields of each request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The CSRF token that the form requires.
    pub csrf: Option<Csrf>,
    /// The rules for the answer to right credentials.
    pub success: AnswerRules,
    /// The rules for the answer to wrong credentials.
    pub refused: AnswerRules,
    /// Where the answer describes the user.
    pub user: HttpUser,
    /// How a session of the application is ended.
    pub logout: Option<Logout>,
    /// How long a sign-in may take, all of its pages together.
    pub timeout: Duration,
    /// The most sign-ins at a time; beyond it 503.
    pub max_concurrent: usize,
}

/// `directory.encoding`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LoginEncoding {
    /// `application/x-www-form-urlencoded`
    #[default]
    Form,
    /// A JSON object.
    Json,
}

/// `directory.csrf`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csrf {
    /// The page with the form.
    pub page: Uri,
    /// Where the token is on the page.
    pub found: CsrfToken,
    /// The field in which it is sent back.
    pub field: Option<String>,
    /// The header in which it is sent back.
    pub header: Option<HeaderName>,
}

/// Where a page has its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CsrfToken {
    /// In the hidden input of this name.
    Input(String),
    /// In the `<meta>` of this name.
    Meta(String),
    /// In the cookie of this name, percent-encoded or not.
    Cookie(String),
}

/// The rules for an answer; all that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerRules {
    /// The answer has one of these statuses.
    pub status: Vec<u16>,
    /// The answer sets this cookie.
    pub cookie: Option<String>,
    /// The answer redirects to this path, or below it.
    pub location: Option<String>,
    /// The answer redirects elsewhere than to this path, or below it.
    pub location_not: Option<String>,
    /// The answer's body contains this text.
    pub body_contains: Option<String>,
    /// The answer's body does not contain this text.
    pub body_lacks: Option<String>,
    /// The answer's body is JSON, with a value at this pointer (RFC 6901).
    pub json: Option<String>,
}

/// `directory.user`: pointers into the answer's JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpUser {
    /// The user's id; none: the name is the id.
    pub id: Option<String>,
    /// The user's name; none: as it was typed.
    pub name: Option<String>,
    /// The user's groups, an array of texts.
    pub groups: Option<String>,
    /// The user's mail address.
    pub email: Option<String>,
    /// Whether names that differ only in case mean the same user.
    pub casefold: bool,
}

/// `directory.logout`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    /// The URL of the sign-out.
    pub url: Uri,
    /// `GET` or `POST`.
    pub method: Method,
    /// A page with the token that the sign-out requires, as in [`Csrf`].
    pub csrf_page: Option<Uri>,
}

impl HttpDirectorySettings {
    /// Returns a form with the usual names.
    pub fn new(url: Uri) -> Self {
        Self {
            url,
            encoding: LoginEncoding::Form,
            username_field: "username".into(),
            password_field: "password".into(),
            fields: Vec::new(),
            headers: Vec::new(),
            csrf: None,
            success: AnswerRules::default(),
            refused: AnswerRules::default(),
            user: HttpUser::default(),
            logout: None,
            timeout: Duration::from_secs(5),
            max_concurrent: 16,
        }
    }
}

impl AnswerRules {
    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The keys that only this kind has.
pub(super) const HTTP_KEYS: [&str; 13] = [
    "url",
    "encoding",
    "username_field",
    "password_field",
    "fields",
    "headers",
    "csrf",
    "success",
    "refused",
    "user",
    "logout",
    "timeout",
    "max_concurrent",
];

const ENCODINGS: [(&str, LoginEncoding); 2] =
    [("form", LoginEncoding::Form), ("json", LoginEncoding::Json)];

pub(super) fn http(table: &RawTable<'_>) -> HttpDirectorySettings {
    table.require(
        "url",
        "where the login form is posted, like url = \"http://127.0.0.1:8000/login\"",
    );
    table.require(
        "success",
        "how to recognize the answer to right credentials: success = { location = \"/home\" }",
    );
    table.require(
        "refused",
        "how to recognize the answer to wrong credentials: refused = { status = [200] }",
    );
    let default = HttpDirectorySettings::new(table.text("url", address).unwrap_or_default());
    let csrf = table.has("csrf").then(|| table.table("csrf", csrf));
    let logout = table.has("logout").then(|| table.table("logout", logout));
    if csrf.is_none() && logout.as_ref().is_some_and(|logout| logout.csrf_page.is_some()) {
        table.error(
            "logout",
            Wrong::new("has a page for a token, but the token is not described")
                .help("describe it in csrf = { page = \"...\", field = \"...\" }"),
        );
    }
    HttpDirectorySettings {
        encoding: table.choice("encoding", &ENCODINGS).unwrap_or(default.encoding),
        username_field: table
            .text("username_field", values::filled)
            .unwrap_or(default.username_field),
        password_field: table
            .text("password_field", values::filled)
            .unwrap_or(default.password_field),
        fields: table.table("fields", |fields| {
            fields.free().into_iter().map(|(name, text)| (name.value, text.value)).collect()
        }),
        headers: table.table("headers", headers),
        csrf,
        success: table.table("success", |rules| answer_rules(rules, table.has("success"), true)),
        refused: table.table("refused", |rules| answer_rules(rules, table.has("refused"), false)),
        user: table.table("user", user),
        logout,
        timeout: table.duration("timeout", secs(1)..=MINUTE).unwrap_or(default.timeout),
        max_concurrent: table.number("max_concurrent", 1..=1024).unwrap_or(default.max_concurrent),
        url: default.url,
    }
}

fn address(text: &str) -> Result<Uri, Wrong> {
    let wrong = || {
        // The address is not repeated: it may hold a password.
        Wrong::new("is no address of a page")
            .help("allowed: like \"http://127.0.0.1:8000/login\" or \"https://app.internal/login\"")
    };
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let is_plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if !is_web || !is_plain || text.contains('#') {
        return Err(wrong());
    }
    Ok(uri)
}

fn headers(table: &RawTable<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut all = Vec::new();
    for (name, value) in table.free() {
        let known = HeaderName::from_bytes(name.value.as_bytes()).ok();
        match (known, HeaderValue::from_str(&value.value)) {
            (Some(found), _) if FRAMING.contains(&found.as_str()) => {
                table.error_at(name.place, Wrong::new(format!("{found} is made for each request")));
            }
            (Some(name), Ok(value)) => all.push((name, value)),
            _ => table.error_at(name.place, Wrong::new("is no header that can be sent")),
        }
    }
    all
}

/// Header fields that no setting could set correctly.
const FRAMING: [&str; 5] =
    ["content-length", "transfer-encoding", "connection", "cookie", "x-forwarded-for"];

fn csrf(table: &RawTable<'_>) -> Csrf {
    const PLACES: [(&str, CsrfPlace); 3] =
        [("input", CsrfPlace::Input), ("meta", CsrfPlace::Meta), ("cookie", CsrfPlace::Cookie)];
    table.require("page", "the page with the form, like page = \"http://127.0.0.1:8000/login\"");
    let field = table.text("field", values::filled);
    let header = table.text("header", values::header).and_then(|name| name.parse().ok());
    if !table.has("field") && !table.has("header") {
        table.error(
            "field",
            Wrong::new("is missing").help("the field in which the token goes back, or a header"),
        );
    }
    let place = table.choice("found_in", &PLACES).unwrap_or(CsrfPlace::Input);
    let name = match place {
        CsrfPlace::Cookie => table.text("name", values::cookie),
        CsrfPlace::Input | CsrfPlace::Meta => table.text("name", values::filled),
    };
    let is_field = matches!(place, CsrfPlace::Input) && table.has("field");
    if !table.has("name") && !is_field {
        table.error(
            "name",
            Wrong::new("is missing: nothing says what the token is called where it is found")
                .help("like found_in = \"meta\", name = \"csrf-token\""),
        );
    }
    let name = name.or_else(|| field.clone()).unwrap_or_default();
    let found = match place {
        CsrfPlace::Input => CsrfToken::Input(name),
        CsrfPlace::Meta => CsrfToken::Meta(name),
        CsrfPlace::Cookie => CsrfToken::Cookie(name),
    };
    Csrf { page: table.text("page", address).unwrap_or_default(), found, field, header }
}

/// `directory.csrf.found_in`
#[derive(Clone, Copy)]
enum CsrfPlace {
    Input,
    Meta,
    Cookie,
}

/// Keys that an answer to wrong credentials hardly meets. A status alone is not one of them, and neither is a missing text,
/// which every page that says "try again later" lacks as well.
const TELL_APART: [&str; 5] = ["cookie", "location", "location_not", "body_contains", "json"];

/// Reads the rules that need only an answer's head.
pub(super) fn head_rules(table: &RawTable<'_>) -> AnswerRules {
    AnswerRules {
        status: status(table),
        cookie: table.text("cookie", values::cookie),
        location: table.text("location", path),
        location_not: table.text("location_not", path),
        ..AnswerRules::default()
    }
}

fn answer_rules(table: &RawTable<'_>, is_there: bool, is_success: bool) -> AnswerRules {
    let rules = AnswerRules {
        status: status(table),
        cookie: table.text("cookie", values::cookie),
        location: table.text("location", path),
        location_not: table.text("location_not", path),
        body_contains: table.text("body_contains", values::filled),
        body_lacks: table.text("body_lacks", values::filled),
        json: table.text("json", pointer),
    };
    // The keys count, even if their values cannot be used: that has been reported.
    let states = |keys: &[&str]| keys.iter().any(|key| table.has(key));
    let tells_apart = states(&TELL_APART);
    if !tells_apart && !states(&["status", "body_lacks"]) {
        if is_there {
            table.error("status", Wrong::new("there is no condition for the answer"));
        }
    } else if is_success && !tells_apart {
        table.error(
            "status",
            Wrong::new("does not distinguish right credentials from wrong ones: both can get this")
                .help("add cookie, location, location_not, body_contains or json"),
        );
    }
    rules
}

fn status(table: &RawTable<'_>) -> Vec<u16> {
    table.numbers("status", 200..=499).unwrap_or_default()
}

fn path(text: &str) -> Result<String, Wrong> {
    let legal = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !legal || text.contains(['?', '#']) {
        return Err(Wrong::new(format!("{text:?} is no path"))
            .help("allowed: a path without query, like \"/login\""));
    }
    Ok(text.to_owned())
}

fn pointer(text: &str) -> Result<String, Wrong> {
    if !text.starts_with('/') || text.chars().any(char::is_control) {
        return Err(Wrong::new(format!("{text:?} is no JSON pointer"))
            .help("allowed: like \"/user/id\" (RFC 6901)"));
    }
    Ok(text.to_owned())
}

fn user(table: &RawTable<'_>) -> HttpUser {
    HttpUser {
        id: table.text("id", pointer),
        name: table.text("name", pointer),
        groups: table.text("groups", pointer),
        email: table.text("email", pointer),
        casefold: table.flag("casefold").unwrap_or_default(),
    }
}

fn logout(table: &RawTable<'_>) -> Logout {
    table.require("url", "where people sign out, like url = \"http://127.0.0.1:8000/logout\"");
    const METHODS: [(&str, bool); 2] = [("POST", true), ("GET", false)];
    let is_post = table.choice("method", &METHODS).unwrap_or(true);
    Logout {
        url: table.text("url", address).unwrap_or_default(),
        method: if is_post { Method::POST } else { Method::GET },
        csrf_page: table.text("csrf_page", address),
    }
}
