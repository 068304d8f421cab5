//! One test a project: which steps may end differently behind the gateway, and why.

use super::{python, table, without};
use crate::support::django::root;

/// The projects are what their documentation makes.
#[test]
fn nothing_of_ours_is_in_them() {
    let output = python().arg(root().join("tests/projects/make.py")).output().unwrap();
    let hashes = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{hashes}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(hashes.lines().count() > 80, "{hashes}");
}

macro_rules! projects {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let name = stringify!($name);
                eprintln!("{}", table(name, &[&without(name)]));
            }
        )*
    };
}

projects!(allauth djoser dj_rest_auth knox axes two_factor hijack wagtail oscar cms);
