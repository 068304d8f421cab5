//! Copies the file while it is in use.
//!
//! The whole copy is one step of SQLite's backup: it reads one snapshot, and with a write-ahead log a reader does not block the
//! writer. Copying in several steps would start again at every commit in between, and under load never end.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::backup::{Backup as Copy, StepResult};

use super::super::{Backup, StoreError};
use super::{Embedded, Tuning, blocking, file};

#[async_trait]
impl Backup for Embedded {
    async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let (from, to) = (self.path.clone(), to.to_owned());
        blocking(move || copy(&from, &to)).await
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError(format!("{}: {error}", to.display()));
    let real = file::canonical(to).map_err(failed)?;
    // This fails if anything of that name exists, including a dangling link.
    file::create_private(&real).map_err(failed)?;
    fill(from, &real).map_err(|error| remove_after(error, &real))
}

fn fill(from: &Path, to: &Path) -> Result<(), StoreError> {
    let source = file::connect_read_only(from, Tuning::default())?;
    let mut target = file::connect(to, Tuning::default())?;
    let step = Copy::new(&source, &mut target)?.step(-1)?;
    match step {
        StepResult::Done => {}
        StepResult::More | StepResult::Busy | StepResult::Locked | _ => {
            return Err(StoreError(format!("the copy was not finished ({step:?})")));
        }
    }
    target.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// Removes an incomplete copy, so that it is not taken for a complete one. The file was created by this call.
fn remove_after(error: StoreError, half: &Path) -> StoreError {
    match std::fs::remove_file(half) {
        Ok(()) => error,
        Err(left) => {
            StoreError(format!("{}; and {} is left behind: {left}", error.0, half.display()))
        }
    }
}
