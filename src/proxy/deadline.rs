//! The time that a route gives its service (`[route.timeouts]`), where the framework's own timeouts cannot express it.
//!
//! The framework has one timeout for every read from a server. So it gets the longer of a route's two timeouts, and the
//! shorter one, and the total, run against a [`Countdown`] in the request's task. When that has run out, two things happen:
//!
//! - A connection that was made for such a route (`upstream::dial`) fails its next read. The request then ends as with
//!   any server that does not answer: 504 before the head of an answer, and a broken-off answer after it.
//! - A request that has not ended by itself [`GRACE`] later is dropped with its connections, as when its session ends:
//!   an HTTP/2 stream to a server is on a connection that others use, and cannot be failed by itself. (Before the head,
//!   the framework's timeout is that of the first byte there: `check` refuses settings that this cannot satisfy.)
//!
//! A WebSocket has a timeout of its own (`upstream.websocket_timeout`), and none of these. A request of a route without
//! `[route.timeouts]` has no clock.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pingora::upstreams::peer::HttpPeer;
use tokio::time::Sleep;

use crate::config::{HttpVersion, RouteTimeouts, Upstream};

/// How long a late request may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);
/// The smallest timeout that is set.
const LEAST: Duration = Duration::from_millis(1);

/// The limits on the time that a service may take for one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceTimes {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
    /// When the answer must be complete.
    end: Option<Instant>,
}

/// The clock of one request.
pub(super) struct Countdown {
    /// When the next byte must have arrived.
    next: Option<Instant>,
    end: Option<Instant>,
    late: Option<ExpiredTimeout>,
    sleep: Pin<Box<Sleep>>,
}

/// The timeout that has expired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ExpiredTimeout {
    /// The server sent nothing for too long.
    Silent,
    /// The whole exchange took too long, whether the server or the client was slow.
    Whole,
}

/// The result of checking the clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tick {
    /// There is time left.
    Goes,
    /// The time has run out just now.
    RunsOut,
    /// The time ran out, and the request did not end within the grace time.
    Over,
}

impl ServiceTimes {
    /// Returns the limits for a request that began then; `None` if its route sets none.
    pub(super) fn of(times: &RouteTimeouts, upstream: &Upstream, begun: Instant) -> Option<Self> {
        if *times == RouteTimeouts::default() {
            return None;
        }
        let (first_byte, between_bytes) = times.reads(upstream);
        Some(Self {
            connect: times.connect.unwrap_or(upstream.connect_timeout),
            first_byte,
            between_bytes,
            end: times.total.map(|total| begun + total),
        })
    }

    /// Whether the total time is over before the server is asked.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_some_and(|end| end <= Instant::now())
    }

    /// Sets the timeouts on a connection.
    pub(super) fn set_on(&self, peer: &mut HttpPeer, http: HttpVersion) {
        let left = |time: Duration| match self.end {
            Some(end) => time.min(end.saturating_duration_since(Instant::now())).max(LEAST),
            None => time,
        };
        let options = &mut peer.options;
        options.connection_timeout = Some(left(self.connect));
        options.total_connection_timeout = Some(left(self.connect));
        options.read_timeout = Some(match http {
            HttpVersion::One => left(self.first_byte.max(self.between_bytes)),
            // The clock cannot fail one stream of many, so the framework limits the first byte.
            HttpVersion::Two | HttpVersion::Negotiated => left(self.first_byte),
        });
    }

    /// Whether a read has to fail when the clock has run out.
    pub(super) fn fails_reads(&self, http: HttpVersion) -> bool {
        self.needs_a_clock() && http == HttpVersion::One
    }

    pub(super) fn needs_a_clock(&self) -> bool {
        self.end.is_some() || self.first_byte != self.between_bytes
    }

    /// Starts the clock, which waits for the head of an answer first.
    pub(super) fn clock(&self) -> Countdown {
        let next = (self.first_byte < self.between_bytes).then(|| Instant::now() + self.first_byte);
        let at = next.into_iter().chain(self.end).min().unwrap_or_else(Instant::now);
        let sleep = Box::pin(tokio::time::sleep_until(at.into()));
        Countdown { next, end: self.end, late: None, sleep }
    }
}

impl Countdown {
    /// Restarts the clock for the next part of an answer.
    pub(super) fn came(&mut self, limits: &ServiceTimes) {
        let is_shorter = limits.between_bytes < limits.first_byte;
        self.next = is_shorter.then(|| Instant::now() + limits.between_bytes);
        // If the next byte's time is now the earliest, only this wakes the task for it.
        if let Some(next) = self.next.filter(|next| *next < self.sleep.deadline().into_std()) {
            self.sleep.as_mut().reset(next.into());
        }
    }

    /// Returns the timeout that has expired, if any.
    pub(super) const fn late(&self) -> Option<ExpiredTimeout> {
        self.late
    }

    /// Checks the clock, and arranges a wake-up for the next check.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Tick {
        loop {
            if self.late.is_none() && self.due().is_none() {
                return Tick::Goes;
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Tick::Goes;
            }
            if self.late.is_some() {
                return Tick::Over;
            }
            let Some((due, late)) = self.due() else { return Tick::Goes };
            if due <= Instant::now() {
                self.late = Some(late);
                self.sleep.as_mut().reset((Instant::now() + GRACE).into());
                return Tick::RunsOut;
            }
            self.sleep.as_mut().reset(due.into());
        }
    }

    /// Returns the next deadline.
    fn due(&self) -> Option<(Instant, ExpiredTimeout)> {
        let next = self.next.map(|next| (next, ExpiredTimeout::Silent));
        let end = self.end.map(|end| (end, ExpiredTimeout::Whole));
        next.into_iter().chain(end).min_by_key(|(at, _)| *at)
    }
}

/// Fails a read if the clock of the request that this task serves has run out.
pub(super) fn fail_if_late() -> Poll<std::io::Result<()>> {
    match super::open::late() {
        Some(_) => Poll::Ready(Err(std::io::ErrorKind::TimedOut.into())),
        None => Poll::Pending,
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(first_byte: u64, between_bytes: u64, total: Option<u64>) -> ServiceTimes {
        let times = RouteTimeouts {
            connect: None,
            first_byte: Some(SECOND * u32::try_from(first_byte).unwrap()),
            between_bytes: Some(SECOND * u32::try_from(between_bytes).unwrap()),
            total: total.map(Duration::from_secs),
        };
        ServiceTimes::of(&times, &Upstream::new("app", &["127.0.0.1:1"]), Instant::now()).unwrap()
    }

    async fn tick(clock: &mut Countdown) -> Tick {
        poll_fn(|cx| match clock.poll(cx) {
            Tick::Goes => Poll::Pending,
            tick => Poll::Ready(tick),
        })
        .await
    }

    #[test]
    fn a_route_that_says_nothing_has_no_limits_of_its_own() {
        let upstream = Upstream::new("app", &["127.0.0.1:1"]);
        assert!(ServiceTimes::of(&RouteTimeouts::default(), &upstream, Instant::now()).is_none());
        assert!(!limits(5, 5, None).needs_a_clock(), "the framework's time is enough");
    }

    #[test]
    fn the_framework_has_the_longer_time_and_never_more_than_is_left() {
        let upstream = Upstream::new("app", &["127.0.0.1:1"]);
        for (limits, http, read, clock) in [
            (limits(5, 5, None), HttpVersion::One, 5, false),
            (limits(5, 60, None), HttpVersion::One, 60, true),
            (limits(60, 5, None), HttpVersion::One, 60, true),
            (limits(60, 5, None), HttpVersion::Two, 60, false),
            (limits(60, 60, Some(10)), HttpVersion::Two, 10, false),
        ] {
            let mut peer = HttpPeer::new("127.0.0.1:1", false, String::new());
            limits.set_on(&mut peer, http);
            assert_eq!(limits.fails_reads(http), clock, "{limits:?}");
            let set = peer.options.read_timeout.unwrap();
            assert!(set <= SECOND * read && set + SECOND > SECOND * read, "{set:?}");
            assert_eq!(peer.options.connection_timeout, Some(upstream.connect_timeout));
        }
    }

    #[tokio::test]
    async fn each_time_runs_out_by_itself() {
        let milli = Duration::from_millis(1);
        let of = |first, between, total| ServiceTimes {
            connect: SECOND,
            first_byte: milli * first,
            between_bytes: milli * between,
            end: (total > 0).then(|| Instant::now() + milli * total),
        };
        let mut clock = of(20, 9_000, 0).clock();
        assert_eq!(
            (tick(&mut clock).await, clock.late()),
            (Tick::RunsOut, Some(ExpiredTimeout::Silent))
        );
        assert_eq!(tick(&mut clock).await, Tick::Over);
        let mut clock = of(9_000, 9_000, 20).clock();
        assert_eq!(
            (tick(&mut clock).await, clock.late()),
            (Tick::RunsOut, Some(ExpiredTimeout::Whole))
        );
        // After the head the time between two bytes counts, and begins anew with each.
        let limits = of(9_000, 20, 0);
        let mut clock = limits.clock();
        assert_eq!(poll_fn(|cx| Poll::Ready(clock.poll(cx))).await, Tick::Goes);
        clock.came(&limits);
        assert_eq!(
            (tick(&mut clock).await, clock.late()),
            (Tick::RunsOut, Some(ExpiredTimeout::Silent))
        );
        // If the first byte had the shorter timeout, there is no deadline after it.
        let limits = of(20, 9_000, 0);
        let mut clock = limits.clock();
        clock.came(&limits);
        let quiet = tokio::time::timeout(milli * 60, tick(&mut clock)).await;
        assert!(quiet.is_err());
    }
}
