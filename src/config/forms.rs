//! Reads `[[identity.form]]`: how an unchanged service learns who is calling, in addition to the headers of `[identity]`.

use std::path::Path;

use super::form_jwt::{hand_made, simplejwt};
use super::form_session::{django_session, drf_token};
use super::raw::{RawItem, RawTable, Wrong, nearest};
use super::{
    DirectorySettings, DjangoSession, DrfToken, HandMadeJwt, IdentityHeaderNames,
    SimpleJwtFormSettings, values,
};
use crate::caller::Proof;
use crate::wire::forward::fold;

/// An `[[identity.form]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityForm {
    /// The name that routes use.
    pub name: String,
    /// The directory whose users the service knows by this form; none: any directory.
    pub directory: Option<String>,
    /// The kind, with the settings that only it has.
    pub kind: FormKind,
}

/// The kinds of form.
#[derive(Clone, Debug, PartialEq)]
pub enum FormKind {
    /// `kind = "remote-user"`
    RemoteUser(RemoteUserSettings),
    /// `kind = "simplejwt"`
    SimpleJwt(Box<SimpleJwtFormSettings>),
    /// `kind = "jwt"`
    Jwt(Box<HandMadeJwt>),
    /// `kind = "django-session"`
    DjangoSession(Box<DjangoSession>),
    /// `kind = "drf-token"`
    DrfToken(Box<DrfToken>),
    /// `kind = "cookies"`
    Cookies(CookiesForm),
}

/// `kind = "cookies"`: the cookies that the service set when its user signed in through an `http` directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookiesForm {
    /// The names of the cookies that the client does not get; empty: all that the service set at the sign-in.
    pub cookies: Vec<String>,
    /// The cookie without which the service recognizes nobody.
    pub session_cookie: String,
    /// Where the service redirects callers who have no session there.
    pub login_path: Option<String>,
}

impl IdentityForm {
    /// Returns the file of the form's key.
    pub fn key_file(&self) -> Option<&Path> {
        match &self.kind {
            FormKind::SimpleJwt(settings) => Some(&settings.key.file),
            FormKind::Jwt(settings) => Some(&settings.key.file),
            FormKind::DjangoSession(settings) => Some(&settings.key_file),
            FormKind::RemoteUser(_) | FormKind::DrfToken(_) | FormKind::Cookies(_) => None,
        }
    }
}

/// `kind = "remote-user"`: a header that the service takes for its web server's own authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUserSettings {
    /// The header.
    pub header: String,
    /// The value of the header.
    pub value: UserValue,
}

/// The value that identifies a user.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum UserValue {
    /// The name that the user signs in with.
    #[default]
    Name,
    /// The user's id in the directory.
    Id,
}

/// `route.identity`: a route's forms by the caller's credential, as indexes into [`super::Config::forms`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteForms {
    /// For a caller with a token.
    pub bearer: Vec<usize>,
    /// For a caller with the session cookie.
    pub cookie: Vec<usize>,
}

impl RouteForms {
    /// Returns the forms for a caller with this proof.
    pub fn of(&self, proof: Proof) -> &[usize] {
        if proof.is_cookie() { &self.cookie } else { &self.bearer }
    }

    /// Returns each form that some caller gets.
    pub fn all(&self) -> impl Iterator<Item = usize> {
        self.bearer.iter().chain(&self.cookie).copied()
    }
}

impl FormKind {
    /// Returns the header that the form sets.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::RemoteUser(form) => Some(&form.header),
            Self::SimpleJwt(form) => Some(&form.header),
            Self::Jwt(form) => Some(&form.header),
            Self::DrfToken(form) => Some(&form.header),
            Self::DjangoSession(_) | Self::Cookies(_) => None,
        }
    }

    /// Returns the cookies that the form sets, as far as the configuration names them.
    pub fn cookies(&self) -> impl Iterator<Item = &str> {
        let (one, more): (Option<&String>, &[String]) = match self {
            Self::DjangoSession(form) => (Some(&form.cookie), &[]),
            Self::Cookies(form) => (Some(&form.session_cookie), &form.cookies),
            Self::RemoteUser(_) | Self::SimpleJwt(_) | Self::Jwt(_) | Self::DrfToken(_) => {
                (None, &[])
            }
        };
        let more = more.iter().filter(move |name| Some(*name) != one);
        one.into_iter().chain(more).map(String::as_str)
    }
}

impl Default for RemoteUserSettings {
    fn default() -> Self {
        Self { header: "Remote-User".into(), value: UserValue::Name }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum FormKindKey {
    RemoteUser,
    SimpleJwt,
    Jwt,
    DjangoSession,
    DrfToken,
    Cookies,
}

const KINDS: [(&str, FormKindKey); 6] = [
    ("remote-user", FormKindKey::RemoteUser),
    ("simplejwt", FormKindKey::SimpleJwt),
    ("jwt", FormKindKey::Jwt),
    ("django-session", FormKindKey::DjangoSession),
    ("drf-token", FormKindKey::DrfToken),
    ("cookies", FormKindKey::Cookies),
];

/// Keys besides those that every kind has, each with its kinds.
const KEYS: [(&str, &[&str]); 35] = [
    ("header", &["remote-user", "simplejwt", "jwt", "drf-token"]),
    ("value", &["remote-user"]),
    ("algorithm", &["simplejwt", "jwt"]),
    ("key_file", &["simplejwt", "jwt", "django-session"]),
    ("danger_weak_key", &["simplejwt", "jwt"]),
    ("lifetime", &["simplejwt", "jwt", "django-session"]),
    ("user_id_claim", &["simplejwt", "jwt"]),
    ("claims", &["simplejwt", "jwt"]),
    ("scheme", &["simplejwt", "drf-token"]),
    ("audience", &["simplejwt"]),
    ("issuer", &["simplejwt"]),
    ("check_revoke_token", &["simplejwt"]),
    ("token_type", &["simplejwt"]),
    ("engine", &["django-session"]),
    ("database", &["django-session"]),
    ("password_file", &["django-session"]),
    ("tls", &["django-session"]),
    ("ca_file", &["django-session"]),
    ("connect_timeout", &["django-session"]),
    ("query_timeout", &["django-session"]),
    ("max_connections", &["django-session"]),
    ("session_table", &["django-session"]),
    ("cookie", &["django-session"]),
    ("backend", &["django-session"]),
    ("last_login", &["django-session"]),
    ("cache", &["django-session"]),
    ("cache_password_file", &["django-session"]),
    ("cache_prefix", &["django-session"]),
    ("cache_version", &["django-session"]),
    ("max_age", &["django-session"]),
    ("table", &["drf-token"]),
    ("cache_for", &["drf-token"]),
    ("missing", &["drf-token"]),
    ("cookies", &["cookies"]),
    ("login_path", &["cookies"]),
];

const VALUES: [(&str, UserValue); 2] = [("name", UserValue::Name), ("id", UserValue::Id)];

/// Reads all forms, each with the place of its name. `identity` is the table that contains them.
pub(super) fn forms(
    identity: &RawTable<'_>,
    headers: &IdentityHeaderNames,
    directories: &[DirectorySettings],
) -> Vec<RawItem<IdentityForm>> {
    let mut all: Vec<RawItem<IdentityForm>> = Vec::new();
    identity.tables("form", |table| {
        table.require("name", "a name for routes to use, like \"drf\"");
        table.require("kind", &format!("allowed: {}", listed(KINDS.iter().map(|(word, _)| *word))));
        let name = table.text("name", values::name).unwrap_or_default();
        if !name.is_empty() && all.iter().any(|other| other.value.name == name) {
            table.error("name", Wrong::new(format!("{name:?} is another form's name")));
        }
        let kind = table.choice("kind", &KINDS);
        let word =
            kind.and_then(|kind| KINDS.iter().find(|(_, one)| *one == kind)).map(|one| one.0);
        for (key, kinds) in KEYS {
            match word {
                Some(word) if kinds.contains(&word) => {}
                Some(word) => table.refuse(
                    &[key],
                    &format!("a form of the kind {word} has no such key"),
                    &format!("it is for {}", listed(kinds.iter().copied())),
                ),
                // Without a kind, it is not known which keys the form may have.
                None => table.pass_over(&[key]),
            }
        }
        // Some forms use the database of their directory.
        let needs_directory =
            matches!(kind, Some(FormKindKey::DjangoSession | FormKindKey::DrfToken));
        let known = needs_directory.then(|| directory(table, false, directories));
        let settings = known.as_ref().and_then(Option::as_ref);
        let settings = settings.and_then(|name| directories.iter().find(|one| one.name == **name));
        let kind = match kind {
            Some(FormKindKey::RemoteUser) => FormKind::RemoteUser(remote_user(table)),
            Some(FormKindKey::SimpleJwt) => FormKind::SimpleJwt(Box::new(simplejwt(table))),
            Some(FormKindKey::Jwt) => FormKind::Jwt(Box::new(hand_made(table))),
            Some(FormKindKey::DjangoSession) => {
                FormKind::DjangoSession(Box::new(django_session(table, settings)))
            }
            Some(FormKindKey::DrfToken) => FormKind::DrfToken(Box::new(drf_token(table, settings))),
            Some(FormKindKey::Cookies) => FormKind::Cookies(cookies(table, directories)),
            None => FormKind::RemoteUser(RemoteUserSettings::default()),
        };
        if let (Some(header), true) = (kind.header(), table.has("kind")) {
            refuse_taken(table, header, headers);
        }
        let any_will_do =
            matches!(kind, FormKind::RemoteUser(RemoteUserSettings { value: UserValue::Name, .. }));
        let directory = known.unwrap_or_else(|| directory(table, any_will_do, directories));
        let named = |name: &String| directories.iter().find(|one| one.name == *name);
        refuse_unfit(table, &kind, directory.as_ref().map_or(directories.first(), named));
        all.push(RawItem {
            value: IdentityForm { name, directory, kind },
            place: table.place("name"),
        });
    });
    all
}

fn remote_user(table: &RawTable<'_>) -> RemoteUserSettings {
    let default = RemoteUserSettings::default();
    RemoteUserSettings {
        header: table.text("header", values::form_header).unwrap_or(default.header),
        value: table.choice("value", &VALUES).unwrap_or(default.value),
    }
}

fn cookies(table: &RawTable<'_>, directories: &[DirectorySettings]) -> CookiesForm {
    let cookies = table.values("cookies", values::cookie).unwrap_or_default();
    let named = table.text("directory", |name| Ok(name.to_owned()));
    let ours = directories.iter().find(|one| named.as_ref().is_none_or(|name| one.name == *name));
    let ours = ours.and_then(DirectorySettings::http);
    let set_at_sign_in = ours.and_then(|http| http.success.cookie.clone());
    let session_cookie = match (set_at_sign_in, cookies.first()) {
        (Some(set), None) => set,
        (Some(set), Some(_)) if cookies.contains(&set) => set,
        (_, Some(first)) => first.clone(),
        (None, None) if table.has("cookies") => String::new(),
        (None, None) => {
            table.error(
                "cookies",
                Wrong::new("is missing: the cookie of the service's session must be named")
                    .help("for example: cookies = [\"PHPSESSID\"]"),
            );
            String::new()
        }
    };
    let login_path = table.text("login_path", values::canonical_path);
    CookiesForm { cookies, session_cookie, login_path: login_path.map(|path| path.to_string()) }
}

fn refuse_taken(table: &RawTable<'_>, header: &str, headers: &IdentityHeaderNames) {
    let folded = fold(header);
    if headers.names().any(|name| fold(name) == folded) {
        table.error(
            "header",
            Wrong::new(format!("{header:?} is set by [identity] already"))
                .help("turn it off there with \"\", or choose another name"),
        );
    }
}

/// Reads the directory: two directories may both have a user 1, and the service has the users of only one of them.
fn directory(
    table: &RawTable<'_>,
    any_will_do: bool,
    directories: &[DirectorySettings],
) -> Option<String> {
    let names = || directories.iter().map(|directory| directory.name.as_str());
    let given = table.text("directory", |text| {
        if names().any(|name| name == text) {
            return Ok(text.to_owned());
        }
        let wrong = Wrong::new(format!("there is no directory {text:?}"));
        Err(match nearest(text, names()) {
            Some(meant) => wrong.help(format!("did you mean {meant:?}?")),
            None => wrong.help(format!("the directories are: {}", listed(names()))),
        })
    });
    match directories {
        _ if table.has("directory") || any_will_do => given,
        [] => None,
        [one] => Some(one.name.clone()),
        _ => {
            table.error(
                "directory",
                Wrong::new("is missing: two directories may have users of the same id")
                    .help(format!("say whose users the service has: {}", listed(names()))),
            );
            None
        }
    }
}

/// Refuses a form that does not fit the directory: only an `http` directory gets cookies, and it has no password hashes.
fn refuse_unfit(table: &RawTable<'_>, kind: &FormKind, directory: Option<&DirectorySettings>) {
    let Some(directory) = directory else { return };
    let is_http = directory.http().is_some();
    let key = if table.has("directory") { "directory" } else { "kind" };
    match kind {
        FormKind::Cookies(_) if !is_http => table.error(
            key,
            Wrong::new(format!("no service gives cookies to users of {:?}", directory.name))
                .help("this form is for a directory of kind = \"http\""),
        ),
        FormKind::DjangoSession(_) if is_http => table.error(
            key,
            Wrong::new(format!(
                "{:?} has no password hashes, which Django's sessions need",
                directory.name
            ))
            .help("use kind = \"cookies\": the session that the service made itself"),
        ),
        FormKind::SimpleJwt(form) if is_http && form.check_revoke_token => table.error(
            "check_revoke_token",
            Wrong::new(format!("{:?} has no password hashes, which this needs", directory.name)),
        ),
        _ => {}
    }
}

/// Reads `route.identity`: one name, a list of names, or a table with these for `bearer` and `cookie`.
pub(super) fn of_route(route: &RawTable<'_>, forms: &[RawItem<IdentityForm>]) -> RouteForms {
    if route.is_table_or_absent("identity") {
        return route.table("identity", |table| RouteForms {
            bearer: named(table, "bearer", forms),
            cookie: named(table, "cookie", forms),
        });
    }
    let both = named(route, "identity", forms);
    RouteForms { bearer: both.clone(), cookie: both }
}

fn named(table: &RawTable<'_>, key: &'static str, forms: &[RawItem<IdentityForm>]) -> Vec<usize> {
    let find = |text: &str| {
        let names = || forms.iter().map(|form| form.value.name.as_str());
        names().position(|name| name == text).ok_or_else(|| {
            let wrong = Wrong::new(format!("there is no identity form {text:?}"));
            match (nearest(text, names()), forms.is_empty()) {
                (_, true) => wrong.help("it needs an [[identity.form]] block of that name"),
                (Some(meant), _) => wrong.help(format!("did you mean {meant:?}?")),
                (None, _) => wrong.help(format!("the forms are: {}", listed(names()))),
            }
        })
    };
    let all: Vec<usize> = table.one_or_more(key, find);
    let mut seen: Vec<(&IdentityForm, String)> = Vec::new();
    for form in all.iter().filter_map(|index| forms.get(*index)).map(|form| &form.value) {
        let carries = form.kind.header().into_iter().chain(form.kind.cookies());
        for carrier in carries.map(|name| fold(name).into_owned()) {
            if let Some((other, _)) = seen.iter().find(|(_, taken)| *taken == carrier) {
                table.error(
                    key,
                    Wrong::new(format!(
                        "the forms {:?} and {:?} both set {carrier}",
                        other.name, form.name
                    )),
                );
            }
            seen.push((form, carrier));
        }
    }
    all
}

/// Warns of forms that no route uses.
pub(super) fn warn_of_unused<'r>(
    root: &RawTable<'_>,
    forms: &[RawItem<IdentityForm>],
    routes: impl Iterator<Item = &'r RouteForms> + Clone,
) {
    for (index, form) in forms.iter().enumerate() {
        // A missing name has been reported already.
        if !form.value.name.is_empty()
            && !routes.clone().any(|route| route.all().any(|used| used == index))
        {
            root.warn_at(
                form.place.clone(),
                Wrong::new(format!("no route uses the form {:?}", form.value.name)),
            );
        }
    }
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}
