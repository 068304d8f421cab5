//! `[sign_in]`: who signs people in, and the requests by which the service does.

use http::Method;

use super::AnswerRules;
use crate::wire::path::{CanonicalPath, PathPattern};

/// `[sign_in]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignInSettings {
    /// Who signs people in.
    pub mode: SignInMode,
    /// The service's own login page, to which a browser is sent that has to sign in (`mode = "follow"`).
    pub login_path: Option<CanonicalPath>,
    /// Requests that are watched.
    pub observe: Vec<Observed>,
}

/// `sign_in.mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SignInMode {
    /// The gateway: its page, its tokens, and aliases of the service's own paths.
    #[default]
    Replace,
    /// The service; the gateway watches and adopts its sessions.
    Follow,
}

/// `route.sign_in_redirect`: who says where a browser goes that has to sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SignInRedirect {
    /// The gateway: `sign_in.login_path`, or its own page.
    #[default]
    Gateway,
    /// The service: it is asked, and of its answers only a redirect goes back.
    Service,
}

/// `[[sign_in.observe]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What such a request does.
    pub kind: ObservedKind,
    /// Where.
    pub path: PathPattern,
    /// With which methods.
    pub methods: Vec<Method>,
    /// The field with the user's name.
    pub username_field: String,
    /// The `[[issuer]]`, by its index, whose tokens are in the body of the answer.
    pub tokens: Option<usize>,
    /// What the answer is like if it succeeded; nothing: a session of an issuer's with a user is set.
    pub success: AnswerRules,
}

/// `sign_in.observe.kind`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObservedKind {
    /// Somebody signs in.
    SignIn,
    /// Somebody makes an account, and may be signed in by it.
    SignUp,
    /// Somebody signs out.
    SignOut,
    /// A refresh token is exchanged for new tokens.
    Refresh,
}

impl Observed {
    /// With what a Django form has.
    pub fn new(kind: ObservedKind, path: PathPattern) -> Self {
        Self {
            kind,
            path,
            methods: vec![Method::POST],
            username_field: "username".into(),
            tokens: None,
            success: AnswerRules::default(),
        }
    }

    /// Is it such a request?
    pub fn is_of(&self, method: &Method, path: &CanonicalPath) -> bool {
        self.methods.contains(method) && self.path.takes(path)
    }
}
