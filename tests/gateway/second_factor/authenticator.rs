//! Chromium's virtual authenticator, driven over its developer tools: a key that a test holds.

use serde_json::{Value, json};

use crate::support::browser::Browser;

/// What a key can do.
#[derive(Clone, Copy)]
pub(crate) struct Abilities {
    /// Does it keep credentials, and find them by itself?
    pub(crate) resident: bool,
    /// Does it ask for a PIN, and is it given?
    pub(crate) verifies: bool,
    /// Is what it makes copied to other devices?
    pub(crate) synced: bool,
}

/// A passkey of a phone or a laptop that stays there.
pub(crate) const PLATFORM: Abilities = Abilities { resident: true, verifies: true, synced: false };

/// A key in a browser.
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

    /// Does whoever holds it give the right PIN from now on?
    pub(crate) fn verifies(&self, verifies: bool) {
        self.tell("setUserVerified", json!({"isUserVerified": verifies}));
    }

    /// Does whoever holds it touch it without being asked twice?
    pub(crate) fn is_touched(&self, touched: bool) {
        self.tell("setAutomaticPresenceSimulation", json!({"enabled": touched}));
    }

    /// What it holds, as somebody holds it who copied it when it had counted this far.
    pub(crate) fn counted(&self, count: u32) {
        for mut credential in self.credentials() {
            self.tell("removeCredential", json!({"credentialId": credential["credentialId"]}));
            credential["signCount"] = json!(count);
            self.tell("addCredential", json!({"credential": credential}));
        }
    }

    /// Makes a credential by these options, on the page that the browser shows.
    pub(crate) fn create(&self, options: &Value) -> Value {
        let script = "const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(args[0]);\
                      return (await navigator.credentials.create({publicKey})).toJSON()";
        self.browser.run_async(script, &json!([options]))
    }

    /// Uses one by these options.
    pub(crate) fn get(&self, options: &Value) -> Value {
        let script = "const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(args[0]);\
                      return (await navigator.credentials.get({publicKey})).toJSON()";
        self.browser.run_async(script, &json!([options]))
    }
}
