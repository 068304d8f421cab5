//! Handles the result of a try, and its consequences for the server.
//!
//! A failure is a connection that was not made or broke before the answer's head, an answer that did not come in time,
//! or an answer of 502, 503 or 504, with which a proxy in front of the application says that it is not there. After
//! `upstream.ejection.after` of them in a row, the address is ejected for a time which grows; after that, one request
//! is enough to tell. One address always stays, and no more than `at_most_percent` are ejected at once, so that a fault
//! of the application itself does not eject all servers.

use http::StatusCode;

use super::Pool;
use super::endpoint::EndpointState;
use super::place::Place;
use crate::telemetry::Retried;

/// How often a request that was refused unread is sent again.
const MOST_REPEATED: usize = 3;

/// The way in which a try failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) enum Failure {
    /// No connection was made.
    Connect,
    /// The connection broke before the answer.
    Broken,
    /// The answer did not come in time.
    Timeout,
    /// The answer's status says that the service is not there.
    Status(StatusCode),
}

impl Failure {
    /// Returns the failure that this status means, if it means one.
    pub(in crate::proxy) const fn of(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Some(Self::Status(status)),
            _ => None,
        }
    }
}

impl Pool {
    /// Records that a try was answered.
    pub(in crate::proxy) fn answered(&self, place: &Place, status: StatusCode) {
        match Failure::of(status) {
            Some(failure) => self.failed(place, failure),
            None => place.endpoint().condition.succeeded(),
        }
    }

    /// Records that a try failed.
    pub(in crate::proxy) fn failed(&self, place: &Place, failure: Failure) {
        let endpoint = place.endpoint();
        endpoint.server.metrics.failed();
        let failures = endpoint.condition.failed();
        let ejection = &self.settings.ejection;
        if ejection.after == 0 || failures < ejection.after {
            return;
        }
        let _deciding = self.ejecting.lock();
        if endpoint.standing() != EndpointState::InService {
            return;
        }
        let table = self.table.load();
        let all = table.endpoints.len();
        let out =
            table.endpoints.iter().filter(|one| one.standing() != EndpointState::InService).count();
        let percent = usize::try_from(ejection.at_most_percent).unwrap_or(100);
        let most = (all * percent / 100).min(all.saturating_sub(1));
        if out >= most {
            return;
        }
        let time = endpoint.condition.eject(ejection.after, ejection.time, ejection.longest);
        endpoint.server.metrics.ejected();
        tracing::warn!(
            upstream = %self.settings.name,
            server = %endpoint.name,
            state = "ejected",
            failures,
            last = ?failure,
            seconds = time.as_secs_f64(),
            "a server fails and is left out for a while"
        );
    }

    /// Whether a request that was tried `tries` times, the last time there, may be retried elsewhere. If so, the retry is
    /// counted.
    pub(in crate::proxy) fn may_try_again(
        &self,
        place: &Place,
        tries: usize,
        why: Retried,
    ) -> bool {
        let most = self.most_tries();
        let others = self.table.load();
        let has_other = others.endpoints.iter().any(|one| {
            one.name != *place.name()
                && matches!(one.standing(), EndpointState::InService | EndpointState::Ejected)
        });
        tries < most && has_other && tries < others.endpoints.len() && self.spend(place, why)
    }

    /// Does the same for a request that the same server may be asked again.
    pub(in crate::proxy) fn may_repeat(&self, place: &Place, tries: usize, why: Retried) -> bool {
        tries < self.most_tries() && tries <= MOST_REPEATED && self.spend(place, why)
    }

    /// Returns `upstream.retry.tries`.
    fn most_tries(&self) -> usize {
        match usize::try_from(self.settings.retry.tries) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(most) => most,
        }
    }

    fn spend(&self, place: &Place, why: Retried) -> bool {
        let metrics = &place.endpoint().server.metrics;
        if self.budget.spend(self.settings.retry.budget_floor) {
            metrics.retried(why);
            true
        } else {
            metrics.retry_denied();
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::pool;
    use super::*;
    use crate::config::{Ejection, Retry, Upstream};

    fn three(after: u32, at_most_percent: u32) -> Pool {
        let time = Duration::from_secs(60);
        let ejection = Ejection { after, time, longest: time, at_most_percent };
        let servers = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"];
        pool(Upstream { ejection, ..Upstream::new("app", &servers) })
    }

    /// Returns how often each server gets a request while all but the third fail.
    async fn shares(pool: &Pool, requests: usize) -> [usize; 3] {
        let mut shares = [0; 3];
        for _ in 0..requests {
            let place = pool.place(None, &[]).await.unwrap();
            let index = place.name().strip_prefix("127.0.0.1:").unwrap().parse::<usize>().unwrap();
            shares[index - 1] += 1;
            if index == 3 {
                pool.answered(&place, StatusCode::OK);
            } else {
                pool.failed(&place, Failure::Connect);
            }
        }
        shares
    }

    #[tokio::test]
    async fn whoever_fails_so_often_in_a_row_is_left_out() {
        assert_eq!(shares(&three(5, 70), 100).await, [5, 5, 90]);
    }

    #[tokio::test]
    async fn no_more_are_left_out_than_may_be() {
        let [first, second, third] = shares(&three(5, 34), 100).await;
        assert!(first.min(second) == 5 && first.max(second) > 40, "{first} {second} {third}");
        assert_eq!(shares(&three(0, 100), 99).await, [33, 33, 33]);
    }

    #[tokio::test]
    async fn one_always_stays() {
        let one = pool(Upstream::new("app", &["127.0.0.1:1"]));
        for _ in 0..20 {
            let place = one.place(None, &[]).await.unwrap();
            one.answered(&place, StatusCode::BAD_GATEWAY);
            assert_eq!(place.endpoint().standing(), EndpointState::InService);
        }
    }

    #[tokio::test]
    async fn answers_between_failures_count_from_the_beginning() {
        let pool = three(2, 70);
        let place = pool.place(None, &[]).await.unwrap();
        for _ in 0..10 {
            pool.answered(&place, StatusCode::SERVICE_UNAVAILABLE);
            pool.answered(&place, StatusCode::INTERNAL_SERVER_ERROR);
        }
        assert_eq!(place.endpoint().standing(), EndpointState::InService);
    }

    #[tokio::test]
    async fn a_request_is_tried_as_often_as_there_are_servers_and_no_more_than_said() {
        let again =
            |pool: &Pool, place: &Place, tries| pool.may_try_again(place, tries, Retried::Connect);
        let all = three(0, 70);
        let place = all.place(None, &[]).await.unwrap();
        assert_eq!([1, 2, 3].map(|tries| again(&all, &place, tries)), [true, true, false]);
        let retry = Retry { tries: 2, ..Retry::default() };
        let two = pool(Upstream { retry, ..all.settings.clone() });
        assert_eq!([1, 2].map(|tries| again(&two, &place, tries)), [true, false]);
        let retry = Retry { budget_percent: 0, budget_floor: 0, ..Retry::default() };
        let none = pool(Upstream { retry, ..all.settings.clone() });
        assert!(!again(&none, &place, 1));
    }
}
