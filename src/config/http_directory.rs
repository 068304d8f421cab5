//! `[[directory]] kind = "http"`: the login form of an application, and what its answers mean.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri};

/// One block.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpDirectory {
    /// Where the login form is posted.
    pub url: Uri,
    /// How the credentials are written.
    pub encoding: LoginEncoding,
    /// The field of the name.
    pub username_field: String,
    /// The field of the password.
    pub password_field: String,
    /// Further fields, always the same.
    pub fields: Vec<(String, String)>,
    /// Header fields of each request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The token that the form wants to have back.
    pub csrf: Option<Csrf>,
    /// What the answer to right credentials is like.
    pub success: AnswerRules,
    /// What the answer to wrong ones is like.
    pub refused: AnswerRules,
    /// What the answer says of the user.
    pub user: HttpUser,
    /// How a session of the application is ended.
    pub logout: Option<Logout>,
    /// How long a sign-in may take, its pages together.
    pub timeout: Duration,
    /// Sign-ins at once; beyond it 503.
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
    /// Where the token is found.
    pub found: CsrfToken,
    /// The field in which it goes back.
    pub field: Option<String>,
    /// The header in which it goes back.
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

/// What is asked of an answer; all that is stated must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerRules {
    /// It has one of these statuses.
    pub status: Vec<u16>,
    /// It sets this cookie.
    pub cookie: Option<String>,
    /// It leads to this path, or below it.
    pub location: Option<String>,
    /// It leads somewhere else than to this path, or below it.
    pub location_not: Option<String>,
    /// Its body has this text.
    pub body_contains: Option<String>,
    /// Its body does not have this text.
    pub body_lacks: Option<String>,
    /// Its body is JSON, with something at this pointer (RFC 6901).
    pub json: Option<String>,
}

/// `directory.user`: pointers into the answer's JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpUser {
    /// The id; none: the name is the id.
    pub id: Option<String>,
    /// The name; none: as it was typed.
    pub name: Option<String>,
    /// The groups, an array of texts.
    pub groups: Option<String>,
    /// The address.
    pub email: Option<String>,
    /// Names that differ in case alone are one user's.
    pub casefold: bool,
}

/// `directory.logout`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    /// Where.
    pub url: Uri,
    /// `GET` or `POST`.
    pub method: Method,
    /// A page with the token that it wants to have back, as [`Csrf`] says.
    pub csrf_page: Option<Uri>,
}

impl HttpDirectory {
    /// A form with the usual names.
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
    /// Is anything asked?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
