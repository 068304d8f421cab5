//! Answers what the settings require.

use std::time::Duration;

use super::Factors;
use crate::caller::Identity;
use crate::config::FactorMode;

/// The policy of the settings. It looks nothing up.
#[derive(Clone, Copy)]
pub struct FactorPolicy<'f>(pub(super) &'f Factors);

impl FactorPolicy<'_> {
    /// Whether anybody is asked for a second factor: by the settings, or by their service if its codes are accepted here.
    pub fn is_on(self) -> bool {
        self.0.settings.is_on() || !self.0.at_services.is_empty()
    }

    /// Returns for how long a browser can be trusted; `None` if it cannot be.
    pub fn trusts_for(self) -> Option<Duration> {
        Some(self.0.settings.trusted_devices).filter(|lifetime| !lifetime.is_zero())
    }

    /// Returns the mode for this user.
    pub fn mode_of(self, user: &Identity) -> FactorMode {
        self.0.settings.mode_of(user)
    }
}
