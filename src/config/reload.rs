//! Reads `[reload]`: when the file is read again.

use super::raw::RawTable;

/// `[reload]`
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ReloadSettings {
    /// Whether the file is read again when it changes.
    pub watch: bool,
}

pub(super) fn reload(table: &RawTable<'_>) -> ReloadSettings {
    ReloadSettings { watch: table.flag("watch").unwrap_or_default() }
}
