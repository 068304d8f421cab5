//! Reads and writes the outermost object of a session's JSON, as Python does.
//!
//! Python's `json` writes `NaN`, `Infinity`, lone surrogates and integers of any size, which a
//! strict parser refuses, and an application may store any of them in its session. Since only text
//! members of the outermost object are needed, all other values are skipped without being parsed.
//! That is safe because the text that is read here has the service's signature.

/// Returns the members of the object, in order. A value is `None` if it is not a text that a Rust
/// string can hold; a name that cannot be held is left out. Returns `None` if the text is not an
/// object.
pub(super) fn members(json: &str) -> Option<Vec<(String, Option<String>)>> {
    let mut members = Vec::new();
    let mut rest = json.trim_matches(is_space).strip_prefix('{')?.trim_start_matches(is_space);
    if rest == "}" {
        return Some(members);
    }
    loop {
        let (name, after) = text(rest)?;
        let after = after.trim_start_matches(is_space).strip_prefix(':')?;
        let (value, after) = value(after.trim_start_matches(is_space))?;
        members.extend(name.map(|name| (name, value)));
        match after.strip_prefix(',') {
            Some(after) => rest = after.trim_start_matches(is_space),
            None => return (after == "}").then_some(members),
        }
    }
}

/// Writes an object of text members, in ASCII as Python does.
pub(super) fn object<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let members = members.map(|(name, value)| format!("{}:{}", quoted(name), quoted(value)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Splits off a value and the space after it; what follows then begins with `,` or `}`.
fn value(rest: &str) -> Option<(Option<String>, &str)> {
    if rest.starts_with('"') {
        let (text, after) = text(rest)?;
        let after = after.trim_start_matches(is_space);
        return after.starts_with([',', '}']).then_some((text, after));
    }
    let mut depth = 0_usize;
    let mut after = rest;
    loop {
        after = after.trim_start_matches(|c| !"\"[]{},".contains(c));
        match after.chars().next()? {
            '"' => after = text(after)?.1,
            ',' | '}' if depth == 0 => {
                // Nothing between `:` and `,` is an error.
                return (after.len() < rest.len()).then_some((None, after));
            }
            bracket => {
                depth = match bracket {
                    '[' | '{' => depth + 1,
                    ']' | '}' => depth.checked_sub(1)?,
                    _ => depth,
                };
                after = after.get(1..)?;
            }
        }
    }
}

/// Splits off a quoted text. Its content is `None` if it has an escape that stands for no
/// character.
fn text(rest: &str) -> Option<(Option<String>, &str)> {
    let content = rest.strip_prefix('"')?;
    let mut escaped = false;
    let end = content.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let (literal, after) = rest.split_at_checked(end + 2)?;
    Some((serde_json::from_str(literal).ok(), after))
}

fn quoted(text: &str) -> String {
    let mut ascii = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => ascii.extend(['\\', c]),
            ' '..='~' => ascii.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    ascii.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    ascii.push('"');
    ascii
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Option<String> {
        let members = members(json)?;
        Some(
            members.into_iter().map(|(n, v)| format!("{n}={} ", v.unwrap_or("?".into()))).collect(),
        )
    }

    #[test]
    fn reads_what_python_writes() {
        let cases = [
            ("{}", ""),
            (r#"{"a":"b"}"#, "a=b "),
            (r#"{"a":"b","a":"c"}"#, "a=b a=c "),
            (" {\n\"a\" : \"b\" ,\t\"c\" : 1 }\r\n", "a=b c=? "),
            (r#"{"a":NaN,"b":-Infinity,"c":1e999,"d":"e"}"#, "a=? b=? c=? d=e "),
            (r#"{"a":123456789012345678901234567890123456789012345678,"d":"e"}"#, "a=? d=e "),
            (r#"{"a":"\ud83d","\ud83d":"b","d":"e"}"#, "a=? d=e "),
            (r#"{"a":{"_auth_user_id":"1","b":["}",{"c":"\"]}"}]},"d":"e"}"#, "a=? d=e "),
            (r#"{"a":[],"b":{},"c":null,"d":"\u00e9\\\"\/"}"#, "a=? b=? c=? d=é\\\"/ "),
            (r#"{"\u0061":"b"}"#, "a=b "),
        ];
        for (json, expected) in cases {
            assert_eq!(read(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn refuses_what_is_no_object() {
        for json in [
            "",
            "{",
            "}",
            "[]",
            "null",
            "\"a\"",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":,"b":1}"#,
            r#"{"a":"b""#,
            r#"{"a":"b",}"#,
            r#"{"a":"b"}x"#,
            r#"{"a":"b"x}"#,
            r#"{"a":"b}"#,
            r#"{"a":[}"#,
            r#"{"a":1]}"#,
            r#"{"a":"b"}}"#,
            r#"{a:"b"}"#,
            r#"{"a":"\"}"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(name in any::<String>(), value in any::<String>()) {
            let json = object([(name.as_str(), value.as_str())].into_iter());
            prop_assert!(json.is_ascii());
            prop_assert_eq!(members(&json), Some(vec![(name, Some(value))]));
        }

        #[test]
        fn no_text_panics(json in "[{}\\[\\]\",:\\\\ua0é ]{0,40}") {
            let _members = members(&json);
        }
    }
}
