//! Finds a token in an HTML page: the value of an `<input>` or the content of a `<meta>`, by its name.
//!
//! This is not a full HTML parser. It reads the tags of a page in one pass and without going back, and implements as much of
//! the standard's tokenizer as it needs to distinguish tags from text: comments, the elements whose content is text
//! (`script`, `style`, `textarea`, `title`), quotes around values, and character references in them. If it reads a wrong
//! token, the service refuses that: a sign-in fails, and never succeeds wrongly.
//!
//! A page may have several forms, each with its own token (Rails: `per_form_csrf_tokens`). The token is taken from the form
//! that asks for a password, or from the first form if none does.

/// Returns the value of the input `name`.
pub(super) fn input(page: &str, name: &str) -> Option<String> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let (mut form, mut asks_password) = (0, None);
    for tag in Tags::new(page) {
        match &*tag.name {
            "form" => form += 1,
            "input" => {
                if tag.attribute("type").is_some_and(|kind| kind.eq_ignore_ascii_case("password")) {
                    asks_password = asks_password.or(Some(form));
                }
                if tag.attribute("name").as_deref() == Some(name) {
                    found.extend(tag.attribute("value").map(|value| (form, value)));
                }
            }
            _ => {}
        }
    }
    let place = found.iter().position(|(form, _)| Some(*form) == asks_password).unwrap_or(0);
    let (_, value) = (place < found.len()).then(|| found.swap_remove(place))?;
    Some(value)
}

/// Returns the content of the meta `name`.
pub(super) fn meta(page: &str, name: &str) -> Option<String> {
    Tags::new(page)
        .filter(|tag| tag.name == "meta" && tag.attribute("name").as_deref() == Some(name))
        .find_map(|tag| tag.attribute("content"))
}

/// A start tag: its name in lower case, and the text of its attributes.
struct Tag<'p> {
    name: String,
    attributes: &'p str,
}

/// The start tags of a page.
struct Tags<'p> {
    rest: &'p str,
}

impl<'p> Tags<'p> {
    const fn new(page: &'p str) -> Self {
        Self { rest: page }
    }

    /// Continues after `end`, or at the end of the page if `end` does not occur.
    fn skip(&mut self, end: &str) {
        self.rest =
            self.rest.find(end).and_then(|at| self.rest.get(at + end.len()..)).unwrap_or("");
    }

    /// Continues at the end tag of an element whose content is text.
    fn skip_text(&mut self, name: &str) {
        let end = format!("</{name}");
        let bytes = self.rest.as_bytes();
        let at =
            bytes.windows(end.len()).position(|window| window.eq_ignore_ascii_case(end.as_bytes()));
        self.rest = at.and_then(|at| self.rest.get(at..)).unwrap_or("");
    }
}

impl<'p> Iterator for Tags<'p> {
    type Item = Tag<'p>;

    fn next(&mut self) -> Option<Tag<'p>> {
        loop {
            self.skip("<");
            let first = self.rest.chars().next()?;
            if let Some(comment) = self.rest.strip_prefix("!--") {
                self.rest = comment;
                self.skip("-->");
            } else if first.is_ascii_alphabetic() {
                break;
            }
        }
        let is_end = |c: char| c.is_ascii_whitespace() || c == '/' || c == '>';
        let (name, behind) = self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
        let name = name.to_ascii_lowercase();
        let (attributes, rest) = behind.split_at(length_of_attributes(behind));
        self.rest = rest;
        if matches!(&*name, "script" | "style" | "textarea" | "title") {
            self.skip_text(&name);
        }
        Some(Tag { name, attributes })
    }
}

/// Returns the length up to the `>` that ends the tag; a `>` in quotes does not end it.
fn length_of_attributes(text: &str) -> usize {
    let mut rest = text;
    while let Some((_, _, behind)) = next_attribute(rest) {
        rest = behind;
    }
    text.len() - rest.len()
}

/// Returns a name, its raw value, and the rest; `None` at the end of the tag.
fn next_attribute(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
    if text.is_empty() || text.starts_with('>') {
        return None;
    }
    // An equals sign at the start is part of the name.
    let from = text.chars().next().map_or(0, char::len_utf8);
    let is_end = |c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>' | '=');
    let end = text.get(from..)?.find(is_end).map_or(text.len(), |at| from + at);
    let (name, rest) = text.split_at(end);
    let Some(value) = rest.trim_ascii_start().strip_prefix('=') else {
        return Some((name, "", rest));
    };
    let value = value.trim_ascii_start();
    for quote in ['"', '\''] {
        if let Some(quoted) = value.strip_prefix(quote) {
            // If the closing quote is missing, the rest of the page is the value.
            return Some(match quoted.split_once(quote) {
                Some((value, rest)) => (name, value, rest),
                None => (name, quoted, ""),
            });
        }
    }
    let end = value.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(value.len());
    let (value, rest) = value.split_at(end);
    Some((name, value, rest))
}

impl Tag<'_> {
    /// Returns an attribute's decoded value. The first of several equal names counts.
    fn attribute(&self, name: &str) -> Option<String> {
        let mut rest = self.attributes;
        while let Some((found, value, behind)) = next_attribute(rest) {
            if found.eq_ignore_ascii_case(name) {
                return Some(decoded(value));
            }
            rest = behind;
        }
        None
    }
}

/// Decodes the character references that templates write into values.
fn decoded(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, reference) = rest.split_at(at);
        decoded.push_str(before);
        // No supported name is longer, and the next `;` may be at the end of a long page.
        let end = reference.bytes().take(12).position(|byte| byte == b';');
        let known = end.and_then(|end| Some((reference.get(1..end)?, reference.get(end + 1..)?)));
        match known.and_then(|(name, behind)| Some((character(name)?, behind))) {
            Some((character, behind)) => {
                decoded.push(character);
                rest = behind;
            }
            None => {
                decoded.push('&');
                rest = reference.get(1..).unwrap_or_default();
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "plus" => '+',
        "sol" => '/',
        "equals" => '=',
        "nbsp" => '\u{a0}',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_found_however_the_tag_is_written() {
        for page in [
            r#"<input type="hidden" name="token" value="a+b/c=="/>"#,
            r#"<INPUT VALUE='a+b/c==' TYPE=hidden NAME='token'>"#,
            "<input\n\tname=token\n\tvalue=a+b/c== >",
            r#"<input value = "a+b/c==" disabled name = "token">"#,
            r#"<input name="token" value="a&#43;b&#x2f;c=&equals;">"#,
            r#"<form><input name="token" title=">" value="a+b/c=="></form>"#,
            r#"<!-- <input name="token" value="comment"> --><input name="token" value="a+b/c==">"#,
            r#"<script>'<input name="token" value="script">'</SCRIPT ><input name="token" value="a+b/c==">"#,
            r#"<textarea><input name="token" value="text"></textarea><input name="token" value="a+b/c==">"#,
            r#"a < b <input name="tok" value="x"><input name="token" value="a+b/c==" value="second">"#,
            r#"<input data-name="token" value="x"><input name="token" value="a+b/c==">"#,
        ] {
            assert_eq!(input(page, "token").as_deref(), Some("a+b/c=="), "{page}");
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        for page in [
            "",
            "<",
            "<input",
            "<input name=token",
            r#"<input name="token">"#,
            r#"<input name="Token" value="x">"#,
            r#"<select name="token" value="x">"#,
            r#"<!-- <input name="token" value="x">"#,
            r#"<title><input name="token" value="x">"#,
            r#"&lt;input name="token" value="x"&gt;"#,
        ] {
            assert_eq!(input(page, "token"), None, "{page}");
        }
    }

    #[test]
    fn the_form_that_asks_for_a_password_has_the_token() {
        let page = r#"
            <form action="/locale"><input name="t" value="locale"></form>
            <form action="/users/sign_in"><input name="t" value="login"><input type="password" name="p"></form>
            <form action="/search"><input name="t" value="search"></form>"#;
        assert_eq!(input(page, "t").as_deref(), Some("login"));
        let page = page.replace("password", "text");
        assert_eq!(input(&page, "t").as_deref(), Some("locale"));
    }

    #[test]
    fn a_meta_has_it_as_its_content() {
        let page = r#"<head><meta charset=utf-8><meta name="csrf-param" content="x"><meta content="a&amp;b&unknown;&" name="csrf-token" /></head>"#;
        assert_eq!(meta(page, "csrf-token").as_deref(), Some("a&b&unknown;&"));
        assert_eq!(meta(page, "other"), None);
    }

    fn escaped(text: &str) -> String {
        text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
    }

    proptest! {
        #[test]
        fn whatever_the_token_is_it_is_found(value in "\\PC{0,40}", before in "[a-z =\"'>]{0,40}") {
            let page = format!("<p>{}</p><input name='t' value=\"{}\">", escaped(&before), escaped(&value));
            prop_assert_eq!(input(&page, "t"), Some(value));
        }

        #[test]
        fn no_page_is_too_odd(page in "[<>/!a-c='\"& ;#-]{0,80}", text in "\\PC{0,40}") {
            let page = format!("{page}{text}");
            input(&page, "a");
            meta(&page, "a");
        }
    }
}
