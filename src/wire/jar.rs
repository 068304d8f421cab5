//! The cookies that a service has set for one of its users, stored as a browser would store them.
//!
//! A jar holds the cookies of one service, so it has no `Domain`, and no `Path`: the configuration says which routes
//! get the cookies, and a path that the service knows may not be the client's (`strip_prefix`). Attributes that concern
//! only browsers (`Secure`, `HttpOnly`, `SameSite`) are ignored. Of two equal names the last counts.
//!
//! Names and values are accepted only if a `Cookie` line can hold them unambiguously. A jar has room for 32 cookies of
//! 8 KiB together; cookies beyond that are ignored.

use std::time::Duration;

use http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::secret::Secret;

const MAX_COOKIES: usize = 32;
const MAX_BYTES: usize = 8 * 1024;

/// A cookie whose expiry moves by less than this is the same cookie.
const SAME_END: Duration = Duration::from_secs(60);

/// The stored cookies of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jar(Vec<StoredCookie>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct StoredCookie {
    name: String,
    value: Secret,
    until: Option<Timestamp>,
}

/// The change that one `Set-Cookie` line makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieChange {
    /// The cookie's name.
    pub name: String,
    /// The new value, and when it expires; `None` if the cookie is deleted.
    pub to: Option<(Secret, Option<Timestamp>)>,
}

impl CookieChange {
    /// Returns the changes that the lines of an answer make, in their order.
    pub fn all(headers: &HeaderMap, at: Timestamp) -> impl Iterator<Item = Self> {
        headers.get_all(SET_COOKIE).iter().filter_map(move |line| Self::parse(line, at))
    }

    /// Parses a line by RFC 6265 section 5.2, without the rules for browsers only. `None`: it is not a cookie that could be
    /// sent back.
    pub fn parse(line: &HeaderValue, at: Timestamp) -> Option<Self> {
        let mut parts = line.to_str().ok()?.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let token = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
        let octet = |byte: u8| matches!(byte, b' '..=b'~') && byte != b';';
        if name.is_empty() || !name.bytes().all(token) || !value.bytes().all(octet) {
            return None;
        }
        let (mut max_age, mut expires) = (None, None);
        for (attribute, value) in parts.filter_map(|part| part.split_once('=')) {
            let (attribute, value) = (attribute.trim(), value.trim());
            if attribute.eq_ignore_ascii_case("max-age") {
                max_age = value.parse::<i64>().ok().or(max_age);
            } else if attribute.eq_ignore_ascii_case("expires") {
                expires = date(value).or(expires);
            }
        }
        let until = match max_age {
            Some(age) => Some(at.plus(Duration::from_secs(u64::try_from(age).unwrap_or(0)))),
            None => expires,
        };
        let is_over = value.is_empty() || until.is_some_and(|until| until <= at);
        let to = (!is_over).then(|| (Secret::new(value), until));
        Some(Self { name: name.to_owned(), to })
    }
}

impl Jar {
    /// Stores the cookies that an answer sets, and removes those that it deletes.
    pub fn take(&mut self, headers: &HeaderMap, at: Timestamp) {
        for change in CookieChange::all(headers, at) {
            self.apply(change);
        }
    }

    /// Makes one change, and returns whether it changed anything.
    pub fn apply(&mut self, change: CookieChange) -> bool {
        let CookieChange { name, to } = change;
        let place = self.0.iter().position(|cookie| cookie.name == name);
        let Some((value, until)) = to else {
            let Some(place) = place else { return false };
            self.0.remove(place);
            return true;
        };
        let cookie = StoredCookie { name, value, until };
        let others: usize =
            self.0.iter().filter(|other| other.name != cookie.name).map(StoredCookie::size).sum();
        if others + cookie.size() > MAX_BYTES {
            return false;
        }
        if let Some(old) = place.and_then(|place| self.0.get_mut(place)) {
            if old.says_the_same(&cookie) {
                return false;
            }
            *old = cookie;
            return true;
        }
        let has_room = self.0.len() < MAX_COOKIES;
        if has_room {
            self.0.push(cookie);
        }
        has_room
    }

    /// Returns a cookie that has not expired.
    pub fn get(&self, name: &str, at: Timestamp) -> Option<&Secret> {
        self.cookies(at).find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Returns the cookies that have not expired, in the order in which they came.
    pub fn cookies(&self, at: Timestamp) -> impl Iterator<Item = (&str, &Secret)> {
        let good = move |cookie: &&StoredCookie| cookie.until.is_none_or(|until| at < until);
        self.0.iter().filter(good).map(|cookie| (cookie.name.as_str(), &cookie.value))
    }

    /// Whether the jar is empty.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the `Cookie` line; `None` without cookies.
    pub fn line(&self, at: Timestamp) -> Option<HeaderValue> {
        let pairs: Vec<String> =
            self.cookies(at).map(|(name, value)| format!("{name}={}", value.expose())).collect();
        let line = Zeroizing::new(pairs.join("; "));
        let mut line = HeaderValue::from_str(&line).ok().filter(|line| !line.is_empty())?;
        line.set_sensitive(true);
        Some(line)
    }

    /// Serializes the jar, to be sealed and stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let all = self.0.iter().map(|cookie| {
            (cookie.name.as_str(), cookie.value.expose(), cookie.until.map(Timestamp::as_millis))
        });
        // Texts and numbers can always be serialized.
        serde_json::to_vec(&all.collect::<Vec<_>>()).unwrap_or_default()
    }

    /// Reads the output of [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // Characters that are escaped in JSON (`"`, `\`) cannot be borrowed.
        let all: Vec<(String, String, Option<u64>)> = serde_json::from_slice(bytes).ok()?;
        let all = all.into_iter().map(|(name, value, until)| StoredCookie {
            name,
            value: Secret::new(value),
            until: until.map(Timestamp::from_millis),
        });
        Some(Self(all.collect()))
    }
}

impl StoredCookie {
    fn size(&self) -> usize {
        self.name.len() + self.value.expose().len() + 3
    }

    /// Whether the change is not worth storing: an expiry that moves with every answer is not worth a write each time.
    fn says_the_same(&self, new: &Self) -> bool {
        let same_end = match (self.until, new.until) {
            (None, None) => true,
            (Some(old), Some(new)) => new >= old && new.since(old) < SAME_END,
            _ => false,
        };
        same_end && self.value == new.value
    }
}

/// Parses a date by RFC 6265 section 5.1.1, in the many forms that servers write. One before 1970 is 1970.
fn date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let is_delimiter = |c: char| !c.is_ascii_alphanumeric() && c != ':';
    for word in text.split(is_delimiter).filter(|word| !word.is_empty()) {
        let number = || word.parse::<i16>().ok().filter(|number| *number >= 0);
        let lower = word.to_ascii_lowercase();
        if time.is_none() && word.contains(':') {
            let parts: Vec<i8> = word.split(':').filter_map(|part| part.parse().ok()).collect();
            let [hour, minute, second] = parts[..] else { return None };
            time = Some((hour, minute, second));
        } else if day.is_none() && word.len() <= 2 && number().is_some() {
            day = i8::try_from(number()?).ok();
        } else if month.is_none() && lower.get(..3).is_some_and(|three| MONTHS.contains(&three)) {
            let place = MONTHS.iter().position(|one| lower.starts_with(one))?;
            month = i8::try_from(place + 1).ok();
        } else if year.is_none() && (word.len() == 2 || word.len() == 4) && number().is_some() {
            year = number().map(|year| match year {
                0..=69 => year + 2000,
                70..=99 => year + 1900,
                year => year,
            });
        }
    }
    let (hour, minute, second) = time?;
    let date = jiff::civil::DateTime::new(year?, month?, day?, hour, minute, second, 0).ok()?;
    let at = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
    Some(Timestamp::from_millis(u64::try_from(at).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_422_879);

    fn jar(lines: &[&str]) -> Jar {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SET_COOKIE, HeaderValue::from_str(line).unwrap());
        }
        let mut jar = Jar::default();
        jar.take(&headers, NOW);
        jar
    }

    fn line(jar: &Jar, after: u64) -> String {
        let line = jar.line(NOW.plus(Duration::from_secs(after)));
        line.map(|line| line.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn what_is_set_is_sent_back_as_a_browser_would() {
        for (lines, sent) in [
            (&["PHPSESSID=abc; path=/; HttpOnly"][..], "PHPSESSID=abc"),
            (&["a=1; Path=/x; Domain=app.example; Secure", "b=\"2 3\""], "a=1; b=\"2 3\""),
            (&["a=1", "a=2"], "a=2"),
            (&["a=1", "a=; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0"], ""),
            (&["a=1", "a=deleted; expires=Thu, 01 Jan 1970 00:00:01 GMT"], ""),
            (&["a=1", "a=x; Max-Age=-1"], ""),
            (&["a=b=c==; Max-Age=x; Expires=never"], "a=b=c=="),
            (&["=nameless", "no pair", "b c=1", "d=\u{e4}", "e,f=1"], ""),
        ] {
            assert_eq!(line(&jar(lines), 0), sent, "{lines:?}");
        }
    }

    #[test]
    fn a_cookie_ends_when_its_service_said() {
        for (set, last, over) in [
            ("a=1; Max-Age=60", 59, 60),
            // Max-Age takes precedence over the other attribute.
            ("a=1; expires=Thu, 01 Jan 1970 00:00:00 GMT; max-age=60", 59, 60),
            ("a=1; Expires=Mon, 23 Nov 2026 08:35:39 GMT", 59, 60),
            ("a=1; Expires=Mon, 23-Nov-26 08:35:39 GMT", 59, 60),
            ("a=1; Expires=Mon Nov 23 08:35:39 2026", 59, 60),
        ] {
            let jar = jar(&[set]);
            assert_eq!(
                (line(&jar, last), line(&jar, over)),
                ("a=1".into(), String::new()),
                "{set}"
            );
        }
    }

    #[test]
    fn only_what_changes_something_is_a_change() {
        let mut jar = jar(&["a=1; Max-Age=100"]);
        for (set, changes) in [
            ("a=1; Max-Age=100", false),
            ("a=1; Max-Age=159", false),
            ("a=1; Max-Age=160", true),
            ("a=1; Max-Age=159", true),
            ("a=2; Max-Age=159", true),
            ("a=2", true),
            ("a=", true),
            ("a=", false),
        ] {
            let change = CookieChange::parse(&HeaderValue::from_static(set), NOW).unwrap();
            assert_eq!(jar.apply(change), changes, "{set}");
        }
    }

    #[test]
    fn a_jar_has_room_for_so_much() {
        let many: Vec<String> = (0..40).map(|number| format!("c{number}=1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(jar(&many).cookies(NOW).count(), MAX_COOKIES);
        let large = format!("a={}", "x".repeat(MAX_BYTES));
        assert_eq!(line(&jar(&["b=1", &large]), 0), "b=1");
    }

    #[test]
    fn it_prints_no_value() {
        assert!(!format!("{:?}", jar(&["a=hunter2"])).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn whatever_is_set_a_line_holds_it_and_it_can_be_kept(text in "[ -~]{0,60}", days in "[ -~]{0,40}") {
            let jar = jar(&[&text, &format!("a=1; expires={days}"), &format!("{text}; expires={days}")]);
            let sent = line(&jar, 0);
            prop_assert_eq!(sent.split("; ").filter(|pair| !pair.is_empty()).count(), jar.cookies(NOW).count());
            prop_assert_eq!(Jar::from_bytes(&jar.to_bytes()), Some(jar));
        }
    }
}
