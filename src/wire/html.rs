//! Escapes values in HTML that does not come from the gateway's own templates: an operator's error pages and letters.

/// Escapes a value for HTML, in text and in quoted attributes alike (the HTML standard: "escaping a string").
pub fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_text_or_its_attribute() {
        for (value, shown) in [
            ("<b>", "&lt;b&gt;"),
            ("\" onload='x", "&quot; onload=&#39;x"),
            ("&amp;", "&amp;amp;"),
            ("김민정 {{code}}", "김민정 {{code}}"),
        ] {
            assert_eq!(escape(value), shown);
        }
    }
}
