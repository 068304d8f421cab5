//! Tests a newcomer's first ten minutes: what README shows, what a build needs, what the scripts make.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use doorwarden::config::init::MINIMAL;

use crate::support::django::Django;
use crate::support::gateway::write_private;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn write_script(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn readme_shows_what_init_writes() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, settings) = MINIMAL.split_once("\n\n").unwrap();
    assert!(settings.starts_with("[listen]"));
    assert!(readme.contains(&format!("```toml\n{settings}```")), "README.md shows another file");
}

/// Runs the commands that `make run` prints: `scripts/demo` compares each output with the one given after its command.
#[test]
fn the_commands_to_try_do_what_they_promise() {
    let django = Django::start();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret-key");
    write_private(&key, "django-insecure-development-key-of-the-legacy-service\n");
    let form = format!(
        "[[identity.form]]\nname = \"admin\"\nkind = \"django-session\"\nkey_file = \"{}\"\n",
        key.display()
    );
    let route = "[[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"app\"\nidentity = { cookie = \"admin\" }\n";
    let gateway = django.setup().routes(route).with(&form).start();
    let output = Command::new(root().join("scripts/demo"))
        .args([gateway.http, gateway.admin].map(|at| format!("http://{at}")))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("#=> ").count(), 9, "each promise was held to: {said}");
}

/// A build that must fail says so by name before it compiles anything.
#[test]
fn a_build_without_cmake_says_what_is_missing_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let cargo = PathBuf::from(env!("CARGO"));
    let build = |programs: &[&str]| {
        for program in programs {
            write_script(&bin.join(program), "#!/bin/sh\n");
        }
        let output = Command::new(&cargo)
            .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--locked"])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "what builds nothing needs nothing");
        let output = Command::new(&cargo)
            .args(["build", "--offline", "--locked", "--target-dir"])
            .arg(folder.path().join("target"))
            .current_dir(root())
            .env("PATH", &bin)
            .env("RUSTC", cargo.with_file_name("rustc"))
            .env_remove("CMAKE")
            .env_remove("CC")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let error = build(&[]);
    assert!(
        error.contains("cmake is missing") && error.contains("apt-get install cmake"),
        "{error}"
    );
    assert!(!error.contains("Compiling"), "{error}");
    let error = build(&["cmake"]);
    assert!(error.contains("cc is missing") && error.contains("build-essential"), "{error}");
    assert!(!error.contains("Compiling"), "{error}");
}

#[test]
fn the_wrapper_is_the_compiler_where_nothing_is_missing() {
    let output = Command::new(root().join("scripts/rustc"))
        .args(["sh", "-c", "echo $0 $1; exit 3", "a b", "c"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a b c\n");
    assert_eq!(output.status.code(), Some(3));
}

/// Several setups at once, as in two terminals: one makes the Python environment, and the others find it.
#[test]
fn two_setups_at_once_make_one_environment() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for path in ["scripts", "bin", "tests/django"] {
        std::fs::create_dir_all(at(path)).unwrap();
    }
    symlink(root().join("scripts/setup"), at("scripts/setup")).unwrap();
    for name in [
        "tests/django/requirements.txt",
        "tests/requirements.txt",
        "tests/databases-requirements.txt",
    ] {
        std::fs::write(at(name), "").unwrap();
    }
    for program in ["cargo", "cmake", "cc", "curl"] {
        write_script(&at("bin").join(program), "#!/bin/sh\n");
    }
    // What `python3 -m venv` makes records whether another process could have interfered while it works.
    let log = at("log");
    write_script(
        &at("bin/python3"),
        &format!(
            "#!/bin/sh\n\
             [ \"$1\" = --version ] && echo fake\n\
             [ \"$2\" = venv ] || exit 0\n\
             mkdir -p \"$4/bin\"\n\
             cat >\"$4/bin/python\" <<'END'\n\
             #!/bin/sh\n\
             flock --nonblock .tools/lock true && echo unlocked >>{log}\n\
             echo made >>{log}\n\
             END\n\
             chmod +x \"$4/bin/python\"\n",
            log = log.display()
        ),
    );
    let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
    let start = || {
        Command::new(at("scripts/setup"))
            .env("PATH", &path)
            .env_remove("DOORWARDEN_SETUP")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    for child in [start(), start(), start()] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "made\n");
    assert!(at(".tools/venv/.requirements").exists());
}
