//! Tests what is stored, where, and for how long: `[privacy]`, `[store]` and `[log]`.

use std::time::Duration;

use super::super::*;

/// Checks the configuration of the file with a value for every key.
pub(super) fn reaches_its_fields(config: &Config) {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!(config.privacy, Privacy { retention: days(60) });
    assert_eq!(
        config.store,
        StoreSettings { kind: StoreKind::Memory, path: "/var/lib/doorwarden/db".into() }
    );
    assert_eq!(
        config.log,
        Log {
            format: LogFormat::Json,
            level: "debug".into(),
            access: false,
            audit_file: Some("/etc/doorwarden/audit.log".into()),
            audit_key_file: "/var/lib/doorwarden/audit-key".into(),
            audit_rotate_size: 1 << 20,
            audit_rotate_after: Duration::from_secs(3600),
            audit_retention: days(90),
        }
    );
}
