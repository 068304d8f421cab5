//! Tries a configuration without starting it: whether its files, directories and keys can be used, and what its services would
//! get.
//!
//! It writes to no store and no service: of an identity form that would write rows, only the preconditions are checked.

use std::path::Path;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::folder::StateFolder;
use super::{directories, install_crypto, notices, runtime, service_factors};
use crate::caller::{Assurance, Caller, Identity, Known, Proof};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, FormEngine, FormKind, Route, RouteForms};
use crate::directory::Directory;
use crate::django::hashers;
use crate::endpoint::error_pages::ErrorPages;
use crate::identity::IdentityForms;
use crate::issuer::{read_keys, try_out};
use crate::private_file;
use crate::proxy::{Tls, server_tls_problems};
use crate::secret::Secret;
use crate::service::cache::ServiceCache;
use crate::service::database::{DatabaseAccess, Databases, Statement};
use crate::session::service_cookies::ServiceCookies;
use crate::store::memory::Memory;
use crate::telemetry::Metrics;

/// The results, each with its name. It holds secrets, so it implements no `Debug`.
pub struct Examined {
    /// The directories, in their order.
    pub directories: Vec<(String, DirectoryReply)>,
    /// The issuers, and why they cannot be used.
    pub issuers: Vec<(String, Result<(), String>)>,
    /// The identity forms, and what they give for the user.
    pub forms: Vec<(String, Result<FormTrial, String>)>,
}

/// The result of a sign-in by a name and a password.
#[derive(Debug, PartialEq, Eq)]
pub enum SignInTrial {
    /// The user with this id would be signed in.
    User(String),
    /// Nobody would be signed in, for this reason.
    Nobody(&'static str),
    /// The directory leaves the check to the service.
    Asks,
    /// The directory cannot be asked, for this reason.
    Fails(String),
}

/// The answer of a directory.
#[derive(Debug)]
pub enum DirectoryReply {
    /// The directory answers; no user was looked up.
    Answers,
    /// The directory knows the user: the id, and whether they may sign in.
    Knows(String, bool),
    /// The directory has no such user.
    KnowsNot,
    /// The directory checks passwords itself, so nothing can be tried without one.
    ChecksPasswords,
    /// The directory cannot be asked, for this reason.
    Fails(String),
}

/// The result of an identity form.
pub enum FormTrial {
    /// The form gives these header fields. The values are secrets.
    Headers(Vec<(HeaderName, HeaderValue)>),
    /// The form gives nothing for this user, for this reason.
    Refused(String),
    /// The form was not made, because no user was named or it would be written; nothing prevents it.
    Untried,
}

/// Tries everything; `user` is looked up, and the forms are made for them.
///
/// # Errors
/// If nothing could be tried at all.
pub fn examine(config: &Config, user: Option<&str>) -> Result<Examined, String> {
    install_crypto();
    let runtime = runtime(1).map_err(|error| error.to_string())?;
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    let _inside = runtime.enter();
    let databases = Databases::default();
    let opened = directories(config, &databases, &metrics);
    let opened = opened.map_err(|error| error.to_string())?;
    let directories: Vec<Directory> = opened.iter().map(|one| one.directory().clone()).collect();
    let at_services = service_factors::at_services(config, &databases);
    runtime.block_on(async {
        let mut asked = Vec::new();
        let mut found: Option<Arc<Identity>> = None;
        for directory in &directories {
            let missing = service_factors::missing(&at_services, directory.name()).await;
            let said = match missing.is_empty() {
                true => ask(directory, user, &mut found).await,
                false => DirectoryReply::Fails(missing.join("; ")),
            };
            asked.push((directory.name().to_owned(), said));
        }
        let mut issuers = Vec::new();
        for issuer in &config.issuers {
            issuers.push((issuer.name.clone(), try_out(issuer, &databases).await));
        }
        let mut forms = Vec::new();
        for index in 0..config.forms.len() {
            if let Some(form) = config.forms.get(index) {
                let gives = give(config, index, &directories, &databases, found.as_ref()).await;
                forms.push((form.name.clone(), gives));
            }
        }
        Ok(Examined { directories: asked, issuers, forms })
    })
}

/// A problem with a file that a configuration names.
#[derive(Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// The problem, with the file.
    pub what: String,
    /// Whether it keeps the gateway from starting. Otherwise the gateway starts, and waits until the problem is fixed.
    pub stops: bool,
}

/// Checks the files that a configuration names, with the code that reads them at the start. No file is created, and no server
/// is asked.
///
/// # Errors
/// If nothing could be checked at all.
pub fn files(config: &Config) -> Result<Vec<FileProblem>, String> {
    install_crypto();
    let runtime = runtime(1).map_err(|error| error.to_string())?;
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    let _inside = runtime.enter();
    let mut wrong: Vec<String> = Vec::new();
    if let Err(error) = Tls::load(&config.listen.tls) {
        wrong.push(error.to_string());
    }
    wrong.extend(server_tls_problems(&config.upstreams));
    wrong.extend(ErrorPages::load(config).err().map(|error| error.to_string()));
    if let Err(error) = super::places::DatabasePlaces::open(&config.geo) {
        wrong.push(error.to_string());
    }
    wrong.extend(of_state(config));
    wrong.extend(notices::problems(config));
    let databases = Databases::default();
    let mut opened: Vec<Directory> = Vec::new();
    for directory in &config.directories {
        match super::generation::directory(directory, &databases, &metrics) {
            Ok(watched) => opened.push(watched.directory().clone()),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    for issuer in &config.issuers {
        wrong.extend(read_keys(issuer, &databases).err());
    }
    // Forms belong to directories; a directory that could not be opened has been reported.
    for index in 0..if opened.len() == config.directories.len() { config.forms.len() } else { 0 } {
        wrong.extend(read_form(config, index, &opened, &databases).err());
    }
    let stop = wrong.into_iter().map(|what| FileProblem { what, stops: true });
    let wait = databases.trouble().into_iter().map(|what| FileProblem { what, stops: false });
    let useless = super::passkeys::useless_in_file(config);
    let wait = wait.chain(useless.map(|what| FileProblem { what, stops: false }));
    Ok(stop.chain(wait).collect())
}

/// Checks the existing files beside the store, and the place of the audit trail.
fn of_state(config: &Config) -> Vec<String> {
    let state = StateFolder::of(config);
    let mut wrong: Vec<String> = state.existing_operator_token().err().into_iter().collect();
    let mut made =
        vec![state.refresh_key(), state.forms_secret(), config.tokens.signing_key_file.clone()];
    made.extend(config.log.audit_file.as_ref().map(|_| config.log.audit_key_file.clone()));
    for path in made.iter().filter(|path| path.exists()) {
        wrong.extend(private_file::read(path).err().map(|error| error.to_string()));
    }
    let folder = config.log.audit_file.as_deref().and_then(Path::parent);
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        wrong.push(format!("log.audit_file: there is no folder {}", folder.display()));
    }
    wrong
}

/// Reads the key of a form.
fn read_form(
    config: &Config,
    index: usize,
    directories: &[Directory],
    databases: &Databases,
) -> Result<(), String> {
    let form = config.forms.get(index).ok_or("there is no such form")?;
    let named = |why: String| format!("identity.form {}: {why}", form.name);
    match &form.kind {
        FormKind::DjangoSession(settings) => {
            if let FormEngine::Rows { database, .. } = &settings.engine {
                databases.open(database, DatabaseAccess::Write);
            }
            let key = private_file::read(&settings.key_file);
            key.map(drop).map_err(|error| named(error.to_string()))
        }
        FormKind::Cookies(_) => Ok(()),
        FormKind::RemoteUser(_)
        | FormKind::SimpleJwt(_)
        | FormKind::Jwt(_)
        | FormKind::DrfToken(_) => {
            open_alone(config, index, directories, databases).map(drop).map_err(named)
        }
    }
}

/// Returns whom the directories would sign in: the first one that knows the name decides.
///
/// # Errors
/// If nothing could be tried at all.
pub fn try_password(config: &Config, name: &str, password: &Secret) -> Result<SignInTrial, String> {
    install_crypto();
    let runtime = runtime(1).map_err(|error| error.to_string())?;
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    let _inside = runtime.enter();
    let databases = Databases::default();
    let opened = directories(config, &databases, &metrics).map_err(|error| error.to_string())?;
    runtime.block_on(async {
        for directory in opened.iter().map(|one| one.directory()) {
            let Some(directory) = directory.users() else { return Ok(SignInTrial::Asks) };
            let account = match directory.find(name).await {
                Err(error) => return Ok(SignInTrial::Fails(error.to_string())),
                Ok(None) => continue,
                Ok(Some(account)) => account,
            };
            let (given, kept) = (password.expose().as_bytes(), account.password.expose());
            let verdict = hashers::verify(given, kept, &directory.hashers());
            return Ok(match verdict {
                _ if !account.active => SignInTrial::Nobody("may not sign in"),
                hashers::Verdict::Match if account.has_second_factor => {
                    SignInTrial::Nobody("has a second factor")
                }
                hashers::Verdict::Match => SignInTrial::User(account.identity.key.id.to_string()),
                hashers::Verdict::Mismatch | hashers::Verdict::Refused(_) => {
                    SignInTrial::Nobody("wrong password")
                }
            });
        }
        Ok(SignInTrial::Nobody("no such user"))
    })
}

async fn ask(
    directory: &Directory,
    user: Option<&str>,
    found: &mut Option<Arc<Identity>>,
) -> DirectoryReply {
    let Some(users) = directory.users() else { return DirectoryReply::ChecksPasswords };
    match users.missing().await {
        Err(error) => return DirectoryReply::Fails(error.to_string()),
        Ok(missing) if !missing.is_empty() => return DirectoryReply::Fails(missing.join("; ")),
        Ok(_) => {}
    }
    // Without a user, a name that does not exist is looked up, which tests the directory as well.
    match users.find(user.unwrap_or_default()).await {
        Err(error) => DirectoryReply::Fails(error.to_string()),
        Ok(_) if user.is_none() => DirectoryReply::Answers,
        Ok(None) => DirectoryReply::KnowsNot,
        Ok(Some(account)) => {
            let id = account.identity.key.id.to_string();
            // The first directory that knows the name decides, as at a sign-in.
            found.get_or_insert(account.identity);
            DirectoryReply::Knows(id, account.active)
        }
    }
}

/// Returns what one form gives to its user, alone on a route of its own.
async fn give(
    config: &Config,
    index: usize,
    directories: &[Directory],
    databases: &Databases,
    user: Option<&Arc<Identity>>,
) -> Result<FormTrial, String> {
    let form = config.forms.get(index).ok_or("there is no such form")?;
    match &form.kind {
        FormKind::DjangoSession(settings) => {
            private_file::read(&settings.key_file).map_err(|error| error.to_string())?;
            can_keep(&settings.engine, databases).await?;
            return Ok(FormTrial::Untried);
        }
        // Only a sign-in brings such cookies.
        FormKind::Cookies(_) => return Ok(FormTrial::Untried),
        FormKind::RemoteUser(_)
        | FormKind::SimpleJwt(_)
        | FormKind::Jwt(_)
        | FormKind::DrfToken(_) => {}
    }
    let (forms, route) = open_alone(config, index, directories, databases)?;
    let Some(identity) = user else { return Ok(FormTrial::Untried) };
    let known = Known {
        identity: Arc::clone(identity),
        session: None,
        proof: Proof::AccessToken,
        assurance: Assurance::default(),
    };
    let given =
        forms.give(&Caller::Known(known), &route, &HeaderMap::new(), SystemClock.now()).await;
    Ok(match given {
        Ok(given) => FormTrial::Headers(given.headers),
        Err(refusal) => FormTrial::Refused(refusal.detail().to_owned()),
    })
}

/// Opens one form, alone on a route of its own.
fn open_alone(
    config: &Config,
    index: usize,
    directories: &[Directory],
    databases: &Databases,
) -> Result<(IdentityForms, Route), String> {
    let form = config.forms.get(index).ok_or("there is no such form")?;
    let route = config.routes.first().ok_or("there is no route")?;
    let both = RouteForms { bearer: vec![0], cookie: vec![0] };
    let route = Route { index: 0, identity: both, ..route.clone() };
    let alone = Config { forms: vec![form.clone()], routes: vec![route.clone()], ..config.clone() };
    let unused = config.store.path.with_file_name("unused");
    let (sessions, store) = (Memory::new(), Memory::new());
    let kept = Arc::new(ServiceCookies::new(&[0; 32], sessions, store, Vec::new())?);
    let forms = IdentityForms::open(&alone, directories, databases, &kept, &unused, None);
    Ok((forms.map_err(|error| error.reason)?, route))
}

/// Checks whether sessions can be stored there: a statement that matches no row still requires the right to change one.
async fn can_keep(engine: &FormEngine, databases: &Databases) -> Result<(), String> {
    match engine {
        FormEngine::Rows { database, table, .. } => {
            let database = databases.open(database, DatabaseAccess::Write);
            let dialect = database.dialect();
            let (data, key) = (dialect.quoted("session_data")?, dialect.quoted("session_key")?);
            let table = database.table(table)?;
            let nobodys = dialect.placeholder(1);
            let sql = format!("UPDATE {table} SET {data} = {data} WHERE {key} = {nobodys}").into();
            database.change(Statement { sql, parameters: vec![String::new()] }).await.map(drop)
        }
        FormEngine::Cache(cache) => ServiceCache::new(cache).get("").await.map(drop),
        FormEngine::SignedCookies { .. } => Ok(()),
    }
}
