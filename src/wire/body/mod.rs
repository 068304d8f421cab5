//! Reads the body of a request to an own path: named fields, from JSON, a URL-encoded form or a multipart form.
//!
//! Existing front ends send what Django REST framework accepts, so its rules hold for a field: numbers become their text,
//! surrounding white space can be trimmed, and the error messages are the same. Two rules are stricter: a member that occurs
//! twice is refused (two parsers take different ones), and so are deep nesting and invalid UTF-8. Unknown members are ignored.
//!
//! The values are passwords and tokens, so they are [`Secret`]s, and `Debug` shows only names.

use std::borrow::Cow;
use std::fmt;

use http::HeaderValue;
use percent_encoding::percent_decode_str;

use crate::refusal::Refusal;
use crate::secret::Secret;

mod json;
mod multipart;
#[cfg(test)]
mod tests;

/// The most members of a body: more than any own path knows, and few enough to compare each with each.
const MAX_MEMBERS: usize = 64;

/// The fields of a body.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Fields {
    members: Vec<(String, Member)>,
    form: bool,
}

/// The value of a member, as far as a field can use it.
#[derive(Clone, PartialEq, Eq)]
enum Member {
    Null,
    /// A string, or a number's text.
    Text(Secret),
    /// A string that is not text because of half a surrogate pair: this one.
    Surrogate(u16),
    /// A boolean.
    Flag(bool),
    /// A list or object.
    Other,
}

/// The reason why a body has no fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BodyProblem {
    /// The request has a body, but no content type.
    NoContentType,
    /// The content type is neither JSON nor a form, or its charset is not UTF-8.
    UnsupportedMediaType,
    /// The body is not what the content type says.
    Malformed,
    /// The body is not a form in parts, although the content type says so.
    MalformedMultipart,
    /// The body is not UTF-8.
    InvalidUtf8,
    /// The body is JSON, but not an object; its type, as Python calls it.
    NotAnObject(&'static str),
    /// A member occurs twice.
    DuplicateMember,
    /// The nesting is deeper than 16 levels.
    TooDeep,
    /// The body has more than 64 members.
    TooManyMembers,
}

/// The problem of one field, in the order of the checks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FieldProblem {
    /// The field is missing.
    Required,
    /// The field is `null`.
    Null,
    /// The field is empty.
    Blank,
    /// The field is neither a string nor a number.
    NotAString,
    /// The field is neither true nor false.
    NotABoolean,
    /// The field contains a NUL.
    NullCharacters,
    /// The field contains half a surrogate pair: this one.
    Surrogate(u16),
}

impl Fields {
    /// Reads a body. An empty one has no fields, whatever its type.
    ///
    /// # Errors
    /// The reason why the body has no fields.
    pub fn parse(content_type: Option<&HeaderValue>, body: &[u8]) -> Result<Self, BodyProblem> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        match MediaType::of(content_type.ok_or(BodyProblem::NoContentType)?)? {
            MediaType::Json => Ok(Self { members: json::members(body)?, form: false }),
            MediaType::Form => Ok(Self { members: form_members(body)?, form: true }),
            MediaType::Multipart(boundary) => {
                Ok(Self { members: multipart::members(body, boundary)?, form: true })
            }
        }
    }

    /// Whether the body came as a form, which other sites' pages can send without a preflight.
    pub const fn is_form(&self) -> bool {
        self.form
    }

    /// Returns the field, byte for byte.
    ///
    /// # Errors
    /// The problem with the field.
    pub fn text(&self, name: &str) -> Result<&str, FieldProblem> {
        self.field(name, |text| text)
    }

    /// Returns the field without surrounding white space, as SimpleJWT takes user names, passwords and tokens.
    ///
    /// # Errors
    /// The problem with the field.
    pub fn trimmed(&self, name: &str) -> Result<&str, FieldProblem> {
        self.field(name, str::trim)
    }

    /// Whether the field is set: `true`, or the words that a form's check box or a program uses for it. A missing field is not
    /// set.
    ///
    /// # Errors
    /// [`FieldProblem::NotABoolean`]
    pub fn flag(&self, name: &str) -> Result<bool, FieldProblem> {
        let Some((_, member)) = self.members.iter().find(|(other, _)| other == name) else {
            return Ok(false);
        };
        match member {
            Member::Null => Ok(false),
            Member::Flag(flag) => Ok(*flag),
            Member::Text(text) => match text.expose() {
                "on" | "true" | "1" => Ok(true),
                "" | "off" | "false" | "0" => Ok(false),
                _ => Err(FieldProblem::NotABoolean),
            },
            Member::Surrogate(_) | Member::Other => Err(FieldProblem::NotABoolean),
        }
    }

    fn field(&self, name: &str, edit: impl Fn(&str) -> &str) -> Result<&str, FieldProblem> {
        let (_, member) =
            self.members.iter().find(|(other, _)| other == name).ok_or(FieldProblem::Required)?;
        let text = match member {
            Member::Null => return Err(FieldProblem::Null),
            Member::Flag(_) | Member::Other => return Err(FieldProblem::NotAString),
            Member::Surrogate(half) => return Err(FieldProblem::Surrogate(*half)),
            Member::Text(text) => edit(text.expose()),
        };
        if text.is_empty() {
            Err(FieldProblem::Blank)
        } else if text.contains('\0') {
            Err(FieldProblem::NullCharacters)
        } else {
            Ok(text)
        }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.members.iter().map(|(name, _)| name)).finish()
    }
}

impl BodyProblem {
    /// Returns the refusal that the client gets.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::NoContentType | Self::UnsupportedMediaType => Refusal::UnsupportedMediaType,
            Self::Malformed
            | Self::MalformedMultipart
            | Self::InvalidUtf8
            | Self::NotAnObject(_)
            | Self::DuplicateMember
            | Self::TooDeep
            | Self::TooManyMembers => Refusal::BadBody,
        }
    }
}

impl FieldProblem {
    /// Returns Django REST framework's message.
    pub fn message(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Required => "This field is required.",
            Self::Null => "This field may not be null.",
            Self::Blank => "This field may not be blank.",
            Self::NotAString => "Not a valid string.",
            Self::NotABoolean => "Must be a valid boolean.",
            Self::NullCharacters => "Null characters are not allowed.",
            Self::Surrogate(half) => {
                return format!("Surrogate characters are not allowed: U+{half:04X}.").into();
            }
        })
    }
}

/// The kinds of body that the gateway reads.
enum MediaType<'h> {
    Json,
    Form,
    /// A form in parts, with its boundary.
    Multipart(&'h str),
}

impl<'h> MediaType<'h> {
    fn of(content_type: &'h HeaderValue) -> Result<Self, BodyProblem> {
        let text = content_type.to_str().map_err(|_| BodyProblem::UnsupportedMediaType)?;
        let mut parts = text.split(';');
        let essence = parts.next().unwrap_or_default().trim();
        let is_utf8 =
            parts.clone().filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
                !name.trim().eq_ignore_ascii_case("charset")
                    || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            });
        if !is_utf8 {
            Err(BodyProblem::UnsupportedMediaType)
        } else if essence.eq_ignore_ascii_case("application/json") {
            Ok(Self::Json)
        } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Ok(Self::Form)
        } else if essence.eq_ignore_ascii_case("multipart/form-data") {
            multipart::boundary(parts).map(Self::Multipart)
        } else {
            Err(BodyProblem::UnsupportedMediaType)
        }
    }
}

/// Returns the pairs of a form. It does not use `form_urlencoded`, which replaces invalid UTF-8 instead of refusing it.
fn form_members(body: &[u8]) -> Result<Vec<(String, Member)>, BodyProblem> {
    let text = std::str::from_utf8(body).map_err(|_| BodyProblem::InvalidUtf8)?;
    let mut members = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        add(&mut members, form_text(name)?, Member::Text(Secret::new(form_text(value)?)))?;
    }
    Ok(members)
}

fn form_text(encoded: &str) -> Result<String, BodyProblem> {
    let spaced = encoded.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(BodyProblem::InvalidUtf8),
    }
}

fn add(
    members: &mut Vec<(String, Member)>,
    name: String,
    member: Member,
) -> Result<(), BodyProblem> {
    if members.iter().any(|(other, _)| *other == name) {
        return Err(BodyProblem::DuplicateMember);
    }
    if members.len() == MAX_MEMBERS {
        return Err(BodyProblem::TooManyMembers);
    }
    members.push((name, member));
    Ok(())
}
