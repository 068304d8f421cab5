//! Communicates with the supervisor that started the gateway: takes over its sockets, and notifies it of the state.
//!
//! - **Sockets** (`LISTEN_FDS`, sd_listen_fds(3)): a listener of the configuration that is among them is taken over, instead of
//!   binding its address. Its queue is the supervisor's and outlives the gateway, so that a restart, or another version of
//!   the program, refuses no connection: new connections wait in the queue meanwhile.
//! - **State** (`NOTIFY_SOCKET`, sd_notify(3)): ready when the first request can be served, reloading, stopping. A separate
//!   thread sends it, because a supervisor that does not read would block the sender.

use std::sync::mpsc;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::proxy::Inherited;

/// Returns the listening sockets that were handed over.
///
/// # Errors
/// If a socket that was handed over is not a listening TCP socket.
pub(super) fn sockets() -> Result<Inherited, String> {
    let mut handed_over = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..handed_over.len() {
        let socket = handed_over.take_tcp_listener(index);
        let socket =
            socket.map_err(|error| format!("an inherited socket cannot be used: {error}"))?;
        sockets.extend(socket);
    }
    Inherited::new(sockets).map_err(|error| error.to_string())
}

/// Notifies the supervisor of the gateway's state. Never waits.
pub(super) struct Supervisor(mpsc::Sender<SupervisorState>);

enum SupervisorState {
    Ready,
    Reloading,
    Stopping,
}

impl Supervisor {
    /// # Errors
    /// If no thread can be started.
    pub(super) fn new() -> std::io::Result<Self> {
        let (sender, states) = mpsc::channel();
        std::thread::Builder::new().name("supervisor".to_owned()).spawn(move || {
            for state in states {
                if let Err(error) = tell(&state) {
                    tracing::warn!(%error, "the supervisor cannot be notified of the gateway's state");
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Reports that requests can be served.
    pub(super) fn is_ready(&self) {
        self.tell(SupervisorState::Ready);
    }

    /// Reports that the configuration is being read again, until [`Self::is_ready`].
    pub(super) fn is_reloading(&self) {
        self.tell(SupervisorState::Reloading);
    }

    /// Reports that no new connection is accepted.
    pub(super) fn is_stopping(&self) {
        self.tell(SupervisorState::Stopping);
    }

    fn tell(&self, state: SupervisorState) {
        // The thread ends with the process, not earlier, so sending cannot fail.
        let _ = self.0.send(state);
    }
}

/// Sends a state. Without a supervisor that asks for it, nothing is sent.
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
