use proptest::prelude::*;

use super::*;

fn path(text: &str) -> CanonicalPath {
    CanonicalPath::parse(text).unwrap()
}

fn strict(raw: &str) -> Result<String, TargetProblem> {
    Target::parse(raw, Tolerance::NONE).map(|target| target.to_string())
}

#[test]
fn a_plain_target_stays_as_it_is() {
    for raw in [
        "/",
        "/app",
        "/app/",
        "/.well-known/jwks.json",
        "/.well-known/",
        "/a.b/c..d/...",
        "/~kim/@me:x,y=1+2!$&'()*",
        "/caf%C3%A9",
        "/100%25",
        "/50%25off",
        "/%2541",
        "/a%20b%3Fc%23d",
        "/x?",
        "/x?next=/a/../b;c//d%2F%00\\|%zz",
    ] {
        assert_eq!(strict(raw).as_deref(), Ok(raw));
    }
}

#[test]
fn one_spelling_is_left() {
    for (raw, canonical) in [
        ("/%41%7e%2D%5f", "/A~-_"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a|b{c}[d]", "/a%7Cb%7Bc%7D%5Bd%5D"),
        ("/a%7cb", "/a%7Cb"),
    ] {
        assert_eq!(strict(raw).as_deref(), Ok(canonical));
    }
}

#[test]
fn what_has_two_readings_is_refused_whatever_is_tolerated() {
    use TargetProblem::*;
    for (raw, problem) in [
        ("", NotOriginForm),
        ("*", NotOriginForm),
        ("admin", NotOriginForm),
        ("?x", NotOriginForm),
        ("http://host/admin", NotOriginForm),
        ("host:443", NotOriginForm),
        ("//host/admin", LeadingDoubleSlash),
        ("//host/../admin", LeadingDoubleSlash),
        ("/%2Fhost/admin", LeadingDoubleSlash),
        ("/;x/admin", LeadingDoubleSlash),
        ("/public/../admin", DotSegment),
        ("/public/./admin", DotSegment),
        ("/public/..", DotSegment),
        ("/.", DotSegment),
        ("/public/%2e%2E/admin", DotSegment),
        ("/public/.%2e/admin", DotSegment),
        ("/public/..;x=1/admin", DotSegment),
        ("/public/..%3bx/admin", DotSegment),
        ("/public/..%2fadmin", DotSegment),
        ("/public%2f..%2fadmin", DotSegment),
        ("/public%2F.", DotSegment),
        ("/public\\..\\admin", Backslash),
        ("/a%00", ControlCharacter),
        ("/a%0d%0aX", ControlCharacter),
        ("/a%7f", ControlCharacter),
        ("/a%C2%85", ControlCharacter),
        ("/a b", ControlCharacter),
        ("/a\tb", ControlCharacter),
        ("/a\0", ControlCharacter),
        ("/a?b\r", ControlCharacter),
        ("/a?b c", ControlCharacter),
        ("/a\u{85}", ControlCharacter),
        ("/?a\u{85}", ControlCharacter),
        ("/a#b", Fragment),
        ("/a?b#c", Fragment),
        ("/%", BadEscape),
        ("/%4", BadEscape),
        ("/%zz", BadEscape),
        ("/%u0041", BadEscape),
        ("/%c0%ae%c0%ae/", DotSegment),
        ("/%252e%252e/", DotSegment),
        ("/%252Fhost", LeadingDoubleSlash),
        ("/%5chost", LeadingDoubleSlash),
        ("/%255chost", LeadingDoubleSlash),
        ("/public%5c..%5cadmin", DotSegment),
        ("/public/..%5cadmin", DotSegment),
        ("/public/..%255cadmin", DotSegment),
        ("/%2500", ControlCharacter),
        ("/%25252e", DotSegment),
        ("/%25%32%65", DotSegment),
        ("/%2%35%32e", BadEscape),
        ("/%252%2565", DotSegment),
        ("/%2525252525", NestedEscape),
    ] {
        assert_eq!(Target::parse(raw, Tolerance::ALL).unwrap_err(), problem, "{raw:?}");
    }
}

#[test]
fn the_work_for_nested_escapes_is_bounded() {
    let nested = format!("/%25{}33", "3%25".repeat(4000));
    assert_eq!(strict(&nested), Err(TargetProblem::NestedEscape));
}

#[test]
fn the_harmless_ones_pass_where_each_is_tolerated() {
    use Ambiguity::*;
    for (raw, ambiguity, canonical) in [
        ("/a%2fb", EncodedSlash, "/a%2Fb"),
        ("/a//b", DoubleSlash, "/a//b"),
        ("/a/b//", DoubleSlash, "/a/b//"),
        ("/a;b", Semicolon, "/a;b"),
        ("/a/;b", Semicolon, "/a/;b"),
        ("/a%3bb", Semicolon, "/a%3Bb"),
        ("/a%2ejpg", EncodedDot, "/a.jpg"),
        ("/%2ehidden", EncodedDot, "/.hidden"),
        ("/queues/%2F/q", EncodedSlash, "/queues/%2F/q"),
        ("/a%252Fb", DoubleEscape, "/a%252Fb"),
        ("/a%255cb", DoubleEscape, "/a%255cb"),
        ("/a%5cb", EncodedBackslash, "/a%5Cb"),
        ("/%C7%D1%b1%db.txt", InvalidUtf8, "/%C7%D1%B1%DB.txt"),
        ("/%ed%a0%80", InvalidUtf8, "/%ED%A0%80"),
        ("/caf\u{e9}", RawUtf8, "/caf%C3%A9"),
        ("/?q=caf\u{e9}", RawUtf8, "/"),
    ] {
        assert_eq!(strict(raw), Err(TargetProblem::Ambiguous(ambiguity)), "{raw}");
        let others: Tolerance =
            Ambiguity::ALL.into_iter().filter(|one| *one != ambiguity).collect();
        assert!(Target::parse(raw, others).is_err(), "{raw}");

        let target = Target::parse(raw, Tolerance::NONE.with(ambiguity)).unwrap();
        assert_eq!(target.path().as_str(), canonical);
        assert_eq!(target.ambiguities(), Tolerance::NONE.with(ambiguity), "{raw}");
        assert!(target.tolerated_by(Tolerance::NONE).is_err());
        assert_eq!(target.forwarded(None).as_deref(), Some(raw), "byte for byte");
        assert_eq!(Ambiguity::from_name(ambiguity.name()), Some(ambiguity));
    }
}

#[test]
fn parameters_that_hide_an_empty_segment_are_read_with_and_without_it() {
    let target = Target::parse("/a/;x/b", Tolerance::ALL).unwrap();
    assert_eq!(target.ambiguities(), Tolerance::NONE.with(Ambiguity::Semicolon));
    let readings: Vec<&str> = target.readings().iter().map(CanonicalPath::as_str).collect();
    assert_eq!(readings, ["/a//b", "/a/b"]);
}

#[test]
fn a_prefix_holds_whole_segments() {
    for (prefix, inside, outside) in [
        (
            "/app",
            &["/app", "/app/", "/app/x"][..],
            &["/application", "/ap", "/App", "/", "/x/app"][..],
        ),
        ("/static/", &["/static", "/static/", "/static/x"], &["/statics", "/static.js"]),
        ("/", &["/", "/app", "/a/b"], &[]),
    ] {
        for candidate in inside {
            assert!(path(candidate).starts_with_segments(&path(prefix)), "{prefix} {candidate}");
        }
        for candidate in outside {
            assert!(!path(candidate).starts_with_segments(&path(prefix)), "{prefix} {candidate}");
        }
    }
}

#[test]
fn an_encoded_slash_ends_no_segment() {
    let target = Target::parse("/app%2Fx", Tolerance::ALL).unwrap();
    assert!(!target.path().starts_with_segments(&path("/app")));
}

#[test]
fn raw_bytes_that_are_no_utf8_are_refused() {
    for raw in [&b"/caf\xe9"[..], b"/?caf\xe9", b"/a\xc0\xae"] {
        assert_eq!(Target::parse(raw, Tolerance::ALL), Err(TargetProblem::NotAscii), "{raw:?}");
    }
}

#[test]
fn what_is_tolerated_loses_a_prefix_and_nothing_else() {
    for (raw, prefix, forwarded) in [
        ("/app/a%2fb?x=%zz", "/app", Some("/a%2fb?x=%zz")),
        ("/app//x", "/app/", None),
        ("/%61pp/a;b", "/app", Some("/a;b")),
        ("/app;v=1/x", "/app", None),
    ] {
        let target = Target::parse(raw, Tolerance::ALL).unwrap();
        assert_eq!(target.forwarded(Some(&path(prefix))).as_deref(), forwarded, "{raw}");
    }
}

#[test]
fn stripping_leaves_a_canonical_path_or_nothing() {
    for (full, prefix, rest) in [
        ("/app/x", "/app", Some("/x")),
        ("/app/x", "/app/", Some("/x")),
        ("/app", "/app/", Some("/")),
        ("/app/", "/app", Some("/")),
        ("/app/x", "/", Some("/app/x")),
        ("/app//x", "/app", None),
        ("/app/%2Fx", "/app", None),
        ("/application", "/app", None),
    ] {
        let full = Target::parse(full, Tolerance::ALL).unwrap();
        let stripped = full.path().strip_prefix(&path(prefix));
        assert_eq!(stripped.as_ref().map(CanonicalPath::as_str), rest, "{full} {prefix}");
    }
}

#[test]
fn segments_are_what_lies_between_the_slashes() {
    assert_eq!(path("/a/b").segments().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(path("/a/").segments().collect::<Vec<_>>(), ["a", ""]);
    assert_eq!(path("/").segments().collect::<Vec<_>>(), [""]);
}

#[test]
fn a_query_is_what_follows_the_first_question_mark() {
    for (raw, query) in [
        ("/a", None),
        ("/a?", Some("")),
        ("/a?b=1&c", Some("b=1&c")),
        ("/a?b?c", Some("b?c")),
        ("/a?%2e/../%zz;", Some("%2e/../%zz;")),
    ] {
        assert_eq!(Target::parse(raw, Tolerance::NONE).unwrap().query(), query, "{raw}");
    }
}

#[test]
fn a_path_is_written_as_it_is_matched() {
    for (raw, written) in [("/", "/"), ("/a/b%20c", "/a/b%20c"), ("/%7ekim", "/~kim")] {
        assert_eq!(path(raw).to_string(), written);
        assert_eq!(path(raw).as_str(), written);
    }
}

#[test]
fn an_operators_path_has_no_query() {
    assert_eq!(CanonicalPath::parse("/a?b"), Err(TargetProblem::Query));
    assert!(CanonicalPath::parse("/a;b").is_err());
}

/// Generates targets from pieces that attackers combine.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "/",
        "/",
        ".",
        "..",
        "%2e",
        "%2E",
        "%2f",
        "%2F",
        "%5c",
        "\\",
        "%25",
        "25",
        "2e",
        "2f",
        "%",
        ";",
        "%3b",
        "a",
        "B",
        "%41",
        "%c3%a9",
        "%ff",
        "~",
        "|",
        "%7c",
        "%00",
        " ",
        "#",
        "?",
        "%32%65",
        "é",
        "%e2%80%ae",
    ]);
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn canonicalizing_twice_changes_nothing(raw in hostile()) {
        if let Ok(target) = Target::parse(&raw, Tolerance::ALL) {
            let again = Target::parse(target.to_string(), Tolerance::ALL).unwrap();
            prop_assert_eq!(again.path(), target.path());
            prop_assert_eq!(target.readings().is_empty() || !target.ambiguities().is_empty(), true);
            prop_assert_eq!(again.query(), target.query());
        }
    }

    #[test]
    fn no_canonical_path_holds_a_refused_form(raw in hostile()) {
        if let Ok(target) = Target::parse(&raw, Tolerance::NONE) {
            let path = target.path().as_str();
            prop_assert!(path.starts_with('/'));
            for refused in ["//", "\\", ";", "#", "?", " ", "%2E", "%2F", "%5C", "%3B", "%00", "%252", "%41"] {
                prop_assert!(!path.contains(refused), "{path} holds {refused}");
            }
            prop_assert!(target.path().segments().all(|segment| segment != "." && segment != ".."));
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }

    /// Whatever is tolerated, and however many times an upstream decodes, the path never leaves the directory.
    #[test]
    fn no_number_of_decodings_shows_a_dot_segment(raw in hostile()) {
        if let Ok(target) = Target::parse(&raw, Tolerance::ALL) {
            let mut text = target.path().as_str().as_bytes().to_vec();
            for _ in 0..6 {
                for segment in text.split(|byte| *byte == b'/' || *byte == b'\\') {
                    let name = segment.split(|byte| *byte == b';').next().unwrap();
                    prop_assert!(name != b"." && name != b"..", "{target}");
                }
                prop_assert!(!text.contains(&0));
                text = percent_encoding::percent_decode(&text).collect();
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(raw in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Target::parse(&raw, Tolerance::ALL);
    }
}

#[test]
fn the_last_parameter_is_taken_off_and_nothing_else_changes() {
    let split = |raw: &str| {
        let target = Target::parse(raw, Tolerance::NONE).unwrap();
        let split = target.split_last_parameter("t");
        split.map(|(value, rest)| (value.to_owned(), rest.forwarded(None).unwrap()))
    };
    let found = |value: &str, rest: &str| Some((value.to_owned(), rest.to_owned()));
    for (raw, expected) in [
        ("/pay?a=1&t=x", found("x", "/pay?a=1")),
        ("/pay?t=x", found("x", "/pay")),
        ("/pay?&t=x", found("x", "/pay?")),
        ("/pay?t=1&t=", found("", "/pay?t=1")),
        ("/pay?a=%26t=1&t=x%20", found("x%20", "/pay?a=%26t=1")),
        ("/pay?t=x&a=1", None),
        ("/pay?at=x", None),
        ("/pay?t", None),
        ("/pay", None),
    ] {
        assert_eq!(split(raw), expected, "{raw}");
    }
}
