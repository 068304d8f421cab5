//! Reads `[paths]`: the paths that the gateway answers itself.

use super::directory::USERNAME;
use super::raw::{RawItem, RawTable, Wrong};
use super::template::members;
use super::{DirectorySettings, IssuerSettings, Members, RotationPolicy, Shape, alias, values};
use crate::wire::path::{PathMatch, PathPattern};

macro_rules! own_paths {
    ($($own:ident $name:ident $doc:literal)+) => {
        /// A path that the gateway answers itself.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum OwnPath {
            $(#[doc = $doc] $own,)+
        }

        impl OwnPath {
            /// All own paths, in the order of their declaration.
            pub const ALL: [Self; [$(stringify!($own),)+].len()] = [$(Self::$own,)+];

            /// Returns the path's key in `[paths]`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$own => stringify!($name),)+ }
            }

            /// Returns the path's name in metrics and logs; its colon distinguishes it from any route.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$own => concat!("own:", stringify!($name)),)+ }
            }
        }
    };
}

own_paths! {
    Login login "`POST /login`, and `GET /login`, the page."
    Refresh refresh "`POST /refresh`"
    Verify verify "`POST /verify`"
    Logout logout "`POST /logout`"
    LogoutAll logout_all "`POST /logout/all`"
    Blacklist blacklist "`POST` where it is turned on: SimpleJWT's sign-out."
    Session session "`GET /session`"
    Jwks jwks "`GET /.well-known/jwks.json`"
    Incident incident "`GET /incident`, the page that a letter leads to, and `POST`, its answer."
    Account account "`GET /account`, the page on which users manage their account."
    AccountSessions account_sessions "`GET /account/sessions`, and `POST`, which ends some."
    AccountActivity account_activity "`GET /account/activity`"
    AccountDevices account_devices "`GET /account/devices`, and `POST`, which removes some."
    AccountPassword account_password "`GET /account/password`, the form, and `POST`, which changes it."
    SecondFactor second_factor "`POST /login/second-factor`: the second step of a sign-in, or of a confirmation of \
        identity; `GET`, the page for the latter."
    Factors factors "`GET /account/second-factors`, the page on which users manage theirs, and `POST`, its forms."
    FactorsScript factors_script "`GET /account/second-factors.js`, the script of the page with recovery codes."
    PersonalTokens personal_tokens "`GET /account/tokens`, the page on which users manage their personal access \
        tokens, and `POST`, its forms."
    Passkey passkey "`POST /login/passkey`: signing in with a passkey and nothing else."
    PasskeyScript passkey_script "`GET /login/passkey.js`, the script of the pages that use passkeys."
    MailedLink mailed_link "`POST /login/mailed-link`, which requests a sign-in link and opens one; `GET`, the page \
        to which it leads."
}

/// The enabled features to which some own paths belong.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnabledFeatures {
    /// The gateway signs people in.
    pub(super) signs_in: bool,
    /// The gateway sends letters.
    pub(super) sends_mail: bool,
    /// Users have to confirm their identity.
    pub(super) asks_for_factors: bool,
    /// Users have second factors.
    pub(super) has_factors: bool,
    /// A route takes personal access tokens.
    pub(super) takes_tokens: bool,
    /// Passkeys are second factors.
    pub(super) has_passkeys: bool,
    /// Passkeys alone can sign users in.
    pub(super) signs_in_by_passkey: bool,
}

impl OwnPath {
    /// Returns where the path is answered unless `[paths]` moves it; `None` if it is off by default.
    pub const fn default_path(self) -> Option<&'static str> {
        match self {
            Self::Login => Some("/login"),
            Self::Refresh => Some("/refresh"),
            Self::Verify => Some("/verify"),
            Self::Logout => Some("/logout"),
            Self::LogoutAll => Some("/logout/all"),
            // The page for answers to letters exists where letters are sent, those for second factors where these are required,
            // and that for tokens where a route takes them: see `paths`.
            Self::Blacklist
            | Self::Incident
            | Self::Factors
            | Self::FactorsScript
            | Self::PersonalTokens
            | Self::Passkey
            | Self::PasskeyScript
            | Self::MailedLink => None,
            Self::SecondFactor => Some("/login/second-factor"),
            Self::Session => Some("/session"),
            Self::Jwks => Some("/.well-known/jwks.json"),
            Self::Account => Some("/account"),
            Self::AccountSessions => Some("/account/sessions"),
            Self::AccountActivity => Some("/account/activity"),
            Self::AccountDevices => Some("/account/devices"),
            Self::AccountPassword => Some("/account/password"),
        }
    }

    /// Returns what follows the path of the account page, for a part of that page; where the page is off, so are its parts.
    const fn below_account(self) -> Option<&'static str> {
        match self {
            Self::AccountSessions => Some("/sessions"),
            Self::AccountActivity => Some("/activity"),
            Self::AccountDevices => Some("/devices"),
            Self::AccountPassword => Some("/password"),
            Self::Login
            | Self::Refresh
            | Self::Verify
            | Self::Logout
            | Self::LogoutAll
            | Self::Blacklist
            | Self::Session
            | Self::Jwks
            | Self::Incident
            | Self::SecondFactor
            | Self::Factors
            | Self::FactorsScript
            | Self::PersonalTokens
            | Self::Account
            | Self::Passkey
            | Self::PasskeyScript
            | Self::MailedLink => None,
        }
    }
}

/// An entry of `[paths]`: an own path, or an alias of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPathEntry {
    /// The path, which is matched exactly; an alias may have `*` in it.
    pub path: PathPattern,
    /// The own path that is answered there.
    pub own: OwnPath,
    /// For refresh: how refresh tokens are rotated here.
    pub rotation: RotationPolicy,
    /// The shape of its answers.
    pub shape: Shape,
    /// Whether it replaces a path of a service, whose front ends know only the bodies of that service.
    pub is_alias: bool,
    /// For login: further members of the answer.
    pub extra: Members,
    /// For login: the names of the field with a user's name. The first one that a body has is used, and the answer to a body
    /// with none of them says that the first name is missing.
    pub username_fields: Vec<String>,
}

/// The members that an answer to login or refresh, or a refusal, always has.
const ANSWERS: [&str; 8] = [
    "access",
    "refresh",
    "token_type",
    "expires_in",
    "refresh_expires_in",
    "detail",
    "code",
    "request_id",
];

pub(super) const ROTATION: [(&str, RotationPolicy); 2] =
    [("single-use", RotationPolicy::SingleUse), ("none", RotationPolicy::None)];

pub(super) fn paths(
    table: &RawTable<'_>,
    rotation: RotationPolicy,
    issuers: &[IssuerSettings],
    directories: &[DirectorySettings],
    on: EnabledFeatures,
) -> Vec<OwnPathEntry> {
    let mut fields: Vec<String> = Vec::new();
    for directory in directories {
        if !fields.contains(&directory.username_field) {
            fields.push(directory.username_field.clone());
        }
    }
    if fields.is_empty() {
        fields.push(USERNAME.to_owned());
    }
    let fields_of = |own| if own == OwnPath::Login { fields.clone() } else { Vec::new() };
    let mut all: Vec<RawItem<OwnPathEntry>> = Vec::new();
    let mut account: Option<String> = None;
    for own in OwnPath::ALL {
        let key = own.name();
        if table.is_off(key, "a path") {
            continue;
        }
        // Where the service signs people in, the gateway answers only what is configured.
        let is_usual = on.signs_in && own != OwnPath::SecondFactor;
        let default = own.default_path().filter(|_| is_usual);
        // Letters link to these paths, whoever signs people in, and second factors need them as well.
        let default = default.or_else(|| {
            [
                (OwnPath::Incident, on.sends_mail, "/incident"),
                // To change something on the account page, users confirm their identity there.
                (
                    OwnPath::SecondFactor,
                    on.asks_for_factors || account.is_some(),
                    "/login/second-factor",
                ),
                (OwnPath::Factors, on.has_factors, "/account/second-factors"),
                (OwnPath::FactorsScript, on.has_factors, "/account/second-factors.js"),
                (OwnPath::PersonalTokens, on.takes_tokens, "/account/tokens"),
                (OwnPath::Passkey, on.signs_in && on.signs_in_by_passkey, "/login/passkey"),
                (OwnPath::PasskeyScript, on.has_passkeys, "/login/passkey.js"),
                (OwnPath::MailedLink, on.signs_in && on.sends_mail, "/login/mailed-link"),
            ]
            .into_iter()
            .find_map(|(other, is_on, path)| (other == own && is_on).then_some(path))
        });
        let default = match own.below_account() {
            Some(end) => account.as_ref().map(|path| format!("{path}{end}")),
            None => default.map(str::to_owned),
        };
        let path = table
            .text(key, |text| {
                values::canonical_path(text)?;
                exact(text)
            })
            .or_else(|| default.and_then(|path| exact(&path).ok()));
        let Some(path) = path else { continue };
        if own == OwnPath::Account {
            account = Some(path.to_string());
        }
        let value = OwnPathEntry {
            path,
            own,
            rotation,
            shape: Shape::default(),
            is_alias: false,
            extra: Members::default(),
            username_fields: fields_of(own),
        };
        let item = RawItem { value, place: table.place(key) };
        add(table, &mut all, item, table.has(key));
    }
    table.tables("alias", |alias| {
        if let Some(mut entry) = read_alias(alias, rotation, issuers) {
            if entry.username_fields.is_empty() {
                entry.username_fields = fields_of(entry.own);
            }
            add(table, &mut all, RawItem { value: entry, place: alias.place("path") }, true);
        }
    });
    all.into_iter().map(|item| item.value).collect()
}

fn read_alias(
    table: &RawTable<'_>,
    rotation: RotationPolicy,
    issuers: &[IssuerSettings],
) -> Option<OwnPathEntry> {
    table.require("path", "the path where it is answered as well");
    table.require("endpoint", "which of the own paths it stands for");
    let path = table.text("path", exact);
    if let Some(wrong) = path.as_ref().and_then(values::foreign_pattern) {
        table.warn("path", wrong);
    }
    let own = table.choice("endpoint", &OwnPath::ALL.map(|own| (own.name(), own)));
    let own_rotation = table.choice("rotation", &ROTATION);
    if own.is_some_and(|own| own != OwnPath::Refresh) && table.has("rotation") {
        table.error(
            "rotation",
            Wrong::new("only an alias of refresh has a rotation").help("remove it"),
        );
    }
    if own.is_some_and(|own| own != OwnPath::Login) && table.has("extra") {
        table.error(
            "extra",
            Wrong::new("only the answer of an alias of login has further members")
                .help("remove it"),
        );
    }
    let username_field = table.text("username_field", values::field);
    if own.is_some_and(|own| own != OwnPath::Login) && table.has("username_field") {
        table.error(
            "username_field",
            Wrong::new("only an alias of login reads a user's name").help("remove it"),
        );
    }
    let shape = alias::shape(table, own, issuers);
    if !matches!(shape, Shape::SimpleJwt) && table.has("extra") {
        table.error(
            "extra",
            Wrong::new("is for shape = \"simplejwt\"").help("answers set the whole body"),
        );
    }
    let extra = members(table, "extra", |name| ANSWERS.contains(&name));
    let rotation = own_rotation.unwrap_or(rotation);
    let username_fields = username_field.into_iter().collect();
    let is_alias = true;
    Some(OwnPathEntry { path: path?, own: own?, rotation, shape, is_alias, extra, username_fields })
}

fn exact(text: &str) -> Result<PathPattern, Wrong> {
    values::path_pattern(text, PathMatch::Exact)
}

/// Adds a path. Of two that collide, the one in the file is wrong, not the default.
fn add(
    table: &RawTable<'_>,
    all: &mut Vec<RawItem<OwnPathEntry>>,
    item: RawItem<OwnPathEntry>,
    is_written: bool,
) {
    let path = &item.value.path;
    let Some(other) = all.iter().find(|other| other.value.path == *path) else {
        all.push(item);
        return;
    };
    let (wrong, taken_by) = if is_written { (&item, other) } else { (other, &item) };
    table.error_at(
        wrong.place.clone(),
        Wrong::new(format!("{:?} is {} already", path.as_str(), taken_by.place.key))
            .help("each own path and alias needs a path of its own"),
    );
}
