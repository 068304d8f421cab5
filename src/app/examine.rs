//! A configuration tried without starting it: are its files there, its directories, its keys usable, and what would its
//! services get?
//!
//! Nothing is written, in no store and no service: an identity form that makes rows is only looked at.

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

/// What came of it; each with its name. It holds secrets, so that nothing prints it.
pub struct Examined {
    /// Directories, in their order.
    pub directories: Vec<(String, DirectoryReply)>,
    /// Issuers, and why they cannot be used.
    pub issuers: Vec<(String, Result<(), String>)>,
    /// Identity forms, and what they give for the user.
    pub forms: Vec<(String, Result<FormTrial, String>)>,
}

/// What a sign-in by a name and a password would come to.
#[derive(Debug, PartialEq, Eq)]
pub enum SignInTrial {
    /// The user's id.
    User(String),
    /// Nobody, and why.
    Nobody(&'static str),
    /// The directory leaves that to the service.
    Asks,
    /// It cannot be asked.
    Fails(String),
}

/// What a directory said.
#[derive(Debug)]
pub enum DirectoryReply {
    /// It answers; nobody was asked for.
    Answers,
    /// It knows the user: the id, and whether they may sign in.
    Knows(String, bool),
    /// It has no such user.
    KnowsNot,
    /// It checks passwords itself, so that nothing can be tried without one.
    ChecksPasswords,
    /// It cannot be asked.
    Fails(String),
}

/// What a form gives.
pub enum FormTrial {
    /// These header fields. The values are secrets.
    Headers(Vec<(HeaderName, HeaderValue)>),
    /// Nothing for this user, and why.
    Refused(String),
    /// It was not made, because nobody was asked for or it would be written; nothing is in its way.
    Untried,
}

/// Tries everything; `user` is looked up, and is who the forms are made for.
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

/// Something about a file that a configuration names.
#[derive(Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// What is wrong, with the file.
    pub what: String,
    /// Does it keep the gateway from starting? Or does the gateway start, and wait until it is mended?
    pub stops: bool,
}

/// Looks at the files that a configuration names, with the code that reads them at the start. Nothing is made, and nobody
/// is asked.
///
/// # Errors
/// If nothing could be looked at at all.
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
    // Forms belong to directories, and without one that has been told.
    for index in 0..if opened.len() == config.directories.len() { config.forms.len() } else { 0 } {
        wrong.extend(read_form(config, index, &opened, &databases).err());
    }
    let stop = wrong.into_iter().map(|what| FileProblem { what, stops: true });
    let wait = databases.trouble().into_iter().map(|what| FileProblem { what, stops: false });
    let useless = super::passkeys::useless_in_file(config);
    let wait = wait.chain(useless.map(|what| FileProblem { what, stops: false }));
    Ok(stop.chain(wait).collect())
}

/// What lies beside the store, as far as it has been made, and where the audit trail goes.
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

/// The key of a form.
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

/// Whom the directories would sign in: the first that knows the name decides.
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
                    SignInTrial::Nobody("not the password")
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
    // An unknown name is a look-up like any other.
    match users.find(user.unwrap_or_default()).await {
        Err(error) => DirectoryReply::Fails(error.to_string()),
        Ok(_) if user.is_none() => DirectoryReply::Answers,
        Ok(None) => DirectoryReply::KnowsNot,
        Ok(Some(account)) => {
            let id = account.identity.key.id.to_string();
            // The first that knows the name decides, as at a sign-in.
            found.get_or_insert(account.identity);
            DirectoryReply::Knows(id, account.active)
        }
    }
}

/// What one form gives to its user, alone on a route of its own.
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
        // Only a sign-in brings any.
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

/// One form, alone on a route of its own.
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

/// Could sessions be kept there? A row that nobody has is changed into itself, which takes the right to change one.
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
