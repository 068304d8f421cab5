//! Implements the commands for when no gateway runs, and what they need to reach one that does.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::folder::{StateFolder, claim_store};
use super::install_crypto;
use super::state::open_store;
use crate::admin::blocks::{block_of, describe_block, describe_blocks, subject_of};
use crate::admin::factors::{describe_factors, describe_invitation};
use crate::admin::tokens::describe_tokens;
use crate::admin::{describe, describe_keys, describe_users};
use crate::caller::{SessionId, UserKey};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::event::EndReason;
use crate::factor::{FactorKey, FactorParts, Factors};
use crate::issuer::end_of_user;
use crate::private_file;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::keys::KeyRing;
use crate::session::mailed_link::void_links;
use crate::store::{Blocked, Session, SessionSelection, Store, StoreError};

/// Returns the operator's token, if a gateway has ever run here.
///
/// # Errors
/// If the token exists and cannot be read.
pub fn operator_token(config: &Config) -> Result<Option<Secret>, String> {
    StateFolder::of(config).existing_operator_token()
}

/// Returns the address of a running gateway's admin listener.
pub fn admin_address(config: &Config) -> String {
    match config.listen.admin.port() {
        0 => StateFolder::of(config).admin_address(),
        _ => None,
    }
    .unwrap_or_else(|| config.listen.admin.to_string())
}

/// Lists the signing keys; the first is created if there is none.
///
/// # Errors
/// If they cannot be read or created.
pub fn list_keys(config: &Config) -> Result<Value, String> {
    Ok(describe_keys(&keys(config)?))
}

/// Creates a new signing key.
///
/// # Errors
/// If it cannot be created.
pub fn rotate_key(config: &Config) -> Result<Value, String> {
    StateFolder::of(config).make()?;
    let _store_is_ours = claim(config)?;
    let kid = keys(config)?.rotate(SystemClock.now()).map_err(|error| error.to_string())?;
    Ok(json!({"kid": kid}))
}

/// Lists the live sessions in the store, of one user (`DIRECTORY/ID`) or of all.
///
/// # Errors
/// If the store cannot be opened or read.
pub fn list_sessions(config: &Config, user: Option<&str>) -> Result<Value, String> {
    let user = user.map(user_key).transpose()?;
    with_store(config, async |store| {
        let sessions = store.sessions.list(user.as_ref(), SystemClock.now()).await;
        let sessions = sessions.map_err(|error| error.to_string())?;
        let sessions = sessions.iter().filter(|session| !session.is_token());
        Ok(json!({"sessions": sessions.map(|session| describe(session)).collect::<Vec<_>>()}))
    })
}

/// Lists all users with this name who have a live session in the store.
///
/// # Errors
/// If the store cannot be opened or read.
pub fn users_called(config: &Config, name: &str) -> Result<Value, String> {
    with_store(config, async |store| {
        let sessions = store.sessions.list(None, SystemClock.now()).await;
        let sessions = sessions.map_err(|error| error.to_string())?;
        let identities = sessions.iter().map(|session| session.identity.load());
        let called = identities.filter(|one| one.name == name).map(|one| one.key.clone());
        let called: std::collections::BTreeSet<UserKey> = called.collect();
        Ok(describe_users(called))
    })
}

/// Ends sessions in the store: `{"session": ID}` or `{"user": "DIRECTORY/ID"}`.
///
/// # Errors
/// If the store cannot be opened or written.
pub fn end_sessions(config: &Config, which: &Value) -> Result<Value, String> {
    let which = match (which["session"].as_str(), which["user"].as_str()) {
        (Some(session), _) => SessionSelection::Session(SessionId::new(session)),
        (None, Some(user)) => SessionSelection::User(user_key(user)?),
        (None, None) => return Err("name a session or a user".into()),
    };
    StateFolder::of(config).make()?;
    let _store_is_ours = claim(config)?;
    with_store(config, async |store| {
        let now = SystemClock.now();
        let failed = |error: StoreError| error.to_string();
        if let SessionSelection::User(user) = &which
            && config.issuers.iter().any(|issuer| issuer.directory == *user.directory)
        {
            store.stamps.put(end_of_user(user, now)).await.map_err(failed)?;
        }
        let ended = store.sessions.end(&which, EndReason::Operator, now).await;
        Ok(json!({"ended": ended.map_err(|error| error.to_string())?.len()}))
    })
}

/// Lists the blocks.
///
/// # Errors
/// If the store cannot be opened or read.
pub fn list_blocks(config: &Config) -> Result<Value, String> {
    with_store(config, async |store| Ok(describe_blocks(&store.blocks.list(), SystemClock.now())))
}

/// Adds a block, with the same input as the operator's API.
///
/// # Errors
/// If the input names no subject, or the store cannot be opened or written.
pub fn block(config: &Config, asked: &Value) -> Result<Value, String> {
    let new = block_of(asked, SystemClock.now()).ok_or("name what to block, and for how long")?;
    StateFolder::of(config).make()?;
    let _store_is_ours = claim(config)?;
    with_store(config, async |store| {
        match store.blocks.block(new).await.map_err(|error| error.to_string())? {
            Blocked::Holds(block) | Blocked::Stands(block) => Ok(describe_block(&block)),
            Blocked::NoRoom => Err("there are too many blocks".into()),
        }
    })
}

/// Lifts a block.
///
/// # Errors
/// If the input names no subject, or the store cannot be opened or written.
pub fn lift(config: &Config, asked: &Value) -> Result<Value, String> {
    let subject = subject_of(asked).ok_or("name whose block to lift")?;
    StateFolder::of(config).make()?;
    let _store_is_ours = claim(config)?;
    with_store(config, async |store| {
        let lifted = store.blocks.lift(&subject).await.map_err(|error| error.to_string())?;
        Ok(json!({"lifted": lifted.is_some()}))
    })
}

/// Lists the second factors of a user (`DIRECTORY/ID`).
///
/// # Errors
/// If the store cannot be opened or read.
pub fn list_factors(config: &Config, user: &str) -> Result<Value, String> {
    let user = user_key(user)?;
    with_store(config, async |store| {
        let kept = store.factors.factors_of(&user).await.map_err(|error| error.to_string())?;
        Ok(describe_factors(&kept))
    })
}

/// Removes a user's second factors, and creates a code to set up another.
///
/// # Errors
/// If the store or the key cannot be opened, or the store cannot be written.
pub fn reset_factors(config: &Config, user: &str) -> Result<Value, String> {
    with_factors(config, user, true)
}

/// Creates a code to set up a second factor.
///
/// # Errors
/// As [`reset_factors`].
pub fn invite(config: &Config, user: &str) -> Result<Value, String> {
    with_factors(config, user, false)
}

fn with_factors(config: &Config, user: &str, resets: bool) -> Result<Value, String> {
    let user = user_key(user)?;
    if !config.second_factor.is_on() {
        return Err("second factors are turned off: set second_factor.mode".into());
    }
    StateFolder::of(config).make()?;
    let _store_is_ours = claim(config)?;
    let secret = private_file::own_secret(&config.second_factor.key_file)?;
    let key = Arc::new(FactorKey::new(&secret)?);
    with_store(config, async |store| {
        let factors = Factors::new(FactorParts {
            store: Arc::clone(&store.factors),
            passkey_store: Arc::clone(&store.passkeys),
            questions: Arc::clone(&store.questions),
            // No passkey is used here.
            passkeys: None,
            key,
            settings: config.second_factor.clone(),
            label: config.login.title.clone(),
            at_services: Vec::new(),
        });
        let administration = factors.administration();
        let (now, failed) = (SystemClock.now(), |refusal: Refusal| refusal.detail().to_owned());
        if resets {
            administration.reset(&user, now).await.map_err(failed)?;
            void_links(&store.stamps, &user, now).await.map_err(|error| error.to_string())?;
            // A running gateway ends the same sessions.
            let which = SessionSelection::SignIns { user: user.clone(), kept: None };
            let ended = store.sessions.end(&which, EndReason::Operator, now).await;
            ended.map_err(|error| error.to_string())?;
            if config.issuers.iter().any(|issuer| issuer.directory == *user.directory) {
                let end = store.stamps.put(end_of_user(&user, now)).await;
                end.map_err(|error| error.to_string())?;
            }
        }
        Ok(describe_invitation(&administration.invite(&user, now).await.map_err(failed)?))
    })
}

/// Lists the personal access tokens in the store, of one user (`DIRECTORY/ID`) or of all.
///
/// # Errors
/// If the store cannot be opened or read.
pub fn list_tokens(config: &Config, user: Option<&str>) -> Result<Value, String> {
    let user = user.map(user_key).transpose()?;
    with_store(config, async |store| {
        let sessions = store.sessions.list(user.as_ref(), SystemClock.now()).await;
        let sessions = sessions.map_err(|error| error.to_string())?;
        let tokens = sessions.iter().map(|session| &**session).filter(|one| one.is_token());
        Ok(describe_tokens(tokens))
    })
}

/// Ends personal access tokens in the store: `{"token": ID}` or `{"user": "DIRECTORY/ID"}`.
///
/// # Errors
/// If the store cannot be opened or written.
pub fn revoke_tokens(config: &Config, which: &Value) -> Result<Value, String> {
    let user = which["user"].as_str().map(user_key).transpose()?;
    let named = which["token"].as_str();
    StateFolder::of(config).make()?;
    let _store_is_ours = claim(config)?;
    with_store(config, async |store| {
        let now = SystemClock.now();
        let sessions = store.sessions.list(user.as_ref(), now).await;
        let sessions = sessions.map_err(|error| error.to_string())?;
        let is_meant = |session: &&Arc<Session>| {
            session.is_token() && (user.is_some() || named == Some(session.id.as_str()))
        };
        let mut revoked = 0;
        for session in sessions.iter().filter(is_meant) {
            let which = SessionSelection::Session(session.id.clone());
            let ended = store.sessions.end(&which, EndReason::Revoked, now).await;
            revoked += ended.map_err(|error| error.to_string())?.len();
        }
        Ok(json!({"revoked": revoked}))
    })
}

/// Copies the store.
///
/// # Errors
/// If it cannot be opened, or the copy cannot be written.
pub fn backup(config: &Config, to: &Path) -> Result<(), String> {
    with_store(config, async |store| {
        store.backup.backup(to).await.map_err(|error| format!("cannot copy the store: {}", error.0))
    })
}

/// Locks the store, because a running gateway does not see changes that are made without it.
fn claim(config: &Config) -> Result<Option<std::fs::File>, String> {
    claim_store(config).map_err(|problem| {
        format!("{problem}, and does not answer at {} (`listen.admin`)", admin_address(config))
    })
}

fn keys(config: &Config) -> Result<KeyRing, String> {
    install_crypto();
    StateFolder::of(config).make()?;
    KeyRing::open(&config.tokens, SystemClock.now()).map_err(|error| error.to_string())
}

fn with_store<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Store) -> Result<T, String>,
) -> Result<T, String> {
    let store = open_store(config).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(work(&store))
}

fn user_key(text: &str) -> Result<UserKey, String> {
    match text.split_once('/') {
        Some((directory, id)) if !directory.is_empty() && !id.is_empty() => {
            Ok(UserKey::new(directory, id))
        }
        _ => Err(format!("{text} is not a user: write DIRECTORY/ID")),
    }
}
