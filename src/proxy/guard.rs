//! Stops requests that may pass: routes in maintenance, and rate limits.
//!
//! Both apply to all requests of a route, including those that the gate refuses: unauthorized clients count too, and
//! are told first that the service is down. A shadowed route has no rate limits; it can be down. Own paths and the
//! admin listener with its `/live` and `/ready` belong to no route, and neither do preflights that the gateway answers.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};

use crate::gate::maintenance::{Maintenance, Switches};
use crate::gate::rate_limit::{Quota, RateLimits};
use crate::gate::{Decision, Denial};
use crate::refusal::Refusal;
use crate::wire::arrival::Arrival;
use crate::wire::forward::EditHeaders;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The state that survives a change of configuration.
#[derive(Clone, Default)]
pub(super) struct GuardMemory {
    pub(super) rates: Arc<RateLimits>,
    pub(super) switches: Arc<Switches>,
}

/// Guards the routes of one configuration.
pub(super) struct RouteGuard {
    pub(super) remembered: GuardMemory,
    pub(super) maintenance: Maintenance,
}

/// Returns the time since the process began, by a clock that nobody sets back.
fn now() -> Duration {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    // It is never zero, which means that nobody has sent a request.
    BEGINNING.elapsed().saturating_add(Duration::from_secs(1))
}

/// Returns why a request is stopped, if it is.
pub(super) fn keeps(
    guard: &RouteGuard,
    quotas: &mut Vec<Quota>,
    arrival: &Arrival,
    decision: &Decision,
) -> Option<Denial> {
    let (route, known, is_shadowed) = match decision {
        Decision::Forward(permit) => (permit.route(), permit.caller().known(), false),
        Decision::Shadow(permit) => (permit.route(), None, true),
        Decision::Refuse(denial) => (denial.route.as_ref()?, denial.caller.as_ref(), false),
        Decision::Serve(_) | Decision::Preflight(_) => return None,
    };
    let client = arrival.client_ip();
    let refuse = |refusal, wait| {
        let denial = Denial::new(refusal, Some(Arc::clone(route)));
        Some(Denial { retry_after: Some(wait), caller: known.cloned(), ..denial })
    };
    if let Some(wait) = guard.maintenance.of(route.index, client) {
        return refuse(Refusal::Maintenance, wait);
    }
    if route.handling.rate_limits.is_empty() || is_shadowed {
        return None;
    }
    let taken = guard.remembered.rates.take(route, client, known, now());
    *quotas = taken.quotas;
    taken.exceeded.and_then(|wait| refuse(Refusal::RateLimited, wait))
}

/// Tells a client its quotas (draft-ietf-httpapi-ratelimit-headers-10): a policy and a limit for each.
pub(super) fn tell(quotas: &[Quota], headers: &mut impl EditHeaders) {
    for quota in quotas {
        let Quota { name, requests, per, remaining, reset } = quota;
        let policy = format!("\"{name}\";q={requests};w={}", per.as_secs());
        let reset = reset.as_millis().div_ceil(1000);
        let limit = format!("\"{name}\";r={remaining};t={reset}");
        for (field, text) in [(POLICY, policy), (LIMIT, limit)] {
            // The name and the rest consist of letters and digits.
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.append(field, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn what_is_left_is_told_in_structured_fields() {
        let quota = |name: &str, remaining, millis| Quota {
            name: name.into(),
            requests: 100,
            per: Duration::from_secs(60),
            remaining,
            reset: Duration::from_millis(millis),
        };
        let mut headers = HeaderMap::new();
        tell(&[quota("user-1m", 99, 600), quota("address-1m", 0, 60_000)], &mut headers);
        let all = |name| headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(all(POLICY), [r#""user-1m";q=100;w=60"#, r#""address-1m";q=100;w=60"#]);
        assert_eq!(all(LIMIT), [r#""user-1m";r=99;t=1"#, r#""address-1m";r=0;t=60"#]);
    }
}
