//! Finds the places of addresses in the databases that `[geo]` names, which are read again when their files change: to update
//! them, it is enough to replace the files.
//!
//! If a new file cannot be used, the previous databases stay in use, and the log says so once.

use std::fs::Metadata;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::reload::Reloader;
use super::{StartError, start_error};
use crate::config::Geo;
use crate::geo::{Asn, Country, GeoDatabaseKind, GeoDatabases, GeoError, Location, Mmdb, Places};
use crate::wire::accept::Language;

/// How often the files are checked for changes.
const TICK: Duration = Duration::from_secs(1);

/// What distinguishes each file from the one that it replaced.
type FileStates = [Option<(u64, i64, i64, u64)>; 3];

/// The databases in use; see the head of this module.
pub(super) struct DatabasePlaces {
    geo: Geo,
    databases: ArcSwap<GeoDatabases>,
    seen: Mutex<SeenFiles>,
}

/// The states of the files.
struct SeenFiles {
    /// Their states when they were last read, or could not be read.
    read: FileStates,
    /// Their states at the last check: a file that is being written differs from one check to the next.
    last: FileStates,
}

impl DatabasePlaces {
    /// Reads the databases.
    pub(super) fn open(geo: &Geo) -> Result<Self, StartError> {
        let read = states(geo);
        let databases = ArcSwap::from_pointee(databases(geo).map_err(start_error)?);
        Ok(Self { geo: geo.clone(), databases, seen: Mutex::new(SeenFiles { read, last: read }) })
    }

    /// Reads the databases again if a file has changed and is no longer being written.
    fn look(&self) {
        let now = states(&self.geo);
        let mut seen = self.seen.lock();
        let is_settled = now == seen.last;
        seen.last = now;
        if now == seen.read || !is_settled {
            return;
        }
        seen.read = now;
        match databases(&self.geo) {
            Ok(databases) => {
                self.databases.store(Arc::new(databases));
                tracing::info!("the databases of places have changed and were read again");
            }
            Err(error) => {
                tracing::warn!(%error, "the databases of places cannot be read; those in use stay in use");
            }
        }
    }
}

/// Keeps the databases of the served configuration up to date.
pub(super) async fn watch(reloader: Arc<Reloader>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let places = Arc::clone(&reloader.built.lock().await.places);
        if places.geo == Geo::default() {
            continue;
        }
        // A panic has been reported by its own hook.
        let _ = tokio::task::spawn_blocking(move || places.look()).await;
    }
}

fn files(geo: &Geo) -> [&Option<PathBuf>; 3] {
    [&geo.country_database, &geo.city_database, &geo.asn_database]
}

fn states(geo: &Geo) -> FileStates {
    let state = |found: Metadata| (found.ino(), found.mtime(), found.mtime_nsec(), found.size());
    files(geo).map(|path| std::fs::metadata(path.as_deref()?).ok().map(state))
}

fn databases(geo: &Geo) -> Result<GeoDatabases, GeoError> {
    let open = |path: &Option<PathBuf>, kind| {
        path.as_deref().map(|path| Mmdb::open(path, kind)).transpose()
    };
    Ok(GeoDatabases {
        country: open(&geo.country_database, GeoDatabaseKind::Country)?,
        city: open(&geo.city_database, GeoDatabaseKind::City)?,
        asn: open(&geo.asn_database, GeoDatabaseKind::Asn)?,
    })
}

impl Places for DatabasePlaces {
    fn country(&self, address: IpAddr) -> Option<Country> {
        self.databases.load().country(address)
    }

    fn place(&self, address: IpAddr, language: Language) -> Option<String> {
        self.databases.load().place(address, language)
    }

    fn location(&self, address: IpAddr) -> Option<Location> {
        self.databases.load().location(address)
    }

    fn asn(&self, address: IpAddr) -> Option<Asn> {
        self.databases.load().asn(address)
    }
}
