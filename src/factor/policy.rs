//! What the settings ask for.

use std::time::Duration;

use super::Factors;
use crate::caller::Identity;
use crate::config::FactorMode;

/// Answers from the settings alone; nothing is looked up.
#[derive(Clone, Copy)]
pub struct FactorPolicy<'f>(pub(super) &'f Factors);

impl FactorPolicy<'_> {
    /// Is anybody asked for a second factor? By the settings, or because their service asks them and its codes are taken here.
    pub fn is_on(self) -> bool {
        self.0.settings.is_on() || !self.0.at_services.is_empty()
    }

    /// For how long a browser can be trusted; `None`: not at all.
    pub fn trusts_for(self) -> Option<Duration> {
        Some(self.0.settings.trusted_devices).filter(|lifetime| !lifetime.is_zero())
    }

    /// What holds for this user.
    pub fn mode_of(self, user: &Identity) -> FactorMode {
        self.0.settings.mode_of(user)
    }
}
