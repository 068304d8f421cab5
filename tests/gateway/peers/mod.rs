//! Tests real clients in front of the gateway and real servers behind it.
//!
//! `matrix`: each scene, through each client, to each server: the client gets what it gets from the server itself, except
//! for the fields that belong to a connection. `streams`: what must arrive before its answer is complete. `beside`: the
//! gateway and nginx in front of one upstream. `tests/peers` has the programs.

mod beside;
mod browser;
mod clients;
mod cut;
mod grpc;
mod matrix;
pub(crate) mod servers;
mod streams;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use self::servers::Servers;
use crate::support::gateway::{Gateway, Setup};
use crate::support::tls::Certificate;

/// All servers behind one gateway.
struct House {
    gateway: Gateway,
    servers: Servers,
}

/// Returns the shared house: starting one takes two seconds, so tests that run at the same time share it.
fn house() -> Arc<House> {
    static SHARED: Mutex<Weak<House>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(house) = shared.upgrade() {
        return house;
    }
    let house = Arc::new(House::start());
    *shared = Arc::downgrade(&house);
    house
}

impl House {
    fn start() -> Self {
        let servers = Servers::start();
        let certificate = Certificate::make();
        let mut setup = Setup::new(servers.address("node"))
            .listen(
                "https = [\"127.0.0.1:0\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"",
            )
            .file("cert.pem", certificate.pem.as_bytes())
            .file("key.pem", certificate.key.as_bytes());
        let mut routes =
            String::from("[[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\n");
        for (name, server) in &servers.all {
            setup = setup.with(&format!(
                "[[upstream]]\nname = \"{name}\"\nservers = [\"{}\"]\n",
                server.address
            ));
            routes += &format!(
                "[[route]]\nname = \"{name}\"\npath = \"/{name}/\"\nupstream = \"{name}\"\naccess = \"public\"\n\
                 websocket = true\nallow_ambiguous_path = [\"invalid-utf8\", \"raw-utf8\"]\n"
            );
        }
        let gateway = setup.routes(&routes).start();
        Self { gateway, servers }
    }

    /// Returns the gateway's base URL, over TLS or without.
    fn base(&self, tls: bool) -> String {
        if tls {
            format!("https://{}", self.gateway.https.expect("an https address"))
        } else {
            format!("http://{}", self.gateway.http)
        }
    }

    /// Returns a folder that is deleted with the house.
    fn folder(&self) -> &Path {
        self.gateway.folder()
    }

    /// Returns a server's own base URL.
    fn direct(&self, server: &str) -> String {
        format!("http://{}", self.servers.address(server))
    }
}
