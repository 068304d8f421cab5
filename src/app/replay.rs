//! Reports what detectors would have found in a recorded trail, with the settings and databases of a configuration.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use super::install_crypto;
use super::places::DatabasePlaces;
use crate::config::Config;
use crate::detect::replay::{Replayed, replay as show};
use crate::detect::watch::DetectorRules;
use crate::store::Stamps;
use crate::store::counters::memory::CountersInMemory;
use crate::store::memory::Memory;
use crate::wire::client_ip::TrustedProxies;

/// Reads the trail and passes it to the detectors.
///
/// # Errors
/// If a file cannot be read.
pub fn replay(config: &Config, trail: &Path) -> Result<Replayed, String> {
    install_crypto();
    let rules = DetectorRules {
        settings: config.detect.clone(),
        places: Arc::new(DatabasePlaces::open(&config.geo).map_err(|error| error.to_string())?),
        trusted: TrustedProxies::new(config.trusted_proxies.iter().copied()),
    };
    let unread = |error: std::io::Error| format!("cannot read {}: {error}", trail.display());
    let file = File::open(trail).map_err(unread)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let (stamps, counters) = (Memory::new() as Arc<dyn Stamps>, CountersInMemory::new());
    runtime.block_on(show(rules, stamps, counters, BufReader::new(file))).map_err(unread)
}
