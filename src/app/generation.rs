//! Builds a generation from a checked configuration and the state.
//!
//! Everything that a configuration names is opened here: keys, databases, country files. What is being served changes only when
//! all of it is open, so a configuration that cannot be used results in a list of reasons and nothing else. What has not
//! changed is taken over: a directory with what it knows, an upstream with its addresses, a form with what it has made.

use std::sync::Arc;

use super::places::DatabasePlaces;
use super::service_factors::at_services;
use super::state::State;
use super::{StartError, notices, start_error};
use crate::clock::Timestamp;
use crate::config::{Config, DirectoryKind, DirectorySettings};
use crate::directory::Directory;
use crate::directory::django::DjangoDirectory;
use crate::directory::file::FileDirectory;
use crate::directory::http::HttpDirectory;
use crate::directory::password::PasswordPool;
use crate::endpoint::error_pages::ErrorPages;
use crate::factor::{FactorKey, FactorParts, Factors, Passkeys};
use crate::geo::Places;
use crate::identity::{IdentityForms, IdentityHeaders};
use crate::issuer::{IssuerParts, Issuers};
use crate::notify::Channels;
use crate::private_file;
use crate::proxy::{Generation, GenerationParts};
use crate::service::database::{DatabaseAccess, Databases};
use crate::session::cookies::CookieNames;
use crate::session::keys::KeyRing;
use crate::session::personal_token::PersonalTokenRules;
use crate::session::service_cookies::ServiceCookies;
use crate::session::{SessionManager, SessionParts, WatchedDirectory};
use crate::store::notifying::SessionEnded;
use crate::telemetry::{Metrics, Names, timed_directory};

/// A generation, with what the next one may take over from it.
pub(super) struct Built {
    pub(super) config: Config,
    pub(super) directories: Vec<(DirectorySettings, Directory)>,
    pub(super) passwords: PasswordPool,
    pub(super) places: Arc<DatabasePlaces>,
    pub(super) forms: Arc<IdentityForms>,
    channels: Arc<Channels>,
    kept: Arc<ServiceCookies>,
}

impl Built {
    /// Opens everything that the configuration names, to replace what is served now.
    pub(super) fn open(
        config: Config,
        state: &State,
        now: Timestamp,
        before: Option<(&Self, &Generation)>,
    ) -> Result<(Self, Generation), StartError> {
        let (built, serving) = before.unzip();
        let watched = watched(&config, state, built, serving)?;
        let asked: Vec<_> = watched.iter().map(|one| one.directory().clone()).collect();
        let places = Arc::new(DatabasePlaces::open(&config.geo)?);
        let is_same_pool = |built: &&Self| {
            let pool = |config: &Config| (config.login.hash_threads, config.login.hash_queue);
            pool(&built.config) == pool(&config)
        };
        let passwords = match built.filter(is_same_pool) {
            Some(built) => built.passwords.clone(),
            None => PasswordPool::start(config.login.hash_threads, config.login.hash_queue)
                .map_err(start_error)?,
        };
        let kept = Arc::new(state.kept.of(asked.clone()));
        let secret = state.folder.forms_secret();
        let forms_before = built.map(|built| &*built.forms);
        let forms =
            IdentityForms::open(&config, &asked, &state.databases, &kept, &secret, forms_before);
        let forms = Arc::new(forms.map_err(start_error)?);
        let stamps = Arc::clone(&state.store.stamps);
        let issuers =
            IssuerParts::open(&config.issuers, &watched, &state.databases, stamps, &state.issuers);
        let issuers = issuers.map_err(start_error)?;
        let sessions = Arc::new(SessionManager::new(SessionParts {
            store: Arc::clone(&state.store.sessions),
            refresh_tokens: Arc::clone(&state.store.refresh_tokens),
            blocks: Arc::clone(&state.store.blocks),
            devices: Arc::clone(&state.devices),
            places: Arc::clone(&places) as Arc<dyn Places>,
            kept: Arc::clone(&kept),
            ends: issuers.ends(),
            mints: issuers.mints(),
            factors: Arc::new(factors(&config, state)?),
            records: Arc::clone(&state.store.records),
            account_notes: state.account_notes.clone(),
            directories: watched,
            passwords: passwords.clone(),
            keys: KeyRing::open(&config.tokens, now).map_err(start_error)?,
            refresh_key: Arc::clone(&state.refresh_key),
            tokens: config.tokens.clone(),
            session: config.session.clone(),
            personal_tokens: PersonalTokenRules::of(&config),
            cookies: CookieNames::of(&config),
            login: config.login.clone(),
            state: state.sessions.clone(),
        }));
        let issuers = Issuers::new(issuers, sessions, Arc::clone(&state.store.sessions));
        let issuers = Arc::new(issuers);
        let generation = Generation::new(GenerationParts {
            config: &config,
            issuers: Arc::clone(&issuers),
            answers: state.answers.clone(),
            letters: state.letters.clone(),
            identity: IdentityHeaders::new(&config.identity).map_err(start_error)?,
            forms: Arc::clone(&forms),
            error_pages: ErrorPages::load(&config).map_err(start_error)?,
            labels: state.metrics.labels(Names::of(&config)),
            before: serving,
        })
        .map_err(start_error)?;
        let channels = Arc::new(notices::channels(
            &config,
            &asked,
            issuers.sessions(),
            &state.store,
            &state.metrics,
        )?);
        let directories = config.directories.iter().cloned().zip(asked).collect();
        Ok((Self { config, directories, passwords, places, forms, channels, kept }, generation))
    }

    /// Returns the channels of notices.
    pub(super) fn channels(&self) -> Arc<Channels> {
        Arc::clone(&self.channels)
    }

    /// Returns what must be notified of the end of a session.
    pub(super) fn hooks(&self) -> Vec<Arc<dyn SessionEnded>> {
        vec![
            Arc::clone(&self.forms) as Arc<dyn SessionEnded>,
            Arc::clone(&self.kept) as Arc<dyn SessionEnded>,
        ]
    }
}

/// Opens the second factors. There is no key file where the store is in memory, or where nobody is asked for a second factor.
fn factors(config: &Config, state: &State) -> Result<Factors, StartError> {
    let settings = config.second_factor.clone();
    let at_services = at_services(config, &state.databases);
    let is_on = settings.is_on() || !at_services.is_empty();
    let key = if is_on && config.store.kind.survives_restarts() {
        let secret = private_file::own_secret(&settings.key_file).map_err(start_error)?;
        FactorKey::new(&secret)
    } else {
        FactorKey::new(&state.secret)
    };
    let passkeys = settings.passkeys.as_ref();
    let passkeys = passkeys.map(|one| Passkeys::new(one, &config.login.title));
    Ok(Factors::new(FactorParts {
        store: Arc::clone(&state.store.factors),
        passkey_store: Arc::clone(&state.store.passkeys),
        questions: Arc::clone(&state.store.questions),
        passkeys: passkeys.transpose().map_err(start_error)?,
        key: Arc::new(key.map_err(start_error)?),
        settings,
        label: config.login.title.clone(),
        at_services,
    }))
}

/// Opens the directories; those that have not changed are taken over.
fn watched(
    config: &Config,
    state: &State,
    built: Option<&Built>,
    serving: Option<&Generation>,
) -> Result<Vec<WatchedDirectory>, StartError> {
    let one = |settings: &DirectorySettings| {
        let mut before = built.into_iter().flat_map(|built| &built.directories);
        let same = before.find(|(other, _)| other == settings);
        let new = match same {
            Some((_, same)) => WatchedDirectory::new(same.clone(), settings.refresh_interval)
                .with_settings(settings),
            None => directory(settings, &state.databases, &state.metrics)?,
        };
        let earlier = serving.and_then(|one| one.sessions().directory(&settings.name));
        Ok(match earlier {
            Some(earlier) => new.in_place_of(earlier),
            None => new,
        })
    };
    config.directories.iter().map(one).collect()
}

/// Opens all directories, as at the start.
pub(super) fn directories(
    config: &Config,
    databases: &Databases,
    metrics: &Metrics,
) -> Result<Vec<WatchedDirectory>, StartError> {
    config.directories.iter().map(|settings| directory(settings, databases, metrics)).collect()
}

pub(super) fn directory(
    settings: &DirectorySettings,
    databases: &Databases,
    metrics: &Metrics,
) -> Result<WatchedDirectory, StartError> {
    let found = match &settings.kind {
        DirectoryKind::File { path } => {
            let opened = FileDirectory::open(&settings.name, path);
            Directory::Users(Arc::new(opened.map_err(start_error)?))
        }
        DirectoryKind::Http(http) => {
            let opened = HttpDirectory::new(&settings.name, http);
            Directory::Service(Arc::new(opened.map_err(start_error)?))
        }
        DirectoryKind::Django(django) => {
            let database = databases.open(&django.database, DatabaseAccess::Read);
            let opened = DjangoDirectory::new(&settings.name, django, database);
            Directory::Users(Arc::new(opened.map_err(start_error)?))
        }
    };
    let timed = timed_directory(found, metrics);
    Ok(WatchedDirectory::new(timed, settings.refresh_interval).with_settings(settings))
}
