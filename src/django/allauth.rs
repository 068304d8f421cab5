//! Reads and writes what `allauth.mfa` stores for an authenticator: the JSON of its row, and the codes that follow from it.
//!
//! A row of `totp` has `{"secret": base32}`. A row of `recovery_codes` has `{"seed": hexadecimal, "used_mask": bits}`, from
//! which the codes are computed each time, or `{"migrated_codes": [...]}`, from which a used code is removed. A project's own
//! adapter may encrypt all of these texts. A text that is in none of these alphabets is taken for encrypted and cannot be
//! read.

use std::collections::HashSet;

use aws_lc_rs::hmac;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::hotp::is_code;

/// The longest text that is accepted as a migrated code; a text that an adapter encrypts is longer.
const LONGEST_MIGRATED: usize = 32;

/// The settings of recovery codes (`MFA_RECOVERY_CODE_COUNT`, `MFA_RECOVERY_CODE_DIGITS`).
#[derive(Clone, Copy, Debug)]
pub struct RecoverySettings {
    /// The number of codes.
    pub count: u32,
    /// The number of digits in a code.
    pub digits: usize,
}

/// The recovery codes of a row.
pub struct RecoveryRow {
    data: Value,
    codes: Vec<(u32, Zeroizing<String>)>,
    is_migrated: bool,
}

/// Returns the secret of a `totp` row, or `None` if it cannot be read.
pub fn totp_secret(data: &str) -> Option<Zeroizing<Vec<u8>>> {
    const SHORTEST: usize = 10;
    let data: Value = serde_json::from_str(data).ok()?;
    let text = Zeroizing::new(data.get("secret")?.as_str()?.to_ascii_uppercase());
    let text = text.trim_end_matches('=');
    let secret = Zeroizing::new(data_encoding::BASE32_NOPAD.decode(text.as_bytes()).ok()?);
    (secret.len() >= SHORTEST).then_some(secret)
}

impl RecoveryRow {
    /// Reads the JSON of a row. Returns `None` if it cannot be read.
    pub fn read(data: &str, settings: RecoverySettings) -> Option<Self> {
        let data: Value = serde_json::from_str(data).ok()?;
        if let Some(migrated) = data.get("migrated_codes").filter(|codes| !codes.is_null()) {
            let mut codes = Vec::new();
            for (index, code) in migrated.as_array()?.iter().enumerate() {
                let code = code.as_str().filter(|code| code.len() <= LONGEST_MIGRATED)?;
                codes.push((u32::try_from(index).ok()?, Zeroizing::new(code.to_owned())));
            }
            return Some(Self { data, codes, is_migrated: true });
        }
        let seed = data.get("seed")?.as_str()?;
        let is_hexadecimal = !seed.is_empty() && seed.bytes().all(|byte| byte.is_ascii_hexdigit());
        let used = data.get("used_mask")?.as_u64()?;
        if !is_hexadecimal {
            return None;
        }
        let codes = codes_of(seed, settings).into_iter().zip(0_u32..);
        let codes = codes.filter(|(_, index)| used & 1_u64.checked_shl(*index).unwrap_or(0) == 0);
        let codes = codes.map(|(code, index)| (index, code)).collect();
        Some(Self { data, codes, is_migrated: false })
    }

    /// Returns how many unused codes are left.
    pub fn left(&self) -> u32 {
        u32::try_from(self.codes.len()).unwrap_or(u32::MAX)
    }

    /// Returns the row's JSON without this code, or `None` if it is not one of the unused codes.
    pub fn without(&self, typed: &str) -> Option<String> {
        let typed = Zeroizing::new(normal(typed));
        let mut found = None;
        // Every code is compared, so that the time does not reveal which code is similar.
        for (index, code) in &self.codes {
            let expected = Zeroizing::new(normal(code));
            if is_code(&typed, &expected) && !expected.is_empty() && found.is_none() {
                found = Some(*index);
            }
        }
        let index = found?;
        let mut data = self.data.clone();
        let members = data.as_object_mut()?;
        if self.is_migrated {
            members.get_mut("migrated_codes")?.as_array_mut()?.remove(usize::try_from(index).ok()?);
        } else {
            let used = members.get("used_mask")?.as_u64()?;
            members.insert("used_mask".into(), (used | 1_u64.checked_shl(index)?).into());
        }
        Some(data.to_string())
    }
}

/// Computes the codes of a seed: each from the HMAC over all numbers so far.
fn codes_of(seed: &str, settings: RecoverySettings) -> Vec<Zeroizing<String>> {
    let RecoverySettings { count, digits } = settings;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed.as_bytes());
    let mut said = hmac::Context::with_key(&key);
    let modulus = 10_u64.saturating_pow(u32::try_from(digits).unwrap_or(u32::MAX));
    (0..count)
        .map(|index| {
            said.update(format!("{index:3},").as_bytes());
            let tag = said.clone().sign();
            let bytes = tag.as_ref().iter().take((digits / 2).min(size_of::<u64>()));
            let number = bytes.fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
            Zeroizing::new(format!("{:0digits$}", number % modulus))
        })
        .collect()
}

/// Removes what the package ignores in a code: punctuation, white space and case.
fn normal(code: &str) -> String {
    let punctuation: HashSet<char> = r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##.chars().collect();
    let kept = code.chars().filter(|c| !punctuation.contains(c) && !c.is_ascii_whitespace());
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: RecoverySettings = RecoverySettings { count: 10, digits: 8 };

    /// A seed whose codes were recorded from allauth 65.22.
    const SEED: &str =
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff0123456789abcdef";
    const CODES: [&str; 3] = ["19529852", "09472039", "44016898"];

    fn row(data: &str) -> Option<RecoveryRow> {
        RecoveryRow::read(data, SETTINGS)
    }

    fn with_mask(mask: u64) -> String {
        format!("{{\"seed\": \"{SEED}\", \"used_mask\": {mask}, \"viewed_at\": 1.5}}")
    }

    #[test]
    fn the_codes_are_those_of_the_package_and_each_is_used_once() {
        let fresh = row(&with_mask(0)).unwrap();
        let codes: Vec<&str> = fresh.codes.iter().map(|(_, code)| code.as_str()).collect();
        assert_eq!((&codes[..2], codes[9], fresh.left()), (&CODES[..2], CODES[2], 10));
        let spaced = format!(" {}-{}", &CODES[1][..4], &CODES[1][4..]);
        let used = fresh.without(&spaced).unwrap();
        let again = row(&used).unwrap();
        assert_eq!((again.left(), again.without(CODES[1])), (9, None));
        assert!(used.contains("\"used_mask\":2") && used.contains("\"viewed_at\":1.5"), "{used}");
        let last = row(&again.without(CODES[2]).unwrap()).unwrap();
        assert_eq!(last.data["used_mask"], 0b10_0000_0010);
        for wrong in ["", "-", "00000000", &CODES[0][1..]] {
            assert!(fresh.without(wrong).is_none(), "{wrong:?}");
        }
        let others = RecoveryRow::read(&with_mask(0), RecoverySettings { count: 2, digits: 10 });
        assert_eq!(others.unwrap().codes[0].1.len(), 10);
    }

    #[test]
    fn migrated_codes_are_taken_out() {
        let kept = row(r#"{"migrated_codes": ["abc-def", "ghi"], "used_mask": 0}"#).unwrap();
        let used = kept.without("ABCDEF").unwrap();
        assert_eq!(row(&used).unwrap().left(), 1);
        assert_eq!(row(&used).unwrap().without("abc-def"), None);
    }

    #[test]
    fn what_an_adapter_encrypted_cannot_be_read() {
        let sealed = "gAAAAABlZ0_8Xw-1kqVn3zv9";
        assert_eq!(totp_secret(&format!("{{\"secret\": \"{sealed}\"}}")), None);
        assert!(row(&format!("{{\"seed\": \"{sealed}\", \"used_mask\": 0}}")).is_none());
        let long = sealed.repeat(2);
        assert!(row(&format!("{{\"migrated_codes\": [\"{long}\"]}}")).is_none());
        for wrong in ["", "[]", "{}", "{\"secret\": 7}", "{\"secret\": \"AAAA\"}"] {
            assert!(totp_secret(wrong).is_none() && row(wrong).is_none(), "{wrong}");
        }
        let secret = totp_secret("{\"secret\": \"gezdgnbvgy3tqojqgezdgnbvgy3tqojq\"}").unwrap();
        assert_eq!(secret.as_slice(), b"12345678901234567890");
    }
}
