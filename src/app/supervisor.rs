//! Whoever started the gateway: what it hands over, and what it wants to know.
//!
//! - **Sockets** (`LISTEN_FDS`, sd_listen_fds(3)): a listener of the configuration that is among them is taken over, in place of
//!   binding its address. Its queue is the supervisor's and outlives the gateway, so that a restart, or another version of
//!   the program, refuses no connection: what comes meanwhile waits.
//! - **State** (`NOTIFY_SOCKET`, sd_notify(3)): ready when the first request can be served, reloading, stopping. A thread of its
//!   own tells it, because whoever does not listen would hold up whoever tells.

use std::sync::mpsc;

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

/// Tells whoever started the gateway its state. Never waits.
pub(super) struct Supervisor(mpsc::Sender<SupervisorState>);

enum SupervisorState {
    Ready,
    Reloading,
    Stopping,
}

impl Supervisor {
    /// # Errors
    /// If there is no thread to be had.
    pub(super) fn new() -> std::io::Result<Self> {
        let (sender, states) = mpsc::channel();
        std::thread::Builder::new().name("supervisor".to_owned()).spawn(move || {
            for state in states {
                if let Err(error) = tell(&state) {
                    tracing::warn!(%error, "whoever started the gateway cannot be told its state");
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Requests can be served.
    pub(super) fn is_ready(&self) {
        self.tell(SupervisorState::Ready);
    }

    /// The configuration is read again; [`Self::is_ready`] ends it.
    pub(super) fn is_reloading(&self) {
        self.tell(SupervisorState::Reloading);
    }

    /// No new connection is taken.
    pub(super) fn is_stopping(&self) {
        self.tell(SupervisorState::Stopping);
    }

    fn tell(&self, state: SupervisorState) {
        // The thread ends with the process, not before.
        let _ = self.0.send(state);
    }
}

/// Without a supervisor that wants to know, nothing is told.
fn tell(state: &SupervisorState) -> std::io::Result<()> {
    match state {
        SupervisorState::Ready => sd_notify::notify(&[NotifyState::Ready]),
        SupervisorState::Reloading => {
            let now = NotifyState::monotonic_usec_now()?;
            sd_notify::notify(&[NotifyState::Reloading, now])
        }
        SupervisorState::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    }
}
