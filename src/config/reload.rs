//! `[reload]`: when the file is read again.

use super::raw::Table;

/// `[reload]`
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ReloadSettings {
    /// Is the file read again when it changes?
    pub watch: bool,
}

pub(super) fn reload(table: &Table<'_>) -> ReloadSettings {
    ReloadSettings { watch: table.flag("watch").unwrap_or_default() }
}
