//! Provides factors in memory, and codes as an app shows them.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::totp::TotpSecret;
use super::{Enrolment, FactorKey, FactorParts, Factors, Passkeys};
use crate::clock::Timestamp;
use crate::config::{FactorMode, SecondFactorSettings, StoreSettings};
use crate::secret::Secret;
use crate::store::factors::FactorStore;
use crate::store::memory::Memory;
use crate::store::outbox::Questions;
use crate::store::passkeys::PasskeyStore;

/// Creates factors over this store.
pub(crate) fn factors(
    store: &Arc<Memory>,
    mode: FactorMode,
    change: impl FnOnce(&mut SecondFactorSettings),
) -> Arc<Factors> {
    let mut settings =
        SecondFactorSettings { mode, ..SecondFactorSettings::new(&StoreSettings::default()) };
    change(&mut settings);
    Arc::new(Factors::new(FactorParts {
        store: Arc::clone(store) as Arc<dyn FactorStore>,
        passkey_store: Arc::clone(store) as Arc<dyn PasskeyStore>,
        questions: Arc::clone(store) as Arc<dyn Questions>,
        passkeys: settings.passkeys.as_ref().map(|one| Passkeys::new(one, "").unwrap()),
        key: Arc::new(FactorKey::new(b"a test's secret").unwrap()),
        settings,
        label: "Acme: Sons".into(),
        at_services: Vec::new(),
    }))
}

/// Returns the code that an app shows `steps` time steps later (or earlier) than `at`.
pub(crate) fn code(enrolment: &Enrolment, at: Timestamp, steps: i64) -> Secret {
    let bytes = data_encoding::BASE32_NOPAD.decode(enrolment.secret.expose().as_bytes()).unwrap();
    let step = (at.as_secs() / 30).checked_add_signed(steps).unwrap();
    Secret::new(TotpSecret::new(Zeroizing::new(bytes)).code(step).as_str())
}
