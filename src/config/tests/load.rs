//! Tests reading a configuration from a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::{Config, LoadError, init};

fn file(text: &[u8], mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (folder, path)
}

#[test]
fn relative_paths_are_below_the_files_folder() {
    let (folder, path) = file(init::MINIMAL.as_bytes(), 0o644);
    let (config, report) = Config::load(&path).unwrap();
    assert!(report.is_empty(), "{report}");
    assert_eq!(config.store.path, folder.path().join("doorwarden/store.db"));
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    for mode in [0o666, 0o602, 0o777] {
        let (_folder, path) = file(init::MINIMAL.as_bytes(), mode);
        let error = Config::load(&path).unwrap_err();
        assert!(matches!(error, LoadError::WritableByOthers { .. }), "{mode:o}: {error}");
        assert!(error.to_string().contains("chmod o-w"), "{error}");
    }
    for mode in [0o600, 0o640, 0o644, 0o664] {
        let (_folder, path) = file(init::MINIMAL.as_bytes(), mode);
        assert!(Config::load(&path).is_ok(), "{mode:o}");
    }
}

#[test]
fn what_is_no_text_file_is_unreadable() {
    let (folder, path) = file(b"[listen]\n# \xff\n", 0o600);
    let (_huge_folder, huge) = file(&vec![b'#'; (1 << 20) + 1], 0o600);
    for path in [&path, &huge, folder.path(), &folder.path().join("missing.toml")] {
        let error = Config::load(path).unwrap_err();
        assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    }
}

#[test]
fn an_invalid_file_is_reported_under_its_name() {
    let (_folder, path) = file(b"[listen]\nhtp = []\n", 0o600);
    let error = Config::load(&path).unwrap_err();
    assert!(matches!(error, LoadError::Invalid(_)));
    assert!(error.to_string().contains("gateway.toml:2:1: listen.htp: unknown key"), "{error}");
}
