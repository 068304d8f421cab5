//! Finds the configuration that a command reads.
//!
//! By default that is `gateway.toml` in the current folder. In Doorwarden's own repository the file of that name documents
//! every setting, and nobody means it when they try a command there, so there the file has to be named.

use std::path::{Path, PathBuf};

use crate::command::CommandFailure;

const DEFAULT: &str = "gateway.toml";

/// `--config`
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ConfigFile {
    /// The configuration file [default: gateway.toml in this folder].
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl ConfigFile {
    /// Returns the file's path.
    ///
    /// # Errors
    /// If no file is named, and the current folder is Doorwarden's repository, whose file is documentation.
    pub(crate) fn path(&self) -> Result<PathBuf, CommandFailure> {
        match &self.config {
            Some(path) => Ok(path.clone()),
            None if is_documentation(Path::new("")) => Err(CommandFailure::Usage(format!(
                "doorwarden: {DEFAULT} in this folder documents every setting and is not a configuration itself: name one \
                 with --config FILE (`doorwarden init --config FILE` writes a short one)"
            ))),
            None => Ok(PathBuf::from(DEFAULT)),
        }
    }

    /// Returns the file's path, if a file is named or the current folder has one.
    pub(super) fn if_any(&self) -> Option<PathBuf> {
        match &self.config {
            Some(path) => Some(path.clone()),
            None => self.path().ok().filter(|path| path.exists()),
        }
    }
}

/// Whether this is the folder of Doorwarden's own source.
fn is_documentation(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join("Cargo.toml"))
        .is_ok_and(|text| text.lines().any(|line| line.trim_end() == "name = \"doorwarden\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_repositorys_own_file_is_documentation() {
        assert!(is_documentation(Path::new(env!("CARGO_MANIFEST_DIR"))));
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_documentation(folder.path()));
        std::fs::write(folder.path().join("Cargo.toml"), "[package]\nname = \"shop\"\n").unwrap();
        assert!(!is_documentation(folder.path()));
    }

    #[test]
    fn what_is_named_is_taken_wherever_it_is() {
        let named = ConfigFile { config: Some("gateway.toml".into()) };
        assert_eq!(named.path().unwrap(), PathBuf::from("gateway.toml"));
        assert_eq!(named.if_any(), Some(PathBuf::from("gateway.toml")));
        // Tests run in the repository's root.
        assert!(ConfigFile::default().path().is_err() && ConfigFile::default().if_any().is_none());
    }
}
