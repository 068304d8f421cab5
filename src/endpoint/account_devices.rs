//! `/account/devices`: lists the browsers that the user's account knows, and forgets them.
//!
//! | request | does |
//! |---|---|
//! | `GET /account/devices` | lists them, the most recently used first |
//! | `POST` with `action` `forget` and `id` | forgets that one |
//! | `POST` with `action` `forget_all` | forgets all of them, this one too |
//!
//! Forgetting takes a fresh proof: a known device can still sign in while others guess the account's password, and a thief
//! must not be able to take that from the owner.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::account::AccountOwner;
use super::account_page::{PageSection, device_heading};
use super::refused::Refused;
use super::{Endpoints, Served, input};
use crate::notify::{device, time};
use crate::refusal::Refusal;
use crate::secret::Digest;
use crate::store::records::StoredDevice;
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::body::FieldProblem;
use crate::wire::client_ip::network_24_or_48;
use crate::wire::reply::Reply;

/// A device in the words of the page.
pub(super) struct ShownDevice {
    pub(super) id: String,
    pub(super) device: String,
    pub(super) place: Option<String>,
    pub(super) first_used: String,
    pub(super) last_used: String,
    pub(super) is_current: bool,
}

impl Endpoints {
    /// Answers `GET` and `POST /account/devices`.
    pub(super) async fn account_devices(&self, arrival: &Arrival, body: &Bytes) -> Served {
        let is_post = arrival.method == Method::POST;
        let wants_page = input::wants_page(arrival);
        let made = match self.account_owner(arrival).await {
            Ok(owner) if is_post => self.forget_devices(arrival, body, &owner, wants_page).await,
            Ok(_) if wants_page => Ok(self.back_to_account(PageSection::Devices)),
            Ok(owner) => self.list_devices(arrival, &owner).await,
            Err(refused) => Err(refused),
        };
        self.account_answer(arrival, wants_page, made)
    }

    /// Returns the devices that the page shows.
    pub(super) async fn shown_devices(
        &self,
        arrival: &Arrival,
        owner: &AccountOwner,
        language: Language,
    ) -> Result<Vec<ShownDevice>, Refused> {
        let listed = self.issuers.sessions().own_account().devices(&owner.user).await?;
        let here = self.device_here(arrival, owner);
        let zone = &self.incidents.time_zone;
        let shown = listed.iter().map(|one| ShownDevice {
            id: id_of(&one.device),
            device: device_heading(&one.agent, language),
            place: self.network_in_words(one.network, language),
            first_used: time(one.first_used, zone),
            last_used: time(one.last_used, zone),
            is_current: here == Some(one.device),
        });
        Ok(shown.collect())
    }

    fn device_here(&self, arrival: &Arrival, owner: &AccountOwner) -> Option<Digest> {
        let sessions = self.issuers.sessions();
        let cookie = sessions.cookie_names().device_of(&arrival.headers);
        sessions.own_account().device_here(cookie, &owner.session, arrival.at)
    }

    async fn list_devices(
        &self,
        arrival: &Arrival,
        owner: &AccountOwner,
    ) -> Result<Reply, Refused> {
        let sessions = self.issuers.sessions();
        let listed = sessions.own_account().devices(&owner.user).await?;
        let here = self.device_here(arrival, owner);
        let language = Language::negotiate(&arrival.headers);
        let describe = |one: &StoredDevice| {
            json!({
                "id": id_of(&one.device),
                "current": here == Some(one.device),
                "device": device(&one.agent, language),
                "place": one.network.and_then(|network| sessions.places().place(network, language)),
                "network": one.network.map(|network| network_24_or_48(network).to_string()),
                "first_used_at": one.first_used.to_string(),
                "last_used_at": one.last_used.to_string(),
            })
        };
        let described: Vec<Value> = listed.iter().map(describe).collect();
        Ok(Reply::json(StatusCode::OK, &json!({"devices": described})))
    }

    async fn forget_devices(
        &self,
        arrival: &Arrival,
        body: &Bytes,
        owner: &AccountOwner,
        wants_page: bool,
    ) -> Result<Reply, Refused> {
        self.is_from_here(arrival, owner.proof)?;
        let fields = input::fields(arrival, body)?;
        let sessions = self.issuers.sessions();
        let action = fields.trimmed("action").map_err(|why| Refused::field("action", why))?;
        let forgotten = match action {
            "forget" => {
                let id = fields.trimmed("id").map_err(|why| Refused::field("id", why))?;
                sessions.step_up().is_fresh(&owner.session, arrival.at).await?;
                let listed = sessions.own_account().devices(&owner.user).await?;
                let named = listed.iter().find(|one| id_of(&one.device) == id);
                match named {
                    Some(one) => {
                        let device = &one.device;
                        sessions
                            .own_account()
                            .forget_device(&owner.user, device, arrival.at, &arrival.events)
                            .await?;
                        1
                    }
                    // The page listed the device a moment ago, and it is forgotten now, as the user asked.
                    None if wants_page => 0,
                    None => return Err(Refusal::NotOnAccount.into()),
                }
            }
            "forget_all" => {
                sessions.step_up().is_fresh(&owner.session, arrival.at).await?;
                sessions
                    .own_account()
                    .forget_devices(&owner.user, arrival.at, &arrival.events)
                    .await?
            }
            _ => return Err(Refused::field("action", FieldProblem::NotAString)),
        };
        Ok(match wants_page {
            true => self.back_to_account(PageSection::DevicesForgotten),
            false => Reply::json(StatusCode::OK, &json!({"forgotten": forgotten})),
        })
    }
}

/// Returns a device's id for forms and programs: a hash of the id in its cookie, from which nobody can derive the cookie.
fn id_of(device: &Digest) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(device.as_bytes())
}
