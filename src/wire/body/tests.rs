use proptest::prelude::*;

use super::*;

fn json(body: &str) -> Result<Fields, BodyProblem> {
    Fields::parse(Some(&HeaderValue::from_static("application/json")), body.as_bytes())
}

fn form(body: &str) -> Result<Fields, BodyProblem> {
    Fields::parse(
        Some(&HeaderValue::from_static("application/x-www-form-urlencoded")),
        body.as_bytes(),
    )
}

#[test]
fn json_and_forms_say_the_same() {
    for fields in [
        json(r#"{"username": "김민정", "password": " a+b&c ", "extra": [1, {"a": null}]}"#),
        form("username=%EA%B9%80%EB%AF%BC%EC%A0%95&password=+a%2Bb%26c+&extra"),
    ] {
        let fields = fields.unwrap();
        assert_eq!(fields.text("username"), Ok("김민정"));
        assert_eq!(fields.text("password"), Ok(" a+b&c "));
        assert_eq!(fields.trimmed("password"), Ok("a+b&c"));
        assert_eq!(fields.text("otp"), Err(FieldProblem::Required));
    }
    assert!(form("a=b").unwrap().is_form() && !json("{}").unwrap().is_form());
}

#[test]
fn a_field_is_a_text_or_a_number() {
    use FieldProblem::*;
    for (value, found) in [
        (r#""kim""#, Ok("kim")),
        ("1", Ok("1")),
        ("-7", Ok("-7")),
        ("1.0", Ok("1.0")),
        (r#""\ud83d\ude00""#, Ok("😀")),
        ("null", Err(Null)),
        (r#""""#, Err(Blank)),
        ("true", Err(NotAString)),
        ("[]", Err(NotAString)),
        (r#"{"a":"b"}"#, Err(NotAString)),
        (r#""a\u0000b""#, Err(NullCharacters)),
        (r#""\ud800""#, Err(Surrogate(0xD800))),
        (r#""a\\\uDFFFb""#, Err(Surrogate(0xDFFF))),
        (r#""\ud800\ud83d\ude00""#, Err(Surrogate(0xD800))),
    ] {
        let fields = json(&format!(r#"{{"field":{value},"other":"fine"}}"#)).unwrap();
        assert_eq!(fields.text("field"), found, "{value}");
        assert_eq!(fields.text("other"), Ok("fine"), "{value}");
    }
    assert_eq!(json(r#"{"field":" \t "}"#).unwrap().trimmed("field"), Err(Blank));
    assert_eq!(json(r#"{"field":" "}"#).unwrap().text("field"), Ok(" "));
    assert_eq!(form("field=%00").unwrap().text("field"), Err(NullCharacters));
}

#[test]
fn a_flag_is_a_boolean_or_what_forms_and_programs_write_for_one() {
    for (value, found) in [
        ("true", Ok(true)),
        ("false", Ok(false)),
        ("null", Ok(false)),
        ("1", Ok(true)),
        ("0", Ok(false)),
        (r#""on""#, Ok(true)),
        (r#""false""#, Ok(false)),
        (r#""""#, Ok(false)),
        (r#""yes, please""#, Err(FieldProblem::NotABoolean)),
        ("2", Err(FieldProblem::NotABoolean)),
        ("[true]", Err(FieldProblem::NotABoolean)),
    ] {
        assert_eq!(
            json(&format!(r#"{{"field":{value}}}"#)).unwrap().flag("field"),
            found,
            "{value}"
        );
    }
    assert_eq!(json("{}").unwrap().flag("field"), Ok(false));
    assert_eq!(form("field=on").unwrap().flag("field"), Ok(true));
    assert_eq!(form("field").unwrap().flag("field"), Ok(false));
}

#[test]
fn an_escaped_backslash_starts_no_surrogate() {
    let fields = json(r#"{"a":"\\ud800","b":"\ud800"}"#).unwrap();
    assert_eq!(fields.text("a"), Ok("\\ud800"));
    assert_eq!(fields.text("b"), Err(FieldProblem::Surrogate(0xD800)));
}

#[test]
fn a_field_problem_has_the_words_that_front_ends_know() {
    for (problem, message) in [
        (FieldProblem::Required, "This field is required."),
        (FieldProblem::Null, "This field may not be null."),
        (FieldProblem::Blank, "This field may not be blank."),
        (FieldProblem::NotAString, "Not a valid string."),
        (FieldProblem::NullCharacters, "Null characters are not allowed."),
        (FieldProblem::Surrogate(0xD800), "Surrogate characters are not allowed: U+D800."),
    ] {
        assert_eq!(problem.message(), message);
    }
}

#[test]
fn a_body_that_is_no_object_of_members_is_refused() {
    use BodyProblem::*;
    for (body, problem) in [
        ("{", Malformed),
        ("{'a': 1}", Malformed),
        (r#"{"a": 1,}"#, Malformed),
        (r#"{"a": 1} x"#, Malformed),
        (r#"{"a": NaN}"#, Malformed),
        ("{\"a\": \"\0\"}", Malformed),
        (r#"{"a": "\ud800"#, Malformed),
        (r#"{"a": "\ud800", "b": nonsense}"#, Malformed),
        ("[]", NotAnObject("list")),
        (r#"["a", {"b": 1}]"#, NotAnObject("list")),
        (r#""text""#, NotAnObject("str")),
        ("1", NotAnObject("int")),
        ("-1", NotAnObject("int")),
        ("1.5", NotAnObject("float")),
        ("true", NotAnObject("bool")),
        ("null", NotAnObject("NoneType")),
        ("[1", Malformed),
        (r#"{"a": 1, "a": 1}"#, DuplicateMember),
        (r#"{"a": 1, "\u0061": 2}"#, DuplicateMember),
        (r#"{"a": "\ud800", "a": 2}"#, DuplicateMember),
    ] {
        assert_eq!(json(body), Err(problem), "{body:?}");
    }
    for (body, problem) in
        [("a=1&a=1", DuplicateMember), ("a=1&%61=2", DuplicateMember), ("a=%ff", InvalidUtf8)]
    {
        assert_eq!(form(body), Err(problem), "{body:?}");
    }
    let latin_1 =
        Fields::parse(Some(&HeaderValue::from_static("application/json")), b"{\"a\": \"\xe9\"}");
    assert_eq!(latin_1, Err(InvalidUtf8));
}

#[test]
fn nesting_and_members_are_bounded() {
    let nested =
        |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(json(&nested(16)).is_ok());
    assert_eq!(json(&nested(17)), Err(BodyProblem::TooDeep));
    assert_eq!(json(&nested(100_000)), Err(BodyProblem::TooDeep));
    assert_eq!(json(&"[".repeat(100_000)), Err(BodyProblem::TooDeep));

    let many =
        |count: usize| (0..count).map(|index| format!("a{index}=1")).collect::<Vec<_>>().join("&");
    assert!(form(&many(64)).is_ok());
    assert_eq!(form(&many(65)), Err(BodyProblem::TooManyMembers));
}

#[test]
fn the_content_type_decides_and_an_empty_body_has_no_fields() {
    let parse = |content_type: Option<&str>, body: &str| {
        let content_type = content_type.map(|text| HeaderValue::from_str(text).unwrap());
        Fields::parse(content_type.as_ref(), body.as_bytes()).map(|_| ())
    };
    for content_type in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/json;charset=\"utf-8\"",
    ] {
        assert_eq!(parse(Some(content_type), "{}"), Ok(()), "{content_type}");
    }
    for content_type in ["", "text/plain", "application/json5", "application/json; charset=latin-1"]
    {
        assert_eq!(
            parse(Some(content_type), "{}"),
            Err(BodyProblem::UnsupportedMediaType),
            "{content_type}"
        );
        assert_eq!(parse(Some(content_type), ""), Ok(()), "{content_type}");
    }
    assert_eq!(parse(None, "{}"), Err(BodyProblem::NoContentType));
    assert_eq!(parse(None, ""), Ok(()));
}

#[test]
fn debug_shows_names_and_no_values() {
    let fields = json(r#"{"password": "hunter2"}"#).unwrap();
    assert_eq!(format!("{fields:?}"), r#"{"password"}"#);
}

proptest! {
    /// serde_json is the reference for what JSON is; only the gateway's own rules refuse more.
    #[test]
    fn what_serde_json_reads_is_read(body in r#"[\{\[]("[ab\\u0d8]{0,5}"|[\[\]{}:,]|1|-2\.5|true|null| ){0,10}[\}\]]?"#) {
        let reference: Result<serde_json::Value, _> = serde_json::from_str(&body);
        match json(&body) {
            Ok(fields) => if let Ok(value) = reference {
                prop_assert_eq!(fields.members.len(), value.as_object().unwrap().len());
            } else {
                // Only this reader accepts half a surrogate pair, in a value or in a name.
                prop_assert!(body.contains("\\ud8"), "{fields:?}");
            },
            Err(BodyProblem::Malformed) => prop_assert!(reference.is_err()),
            Err(BodyProblem::NotAnObject(_) | BodyProblem::DuplicateMember) => {}
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn every_text_survives_json(text in any::<String>()) {
        let body = serde_json::json!({ "field": text }).to_string();
        let fields = json(&body).unwrap();
        match fields.text("field") {
            Ok(found) => prop_assert_eq!(found, text),
            Err(FieldProblem::Blank) => prop_assert!(text.is_empty()),
            Err(problem) => prop_assert!(problem == FieldProblem::NullCharacters && text.contains('\0')),
        }
    }

    #[test]
    fn every_text_survives_a_form(text in "[^\0]{1,20}") {
        let body: String = form_urlencoded::Serializer::new(String::new()).append_pair("field", &text).finish();
        let fields = form(&body).unwrap();
        prop_assert_eq!(fields.text("field"), Ok(text.as_str()));
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..64)) {
        for content_type in ["application/json", "application/x-www-form-urlencoded"] {
            let _ = Fields::parse(Some(&HeaderValue::from_static(content_type)), &body);
        }
    }
}
