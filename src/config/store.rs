//! Reads `[store]`: where sessions are stored.

use std::path::PathBuf;

use super::raw::RawTable;

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The adapter.
    pub kind: StoreKind,
    /// The SQLite file of `embedded`; keys and the operator's token are beside it.
    pub path: PathBuf,
}

/// `store.kind`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum StoreKind {
    /// One SQLite file.
    #[default]
    Embedded,
    /// In memory: nothing survives a restart; for tests.
    Memory,
}

impl StoreKind {
    /// Whether the store survives a restart. If it does not, neither do the files that would be written beside it.
    pub const fn survives_restarts(self) -> bool {
        match self {
            Self::Embedded => true,
            Self::Memory => false,
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { kind: StoreKind::Embedded, path: PathBuf::from("doorwarden/store.db") }
    }
}

const STORES: [(&str, StoreKind); 2] =
    [("embedded", StoreKind::Embedded), ("memory", StoreKind::Memory)];

pub(super) fn store(table: &RawTable<'_>) -> StoreSettings {
    let default = StoreSettings::default();
    StoreSettings {
        kind: table.choice("kind", &STORES).unwrap_or(default.kind),
        path: table.path("path").unwrap_or_else(|| table.below(&default.path)),
    }
}
