//! Reports passkeys that nobody can use, because the RP ID has changed or passkeys are off: at the start, after a reload, and
//! in `doorwarden check`.

use crate::config::{Config, PasskeySettings, StoreKind};
use crate::session::SessionManager;
use crate::store::embedded;

/// Returns the report on an open store, if there is something to report.
pub(super) async fn useless(
    sessions: &SessionManager,
    settings: Option<&PasskeySettings>,
) -> Option<String> {
    let count = sessions.factors().passkeys().count_useless().await.ok()?;
    told(count, settings)
}

/// Returns the same report on a store that another process may have open. Nothing is written.
pub(super) fn useless_in_file(config: &Config) -> Option<String> {
    if config.store.kind != StoreKind::Embedded || !config.store.path.exists() {
        return None;
    }
    let settings = config.second_factor.passkeys.as_ref();
    let rp_id = settings.map_or("", |settings| &settings.rp_id);
    // If the store cannot be read, the start reports that better.
    told(embedded::passkeys_elsewhere_in(&config.store.path, rp_id)?, settings)
}

fn told(count: u64, settings: Option<&PasskeySettings>) -> Option<String> {
    if count == 0 {
        return None;
    }
    let (have, why) = match settings {
        Some(PasskeySettings { rp_id, .. }) => {
            ("belong", format!("to another RP ID than {rp_id:?} (second_factor.passkeys.rp_id)"))
        }
        None => ("are there", "while second_factor.passkeys is off".to_owned()),
    };
    Some(format!(
        "{count} passkeys in the store {have} {why}, and no longer work: their owners sign in with another factor or a \
         recovery code, or an operator resets their factors with `doorwarden user second-factor reset`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_why_they_are_useless() {
        let settings = PasskeySettings {
            rp_id: "new.example".into(),
            rp_name: String::new(),
            origins: Vec::new(),
            sign_in: true,
        };
        assert_eq!(told(0, Some(&settings)), None);
        let said = told(3, Some(&settings)).unwrap();
        assert!(
            said.starts_with(
                "3 passkeys in the store belong to another RP ID than \"new.example\""
            ),
            "{said}"
        );
        let said = told(1, None).unwrap();
        assert!(said.contains("while second_factor.passkeys is off"), "{said}");
    }
}
