//! Tests that the values of `[detect]` reach their fields.

use std::time::Duration;

use super::super::*;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Checks the configuration of the file in which nothing has its default.
pub(super) fn reaches_its_fields(detect: &Detect) {
    let default = Detect::default();
    assert_eq!(
        *detect,
        Detect {
            refresh_reuse: DetectorSettings {
                threshold: 2,
                window: secs(2),
                actions: vec![Action::StepUp, Action::Notify],
                duration: secs(3),
                cooldown: secs(0),
                exempt: vec![
                    Exempt::Network("10.0.0.0/8".parse().unwrap()),
                    Exempt::Network("::1/128".parse().unwrap()),
                    Exempt::User("django/7".into()),
                    Exempt::Group("ops".into()),
                    Exempt::Agent("curl/".into()),
                    Exempt::Asn(64_512),
                    Exempt::Vpn,
                ],
                dry_run: true,
                speed: 0,
            },
            token_countries: DetectorSettings {
                threshold: 3,
                actions: vec![Action::EndSession],
                ..default.token_countries
            },
            impossible_travel: DetectorSettings { speed: 800, ..default.impossible_travel },
            queue: 1,
            actions_per_hour: 2,
            ..default
        }
    );
}

pub(super) fn places_reach_their_fields(geo: &Geo) {
    assert_eq!(
        *geo,
        Geo {
            country_database: Some("/geo.mmdb".into()),
            city_database: Some("/city.mmdb".into()),
            asn_database: Some("/asn.mmdb".into()),
        }
    );
}
