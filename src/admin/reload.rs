//! Reading the configuration again: `POST /reload` on the admin listener, SIGHUP, and a changed file.

use async_trait::async_trait;
use serde_json::{Value, json};

/// Reads the configuration again. Either all of it is served from then on, or nothing has changed.
#[async_trait]
pub trait Reload: Send + Sync {
    /// Reads it now; whoever asks meanwhile waits for their turn.
    async fn reload(&self) -> Reloaded;
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The configuration that is served: 1 since the start.
    pub generation: u64,
    /// Why it is still the one of before; empty: it is the one that was read.
    pub problems: Vec<String>,
    /// What is odd about it and keeps nothing from being served.
    pub warnings: Vec<String>,
    /// Keys that have changed, and count from the next start on.
    pub at_restart: Vec<String>,
}

impl Reloaded {
    /// For the operator.
    pub fn to_json(&self) -> Value {
        json!({
            "generation": self.generation,
            "problems": self.problems,
            "warnings": self.warnings,
            "at_restart": self.at_restart,
        })
    }
}
