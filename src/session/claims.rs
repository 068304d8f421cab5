//! The claims of the gateway's own tokens: one structure for both kinds, with one claim whose name is configured.
//!
//! `token_type`, `exp`, `iat`, `jti` and the user's id follow SimpleJWT, with the id as a string; `sid` is the session. Access
//! tokens also have `sub` (`directory/id`, which is unique where an id alone is not), `iss` and `aud`, and state how and when
//! the user was authenticated (`amr`, RFC 8176; `auth_time`, OpenID Connect) where that is known. Each kind of token decides
//! which claims it must have. This module only rejects claims that are unknown, repeated or of a wrong type.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::jwt::Invalid;
use crate::config::Members;

/// The claims of a payload. Absent ones are empty or 0, and neither is allowed for one that is present.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct AccessClaims {
    pub(super) token_type: String,
    pub(super) exp: u64,
    pub(super) iat: u64,
    pub(super) jti: String,
    pub(super) user_id: String,
    pub(super) sid: String,
    pub(super) sub: String,
    pub(super) iss: String,
    pub(super) aud: String,
    pub(super) amr: Vec<String>,
    pub(super) auth_time: u64,
    pub(super) acr: String,
}

/// The claims, the name of the configured claim, and further claims, which this module writes and never reads.
pub(super) struct NamedClaims<'a> {
    pub(super) user_id_claim: &'a str,
    pub(super) claims: &'a AccessClaims,
    pub(super) more: Vec<(&'a str, Value)>,
}

struct ClaimsReader<'a> {
    user_id_claim: &'a str,
    more: &'a Members,
}

enum Text {
    TokenType,
    Jti,
    UserId,
    Sid,
    Sub,
    Iss,
    Aud,
    Acr,
}

impl AccessClaims {
    /// Reads a payload whose signature was verified.
    pub(super) fn read(payload: &[u8], user_id_claim: &str) -> Result<Self, Invalid> {
        Self::read_beside(payload, user_id_claim, &Members::default())
    }

    /// Reads a verified payload that may have these further claims.
    pub(super) fn read_beside(
        payload: &[u8],
        user_id_claim: &str,
        more: &Members,
    ) -> Result<Self, Invalid> {
        let mut json = serde_json::Deserializer::from_slice(payload);
        let claims =
            ClaimsReader { user_id_claim, more }.deserialize(&mut json).map_err(|_| Invalid)?;
        json.end().map_err(|_| Invalid)?;
        Ok(claims)
    }

    fn text(&mut self, which: &Text) -> &mut String {
        match which {
            Text::TokenType => &mut self.token_type,
            Text::Jti => &mut self.jti,
            Text::UserId => &mut self.user_id,
            Text::Sid => &mut self.sid,
            Text::Sub => &mut self.sub,
            Text::Iss => &mut self.iss,
            Text::Aud => &mut self.aud,
            Text::Acr => &mut self.acr,
        }
    }
}

impl<'de> DeserializeSeed<'de> for ClaimsReader<'_> {
    type Value = AccessClaims;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<AccessClaims, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ClaimsReader<'_> {
    type Value = AccessClaims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claims of a token")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AccessClaims, A::Error> {
        let mut claims = AccessClaims::default();
        while let Some(name) = map.next_key::<String>()? {
            let which = match name.as_str() {
                "exp" => {
                    number(&mut map, &mut claims.exp)?;
                    continue;
                }
                "iat" => {
                    number(&mut map, &mut claims.iat)?;
                    continue;
                }
                "auth_time" => {
                    number(&mut map, &mut claims.auth_time)?;
                    continue;
                }
                "amr" => {
                    let methods = map.next_value::<Vec<String>>()?;
                    if !claims.amr.is_empty() || methods.is_empty() {
                        return Err(A::Error::custom("a repeated or empty claim"));
                    }
                    claims.amr = methods;
                    continue;
                }
                // The configured claim is compared first, because it may be `sub`.
                name if name == self.user_id_claim => Text::UserId,
                "token_type" => Text::TokenType,
                "jti" => Text::Jti,
                "sid" => Text::Sid,
                "sub" => Text::Sub,
                "iss" => Text::Iss,
                "aud" => Text::Aud,
                "acr" => Text::Acr,
                name if self.more.has(name) => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                _ => return Err(A::Error::custom("an unknown claim")),
            };
            let value = map.next_value::<String>()?;
            let place = claims.text(&which);
            if !place.is_empty() || value.is_empty() {
                return Err(A::Error::custom("a repeated or empty claim"));
            }
            *place = value;
        }
        Ok(claims)
    }
}

fn number<'de, A: MapAccess<'de>>(map: &mut A, place: &mut u64) -> Result<(), A::Error> {
    let value = map.next_value::<Integer>()?.0;
    if *place != 0 || value == 0 {
        return Err(A::Error::custom("a repeated or zero claim"));
    }
    *place = value;
    Ok(())
}

/// An integer, not a value that can be converted to one, within the years that front ends can display.
struct Integer(u64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const YEAR_10000: u64 = 253_402_300_800;
        let value = u64::deserialize(deserializer)?;
        if value < YEAR_10000 { Ok(Self(value)) } else { Err(D::Error::custom("too far away")) }
    }
}

impl Serialize for NamedClaims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let claims = self.claims;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("token_type", &claims.token_type)?;
        map.serialize_entry("exp", &claims.exp)?;
        map.serialize_entry("iat", &claims.iat)?;
        map.serialize_entry("jti", &claims.jti)?;
        map.serialize_entry(self.user_id_claim, &claims.user_id)?;
        map.serialize_entry("sid", &claims.sid)?;
        let optional = [("sub", &claims.sub), ("iss", &claims.iss), ("aud", &claims.aud)];
        for (name, value) in optional {
            if !value.is_empty() && name != self.user_id_claim {
                map.serialize_entry(name, value)?;
            }
        }
        if !claims.amr.is_empty() {
            map.serialize_entry("amr", &claims.amr)?;
        }
        if claims.auth_time != 0 {
            map.serialize_entry("auth_time", &claims.auth_time)?;
        }
        if !claims.acr.is_empty() {
            map.serialize_entry("acr", &claims.acr)?;
        }
        for (name, value) in &self.more {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> AccessClaims {
        AccessClaims {
            token_type: "access".into(),
            exp: 1_795_423_179,
            iat: 1_795_422_879,
            jti: "j".into(),
            user_id: "2".into(),
            sid: "s".into(),
            sub: "django/2".into(),
            iss: "doorwarden".into(),
            aud: "app".into(),
            amr: vec!["pwd".into(), "otp".into()],
            auth_time: 1_795_422_870,
            acr: "aal2".into(),
        }
    }

    fn written(user_id_claim: &str, claims: &AccessClaims) -> String {
        serde_json::to_string(&NamedClaims { user_id_claim, claims, more: Vec::new() }).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_under_any_name_of_the_id() {
        for name in ["user_id", "uid", "sub"] {
            let mut claims = claims();
            if name == "sub" {
                claims.sub.clear();
            }
            let text = written(name, &claims);
            assert_eq!(AccessClaims::read(text.as_bytes(), name), Ok(claims), "{text}");
        }
    }

    #[test]
    fn the_first_members_are_simplejwts_in_its_order() {
        let text = written("user_id", &claims());
        let start =
            r#"{"token_type":"access","exp":1795423179,"iat":1795422879,"jti":"j","user_id":"2","#;
        assert!(text.starts_with(start), "{text}");
    }

    #[test]
    fn whatever_is_not_exactly_a_claim_of_ours_is_refused() {
        let good = written("user_id", &claims());
        assert!(AccessClaims::read(good.as_bytes(), "user_id").is_ok());
        let table = [
            ("\"exp\":1795423179", "\"exp\":1795423179.0"),
            ("\"exp\":1795423179", "\"exp\":\"1795423179\""),
            ("\"exp\":1795423179", "\"exp\":-1"),
            ("\"exp\":1795423179", "\"exp\":null"),
            ("\"exp\":1795423179", "\"exp\":[1795423179]"),
            ("\"exp\":1795423179", "\"exp\":0"),
            ("\"exp\":1795423179", "\"exp\":99999999999999999999"),
            ("\"exp\":1795423179", "\"exp\":253402300800"),
            ("\"exp\":1795423179", "\"exp\":1795423179,\"exp\":1795423179"),
            ("\"iat\":1795422879", "\"iat\":true"),
            ("\"user_id\":\"2\"", "\"user_id\":2"),
            ("\"user_id\":\"2\"", "\"user_id\":\"2\",\"user_id\":\"1\""),
            ("\"user_id\":\"2\"", "\"user_id\":\"\",\"user_id\":\"1\""),
            ("\"user_id\":\"2\"", "\"user_id\":\"2\",\"us\\u0065r_id\":\"1\""),
            ("\"iss\":\"doorwarden\"", "\"iss\":[\"doorwarden\"]"),
            ("\"aud\":\"app\"", "\"aud\":[\"app\",\"other\"]"),
            ("\"sid\":\"s\"", "\"sid\":{}"),
            ("\"amr\":[\"pwd\",\"otp\"]", "\"amr\":\"pwd\""),
            ("\"amr\":[\"pwd\",\"otp\"]", "\"amr\":[]"),
            ("\"amr\":[\"pwd\",\"otp\"]", "\"amr\":[1]"),
            ("\"amr\":[\"pwd\",\"otp\"]", "\"amr\":[\"pwd\"],\"amr\":[\"otp\"]"),
            ("\"auth_time\":1795422870", "\"auth_time\":\"1795422870\""),
            ("\"auth_time\":1795422870", "\"auth_time\":1795422870.5"),
            ("\"sid\":\"s\"", "\"sid\":\"s\",\"admin\":true"),
            ("}", "} "),
            ("}", "}}"),
            ("}", ""),
        ];
        for (from, to) in table {
            let text = good.replacen(from, to, 1);
            let trailing_space = to == "} ";
            assert_eq!(
                AccessClaims::read(text.as_bytes(), "user_id").is_ok(),
                trailing_space,
                "{text}"
            );
        }
        for text in ["[]", "null", "1", "\"\"", ""] {
            assert!(AccessClaims::read(text.as_bytes(), "user_id").is_err(), "{text}");
        }
    }
}
