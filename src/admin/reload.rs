//! Reloading of the configuration: by `POST /reload` on the admin listener, SIGHUP, or a changed file.

use async_trait::async_trait;
use serde_json::{Value, json};

/// Reloads the configuration. Either all of it takes effect, or nothing changes.
#[async_trait]
pub trait Reload: Send + Sync {
    /// Reloads it now; concurrent calls wait for their turn.
    async fn reload(&self) -> Reloaded;
}

/// The result of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The number of the configuration that is now served: 1 since the start.
    pub generation: u64,
    /// Why the previous configuration is still served; empty if the new one is.
    pub problems: Vec<String>,
    /// Oddities of the configuration that do not prevent serving it.
    pub warnings: Vec<String>,
    /// The changed keys that take effect at the next start only.
    pub at_restart: Vec<String>,
}

impl Reloaded {
    /// Describes the result as the operator's API shows it.
    pub fn to_json(&self) -> Value {
        json!({
            "generation": self.generation,
            "problems": self.problems,
            "warnings": self.warnings,
            "at_restart": self.at_restart,
        })
    }
}
