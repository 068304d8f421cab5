//! Writes disagreements on shadowed routes: the first few of each kind in a minute, and then how many were omitted.
//!
//! On a route that should have been public, a million anonymous requests a day would cause a million equal lines. The counter
//! has them all; a line serves to find out which requests they are.

use std::net::IpAddr;

use parking_lot::Mutex;

use super::{Audit, AuditLine, cut};
use crate::clock::Timestamp;
use crate::gate::shadow::ShadowVerdict;
use crate::telemetry::metrics::Names;
use crate::telemetry::record::{Destination, Record};

/// The most lines of one route and verdict in one minute.
const LINES: u32 = 10;
const WINDOW_MILLIS: u128 = 60_000;

/// The lines of the last minute, by route and verdict.
#[derive(Debug, Default)]
pub(super) struct ToldVerdicts(Mutex<Vec<((usize, ShadowVerdict), Window)>>);

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Timestamp,
    lines: u32,
    left_out: u64,
}

impl Audit {
    /// Writes a completed request of a shadowed route.
    pub fn shadowed(&self, record: &Record<'_>, names: &Names) {
        let (Some(shadow), Destination::Route(route)) = (&record.shadow, record.place) else {
            return;
        };
        match shadow.verdict {
            ShadowVerdict::Stricter | ShadowVerdict::Looser => {}
            ShadowVerdict::Agree | ShadowVerdict::Unknown => return,
        }
        let Some(left_out) = self.told.admit(route, shadow.verdict, record.at) else { return };
        self.write(&AuditLine {
            at: record.at.to_string(),
            event: "shadow_disagreement",
            request_id: Some(record.request_id),
            client: record.client.as_ref().map(IpAddr::to_string),
            user: shadow.user.map(|user| cut(&user.to_string())),
            route: names.routes.get(route).map(String::as_str),
            verdict: Some(shadow.verdict.name()),
            reason: shadow.refusal.map(|refusal| refusal.code()),
            status: shadow.status,
            left_out: (left_out > 0).then_some(left_out),
            ..AuditLine::default()
        });
    }
}

impl ToldVerdicts {
    /// Returns how many lines were omitted since the last one, or `None` if this line has to be omitted too.
    fn admit(&self, route: usize, verdict: ShadowVerdict, at: Timestamp) -> Option<u64> {
        let mut told = self.0.lock();
        let key = (route, verdict);
        let Some((_, window)) = told.iter_mut().find(|(known, _)| *known == key) else {
            told.push((key, Window { began: at, lines: 1, left_out: 0 }));
            return Some(0);
        };
        if at.since(window.began).as_millis() >= WINDOW_MILLIS {
            let left_out = window.left_out;
            *window = Window { began: at, lines: 1, left_out: 0 };
            return Some(left_out);
        }
        if window.lines < LINES {
            window.lines += 1;
            return Some(0);
        }
        window.left_out += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_ten_lines_a_minute_and_a_count() {
        let told = ToldVerdicts::default();
        let admit = |verdict, second| told.admit(0, verdict, Timestamp::from_secs(second));
        let flood: Vec<_> =
            (0..100).map(|n| admit(ShadowVerdict::Stricter, 100 + n / 10)).collect();
        assert_eq!(flood.iter().filter(|line| **line == Some(0)).count(), 10);
        assert!(flood[10..].iter().all(Option::is_none));
        // Lines of one kind or route do not displace those of another.
        assert_eq!(admit(ShadowVerdict::Looser, 110), Some(0));
        assert_eq!(told.admit(1, ShadowVerdict::Stricter, Timestamp::from_secs(110)), Some(0));
        assert_eq!(admit(ShadowVerdict::Stricter, 159), None);
        assert_eq!(admit(ShadowVerdict::Stricter, 160), Some(91));
        assert_eq!(admit(ShadowVerdict::Stricter, 161), Some(0));
    }
}
