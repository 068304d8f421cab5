//! Controls Chromium's virtual authenticator, through its developer tools.

use serde_json::{Value, json};

use crate::support::browser::Browser;

/// What an authenticator can do.
#[derive(Clone, Copy)]
pub(crate) struct Abilities {
    /// Whether it stores credentials, and finds them without being given an id.
    pub(crate) resident: bool,
    /// Whether it asks for a PIN, and gets the right one.
    pub(crate) verifies: bool,
    /// Whether its credentials are synced to other devices.
    pub(crate) synced: bool,
}

/// A phone's or a laptop's passkey that is not synced.
pub(crate) const PLATFORM: Abilities = Abilities { resident: true, verifies: true, synced: false };

/// An authenticator in a browser.
pub(crate) struct Authenticator<'b> {
    browser: &'b Browser,
    id: String,
}

impl<'b> Authenticator<'b> {
    pub(crate) fn new(browser: &'b Browser, abilities: Abilities) -> Self {
        browser.devtools("WebAuthn.enable", &json!({}));
        let Abilities { resident, verifies, synced } = abilities;
        let options = json!({
            "protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal",
            "hasResidentKey": resident, "hasUserVerification": true, "isUserVerified": verifies,
            "automaticPresenceSimulation": true,
            "defaultBackupEligibility": synced, "defaultBackupState": synced,
        });
        let made =
            browser.devtools("WebAuthn.addVirtualAuthenticator", &json!({"options": options}));
        Self { browser, id: made["authenticatorId"].as_str().unwrap().to_owned() }
    }

    fn tell(&self, command: &str, mut more: Value) -> Value {
        more["authenticatorId"] = json!(self.id);
        self.browser.devtools(&format!("WebAuthn.{command}"), &more)
    }

    pub(crate) fn credentials(&self) -> Vec<Value> {
        self.tell("getCredentials", json!({}))["credentials"].as_array().unwrap().clone()
    }

    /// Sets whether the user enters the right PIN from now on.
    pub(crate) fn verifies(&self, verifies: bool) {
        self.tell("setUserVerified", json!({"isUserVerified": verifies}));
    }

    /// Sets whether the user touches the authenticator as soon as it asks.
    pub(crate) fn is_touched(&self, touched: bool) {
        self.tell("setAutomaticPresenceSimulation", json!({"enabled": touched}));
    }

    /// Sets the signature counter of all credentials, as in a copy that was made at that count.
    pub(crate) fn counted(&self, count: u32) {
        for mut credential in self.credentials() {
            self.tell("removeCredential", json!({"credentialId": credential["credentialId"]}));
            credential["signCount"] = json!(count);
            self.tell("addCredential", json!({"credential": credential}));
        }
    }

    /// Creates a credential with these options, on the page that the browser shows.
    pub(crate) fn create(&self, options: &Value) -> Value {
        let script = "const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(args[0]);\
                      return (await navigator.credentials.create({publicKey})).toJSON()";
        self.browser.run_async(script, &json!([options]))
    }

    /// Uses a credential with these options.
    pub(crate) fn get(&self, options: &Value) -> Value {
        let script = "const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(args[0]);\
                      return (await navigator.credentials.get({publicKey})).toJSON()";
        self.browser.run_async(script, &json!([options]))
    }
}
