//! Lists in pages, for the operator's API and for users' own accounts: `limit` is the number of entries, and `cursor` the
//! `next` of the page before. The cursors of session lists are here too, since both list sessions in the same order.

use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::store::Session;

/// The default number of entries in a page.
const USUAL: usize = 100;

/// The most entries in a page.
pub(crate) const MOST: usize = 1000;

/// The page that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Page {
    pub(crate) limit: usize,
    pub(crate) cursor: Option<String>,
}

impl Page {
    /// Reads a query; parameters other than `limit` and `cursor` go to `other`.
    pub(crate) fn read(
        query: &str,
        mut other: impl FnMut(&str, &str) -> Result<(), Refusal>,
    ) -> Result<Self, Refusal> {
        let mut page = Self { limit: USUAL, cursor: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "limit" => page.limit = value.parse().map_err(|_| Refusal::BadBody)?,
                "cursor" => page.cursor = Some(value.into_owned()),
                name => other(name, &value)?,
            }
        }
        if (1..=MOST).contains(&page.limit) { Ok(page) } else { Err(Refusal::BadBody) }
    }

    /// Returns at most `limit` of the items, and the cursor of the next page, if there is one.
    pub(crate) fn cut<T>(
        &self,
        items: impl Iterator<Item = T>,
        cursor: impl FnOnce(&T) -> String,
    ) -> (Vec<T>, Option<String>) {
        let mut items = items;
        let page: Vec<T> = items.by_ref().take(self.limit).collect();
        let next = items.next().and_then(|_| page.last()).map(cursor);
        (page, next)
    }
}

/// Returns the cursor of the page after the one that ends with this session, in a list of sessions.
pub(crate) fn cursor_of(session: &Session) -> String {
    format!("{}.{}", session.signed_in_at.as_millis(), session.id)
}

/// Parses a cursor: the time and the id of the session after which a page begins.
pub(crate) fn position(cursor: &str) -> Result<(Timestamp, SessionId), Refusal> {
    let (millis, id) = cursor.split_once('.').ok_or(Refusal::BadBody)?;
    let millis = millis.parse().map_err(|_| Refusal::BadBody)?;
    Ok((Timestamp::from_millis(millis), SessionId::new(id)))
}

/// Whether a session comes after this position in the order of the list: newest first, then by id.
pub(crate) fn comes_after(session: &Session, (at, id): &(Timestamp, SessionId)) -> bool {
    session.signed_in_at < *at || (session.signed_in_at == *at && session.id > *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Option<(usize, Option<String>)> {
        let page = Page::read(
            query,
            |name, _| if name == "user" { Ok(()) } else { Err(Refusal::BadBody) },
        );
        page.ok().map(|page| (page.limit, page.cursor))
    }

    #[test]
    fn a_page_is_bounded() {
        for (query, page) in [
            ("", Some((100, None))),
            ("limit=7&user=x", Some((7, None))),
            ("cursor=a%2Fb&limit=1000", Some((1000, Some("a/b".to_owned())))),
            ("limit=0", None),
            ("limit=1001", None),
            ("limit=-1", None),
            ("limit=many", None),
            ("offset=7", None),
        ] {
            assert_eq!(read(query), page, "{query}");
        }
    }

    #[test]
    fn the_last_page_has_no_next() {
        let page = Page { limit: 3, cursor: None };
        for (there, taken, next) in [(0, 0, None), (2, 2, None), (3, 3, None), (4, 3, Some("2"))] {
            let (items, cursor) = page.cut(0..there, ToString::to_string);
            assert_eq!((items.len(), cursor.as_deref()), (taken, next), "{there}");
        }
    }
}
