//! `[[identity.form]]`: how an unchanged service is told who is calling, beside the headers of `[identity]`.

use crate::caller::Proof;

/// One block.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityForm {
    /// The name that routes use.
    pub name: String,
    /// The directory whose users the service knows by this form; none: it does not matter which.
    pub directory: Option<String>,
    /// The kind and what only it has.
    pub kind: FormKind,
}

/// The kinds of form.
#[derive(Clone, Debug, PartialEq)]
pub enum FormKind {
    /// `kind = "remote-user"`
    RemoteUser(RemoteUser),
}

/// `kind = "remote-user"`: a header that the service takes for the result of its server's own authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUser {
    /// The header.
    pub header: String,
    /// What is in it.
    pub value: UserValue,
}

/// What names a user.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum UserValue {
    /// The name they sign in with.
    #[default]
    Name,
    /// Their id in the directory.
    Id,
}

/// `route.identity`: the forms of a route by how the caller came, as indexes into [`super::Config::forms`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteForms {
    /// For a caller with a token.
    pub bearer: Vec<usize>,
    /// For a caller with the session cookie.
    pub cookie: Vec<usize>,
}

impl RouteForms {
    /// Those of a caller who came with this proof.
    pub fn of(&self, proof: Proof) -> &[usize] {
        match proof {
            Proof::AccessToken => &self.bearer,
            Proof::SessionCookie => &self.cookie,
        }
    }

    /// Each form that some caller gets.
    pub fn all(&self) -> impl Iterator<Item = usize> {
        self.bearer.iter().chain(&self.cookie).copied()
    }
}

impl FormKind {
    /// The header that it sets.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::RemoteUser(form) => Some(&form.header),
        }
    }

    /// The cookie that it sets.
    pub fn cookie(&self) -> Option<&str> {
        match self {
            Self::RemoteUser(_) => None,
        }
    }
}

impl Default for RemoteUser {
    fn default() -> Self {
        Self { header: "Remote-User".into(), value: UserValue::Name }
    }
}
