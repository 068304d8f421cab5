//! Fuzzes request targets: an accepted target has one reading, which is its own canonical form.
#![no_main]

use doorwarden::wire::path::{Ambiguity, CanonicalPath, Target, Tolerance};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let all: Tolerance = Ambiguity::ALL.into_iter().collect();
    let strict = Target::parse(raw, Tolerance::NONE);
    let tolerant = Target::parse(raw, all);
    if let Ok(target) = &strict {
        assert_eq!(tolerant.as_ref(), Ok(target), "tolerance changes no clear target");
        let path = target.path().as_str();
        assert!(path.starts_with('/') && !path.contains("//"), "{path:?}");
        assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{path:?}");
        assert_eq!(CanonicalPath::parse(path).as_ref(), Ok(target.path()), "a second reading");
    }
});
