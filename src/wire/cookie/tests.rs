use std::time::Duration;

use proptest::prelude::*;

use super::*;

const OURS: &str = "__Host-doorwarden";

fn lines(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    headers
}

#[test]
fn our_cookie_is_found_wherever_it_is() {
    use CookieValue::*;
    for (cookies, value) in [
        (&[][..], Absent),
        (&["a=1; b=2"], Absent),
        (&["__Host-doorwarden=x"], One("x")),
        (&["a=1; __Host-doorwarden=x; b=2"], One("x")),
        (&["a=1;__Host-doorwarden=x"], One("x")),
        (&["a=1", "__Host-doorwarden=x", "b=2"], One("x")),
        (&["__Host-doorwarden = x "], One("x")),
        (&["__Host-doorwarden=\"x\""], One("\"x\"")),
        (&["__Host-doorwarden=a=b"], One("a=b")),
        (&["__Host-doorwarden="], One("")),
        (&["junk; __Host-doorwarden=x"], One("x")),
        (&["__Host-doorwarden=x; __Host-doorwarden=x"], One("x")),
        (&["__Host-doorwarden=x; __Host-doorwarden=y"], Conflicting),
        (&["__Host-doorwarden=x", "__Host-doorwarden=y"], Conflicting),
        (&["__Host-doorwarden=x; __Host-doorwarden=y; __Host-doorwarden=y"], Conflicting),
        (&["__Host-doorwarden=x; __Host-doorwarden="], Conflicting),
        (&["__host-doorwarden=x; __Host-doorwarden2=y; x__Host-doorwarden=z"], Absent),
        (&["__Host-doorwarden"], Absent),
        (&["a=1,__Host-doorwarden=x"], Absent),
        (&["__Host-doorwarden=김"], Malformed),
        (&["a=\t1; __Host-doorwarden=x"], Malformed),
    ] {
        assert_eq!(read(&lines(cookies), OURS), value, "{cookies:?}");
    }
}

#[test]
fn the_limits_count_all_lines() {
    let half = format!("a={}", "x".repeat(MAX_BYTES / 2));
    assert_eq!(read(&lines(&[&half]), OURS), CookieValue::Absent);
    assert_eq!(read(&lines(&[&half, &half]), OURS), CookieValue::Malformed);

    let pairs = "a=1;".repeat(MAX_PAIRS - 1);
    assert_eq!(read(&lines(&[&pairs]), OURS), CookieValue::Absent);
    assert_eq!(read(&lines(&[&pairs, "b=2"]), OURS), CookieValue::Malformed);
}

#[test]
fn the_upstream_gets_the_others_in_one_line() {
    for (cookies, left) in [
        (&[][..], None),
        (&["__Host-doorwarden=x"], None),
        (&["__Host-doorwarden=x", "other = y"], None),
        (&["sessionid=KIM;  a=\"x;y\""], Some("sessionid=KIM;  a=\"x;y\"")),
        (&["sessionid=KIM; __Host-doorwarden=x"], Some("sessionid=KIM")),
        (&["__Host-doorwarden=x; sessionid=KIM"], Some("sessionid=KIM")),
        (&["a=1; __Host-doorwarden=x;b=2;  c=3"], Some("a=1;b=2;  c=3")),
        (&["__Host-doorwarden=x; a=1; __Host-doorwarden=y"], Some("a=1")),
        (&["a=1", "__Host-doorwarden=x", "b=2"], Some("a=1; b=2")),
        (&["a=1", "b=김; c"], Some("a=1; b=김; c")),
        (&["__host-doorwarden=x"], Some("__host-doorwarden=x")),
    ] {
        let stripped = strip(&lines(cookies), &[OURS, "other"]);
        assert_eq!(
            stripped.as_ref().map(HeaderValue::as_bytes),
            left.map(str::as_bytes),
            "{cookies:?}"
        );
    }
}

#[test]
fn a_set_cookie_is_as_the_host_prefix_asks() {
    let cookie = SetCookie::new(OURS, "abc").max_age(Duration::from_secs(60)).header().unwrap();
    assert_eq!(cookie, "__Host-doorwarden=abc; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax");
    let removal = SetCookie::removal(OURS).header().unwrap();
    assert_eq!(removal, "__Host-doorwarden=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax");
    let other = SetCookie::new("lang", "ko")
        .secure(false)
        .http_only(false)
        .same_site(SameSite::Strict)
        .path("/login")
        .header();
    assert_eq!(other.unwrap(), "lang=ko; Path=/login; SameSite=Strict");
    let apart = SetCookie::new(OURS, "abc").same_site(SameSite::None).partitioned(true).header();
    assert_eq!(
        apart.unwrap(),
        "__Host-doorwarden=abc; Path=/; HttpOnly; Secure; SameSite=None; Partitioned"
    );
}

#[test]
fn a_set_cookie_cannot_be_broken_out_of() {
    for (name, value, path) in [
        ("", "x", "/"),
        ("a b", "x", "/"),
        ("a", "x; Domain=evil", "/"),
        ("a", "x\r\n", "/"),
        ("a", "x", "/;b"),
        ("a", "x", ""),
    ] {
        assert!(SetCookie::new(name, value).path(path).header().is_none(), "{name} {value} {path}");
    }
}

#[test]
fn an_upstream_cannot_hide_the_name_that_it_sets() {
    for ours in [
        "__Host-doorwarden=x; Path=/",
        "__HOST-Doorwarden=x",
        "  __Host-doorwarden =x",
        "=__Host-doorwarden=x; Secure",
        " = = __Host-doorwarden=x",
        "__Host-doorwarden",
        "__Host-doorwarden;",
    ] {
        assert!(sets_cookie(&HeaderValue::from_static(ours), OURS), "{ours}");
    }
    for other in [
        "",
        ";",
        "=",
        "a=__Host-doorwarden=x",
        "__Host-doorwarden2=x",
        "sessionid=x; __Host-doorwarden=y",
    ] {
        assert!(!sets_cookie(&HeaderValue::from_static(other), OURS), "{other}");
    }
    assert_eq!(set_cookie_name(&HeaderValue::from_static("a=b; c=d")), Some(&b"a"[..]));
    assert_eq!(set_cookie_name(&HeaderValue::from_static(" = ;x")), None);
}

proptest! {
    #[test]
    fn nothing_of_ours_is_left_and_nothing_else_is_touched(
        cookies in prop::collection::vec("(k|__Host-k|K|k2| k |é)?(=| = )?[a-z=\" ]{0,3}", 0..8),
        line_ends in prop::collection::vec(any::<bool>(), 8),
    ) {
        let mut split: Vec<Vec<&str>> = vec![vec![]];
        for (cookie, ends) in cookies.iter().zip(&line_ends) {
            split.last_mut().unwrap().push(cookie);
            if *ends { split.push(vec![]); }
        }
        let text: Vec<String> = split.iter().filter(|line| !line.is_empty()).map(|line| line.join(";")).collect();
        let headers = lines(&text.iter().map(String::as_str).collect::<Vec<_>>());

        let mut forwarded = HeaderMap::new();
        if let Some(value) = strip(&headers, &["k"]) {
            forwarded.insert(COOKIE, value);
        }
        prop_assert_eq!(read(&forwarded, "k"), CookieValue::Absent);
        for other in ["__Host-k", "K", "k2"] {
            prop_assert_eq!(read(&forwarded, other), read(&headers, other));
        }
    }
}

#[test]
fn no_spelling_that_a_server_reads_as_the_name_is_left() {
    for name in ["a", " a", "a ", "\u{a0}a", "a\u{3000}", "\u{2003} a \u{85}"] {
        let mut headers = HeaderMap::new();
        let line = format!("b=1; {name}=x; {name}; c=2");
        headers.insert(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        assert_eq!(strip(&headers, &["a"]).unwrap(), "b=1; c=2", "{name:?}");
    }
}

#[test]
fn a_set_cookie_sets_or_takes_away() {
    for (text, expected) in [
        ("sessionid=abc; Path=/; HttpOnly", Some(Some("abc"))),
        ("sessionid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/", Some(None)),
        ("sessionid=; Path=/", Some(None)),
        ("sessionid=abc; max-age=-1", Some(None)),
        ("sessionid=abc; Max-Age=1209600", Some(Some("abc"))),
        ("csrftoken=abc", None),
        ("sessionid", None),
    ] {
        let value = HeaderValue::from_static(text);
        assert_eq!(set_cookie_value(&value, "sessionid"), expected, "{text}");
    }
}

#[test]
fn a_cookie_can_be_taken_out_by_its_value() {
    for (line, left) in [
        ("sessionid=ours; a=1", Some("a=1")),
        ("sessionid=theirs; a=1", Some("sessionid=theirs; a=1")),
        ("sessionid=theirs; sessionid = \"ours\" ", Some("sessionid=theirs")),
        ("\u{a0}sessionid=ours\u{a0}", None),
        ("other=ours", Some("other=ours")),
    ] {
        let stripped = strip_where(&lines(&[line]), |pair| {
            pair.is_called("sessionid") && pair.value() == b"ours"
        });
        assert_eq!(stripped.as_ref().map(HeaderValue::as_bytes), left.map(str::as_bytes), "{line}");
    }
}

#[test]
fn all_values_of_a_name_are_seen() {
    let headers = lines(&["a=1; b=2; a = 3", "a=1;a=;A=4;a"]);
    assert_eq!(values(&headers, "a").collect::<Vec<_>>(), [&b"1"[..], b"3", b"1", b""]);
}
