//! Whoever started the gateway: what it hands over, and what it wants to know.
//!
//! - **Sockets** (`LISTEN_FDS`, sd_listen_fds(3)): a listener of the configuration that is among them is taken over, in place of
//!   binding its address. Its queue is the supervisor's and outlives the gateway, so that a restart, or another version of
//!   the program, refuses no connection: what comes meanwhile waits.
//! - **State** (`NOTIFY_SOCKET`, sd_notify(3)): ready when the first request can be served, reloading, stopping.

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::proxy::Inherited;

/// The listening sockets that were handed over.
///
/// # Errors
/// What is handed over is no listening socket of TCP.
pub(super) fn sockets() -> Result<Inherited, String> {
    let mut handed_over = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..handed_over.len() {
        let socket = handed_over.take_tcp_listener(index);
        let socket = socket.map_err(|error| format!("a socket that was handed over: {error}"))?;
        sockets.extend(socket);
    }
    Inherited::new(sockets).map_err(|error| error.to_string())
}

/// Requests can be served.
pub(super) fn is_ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again; [`is_ready`] ends it.
pub(super) fn is_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the time cannot be told"),
    }
}

/// No new connection is taken.
pub(super) fn is_stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Without a supervisor that wants to know, nothing is told.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "whoever started the gateway cannot be told its state");
    }
}
