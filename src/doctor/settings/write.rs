//! Writes the plan's files: all of them, or none if one exists already.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::plan::{Plan, SECRETS};
use crate::command::CommandFailure;
use crate::private_file;

/// Writes the configuration and its secrets below a folder. Returns the path of the configuration.
pub(super) fn write(plan: &Plan, folder: &Path) -> Result<PathBuf, CommandFailure> {
    let config = folder.join("gateway.toml");
    let secrets = folder.join(SECRETS);
    let files: Vec<_> =
        plan.files.iter().map(|(name, content)| (secrets.join(name), content)).collect();
    let all = files.iter().map(|(path, _)| path).chain([&config]);
    let there: Vec<String> = all
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| path.display().to_string())
        .collect();
    if !there.is_empty() {
        return Err(CommandFailure::Failed(format!(
            "{}: there already, and left alone; nothing was written. Name another folder with --out",
            there.join(", ")
        )));
    }
    make(folder, 0o755)?;
    if !files.is_empty() {
        make(&secrets, 0o700)?;
    }
    for (path, content) in files {
        // Readers remove one final newline, so a secret that ends in one keeps it.
        let mut bytes = Zeroizing::new(Vec::with_capacity(content.expose().len() + 1));
        bytes.extend_from_slice(content.expose().as_bytes());
        bytes.push(b'\n');
        private_file::create(&path, &bytes)
            .map_err(|error| CommandFailure::Failed(error.to_string()))?;
    }
    let failed =
        |error| CommandFailure::Failed(format!("cannot write {}: {error}", config.display()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&config)
        .map_err(failed)?;
    file.write_all(plan.toml.as_bytes()).map_err(failed)?;
    Ok(config)
}

fn make(folder: &Path, mode: u32) -> Result<(), CommandFailure> {
    DirBuilder::new().recursive(true).mode(mode).create(folder).map_err(|error| {
        CommandFailure::Failed(format!("cannot make {}: {error}", folder.display()))
    })
}
