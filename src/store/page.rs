//! Pages: newest first, each beginning where the one before ended, whatever is added meanwhile.

use futures_util::{Stream, TryStreamExt};
use sqlx::sqlite::SqliteRow;

use super::sessions::SessionSummary;
use super::sqlite::failed;
use crate::error::{Error, Result};

/// The most bytes of a page of turns or of rows: a gRPC client takes messages of 4 MiB unless it is told otherwise.
pub const PAGE_BYTES: usize = 3 << 20;

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPage {
    /// The conversations, the one with the newest turn first.
    pub sessions: Vec<SessionSummary>,
    /// Where the next page begins; nothing after the last one.
    pub next: Option<Cursor>,
}

/// The place after a conversation or a run in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Milliseconds since 1970.
    pub(super) time: i64,
    /// The row of the database.
    pub(super) id: i64,
}

impl Cursor {
    /// Writes the place as a token for clients.
    pub fn encode(self) -> String {
        format!("{:x}-{:x}", self.time, self.id)
    }

    /// Reads a token that [`Cursor::encode`] wrote.
    pub fn decode(token: &str) -> Result<Self> {
        let read = |text: &str| i64::from_str_radix(text, 16).ok().filter(|number| *number >= 0);
        (token.split_once('-').and_then(|(time, id)| Some(Self { time: read(time)?, id: read(id)? })))
            .ok_or_else(|| Error::invalid("`page_token` is not one that this server gave; leave it out to begin at the first page"))
    }
}

/// Reads rows until they fill [`PAGE_BYTES`], one at least.
pub(super) async fn fill<T>(
    mut rows: impl Stream<Item = Result<SqliteRow, sqlx::Error>> + Unpin,
    read: impl Fn(&SqliteRow) -> Result<T, sqlx::Error>,
    bytes: impl Fn(&T) -> usize,
) -> Result<Vec<T>> {
    let (mut page, mut filled) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let item = read(&row).map_err(failed)?;
        filled += bytes(&item);
        if filled > PAGE_BYTES && !page.is_empty() {
            break;
        }
        page.push(item);
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place() {
        let cursor = Cursor { time: 1_790_000_000_123, id: i64::MAX };
        assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
    }

    #[rstest]
    #[case("")]
    #[case("-")]
    #[case("1")]
    #[case("1-")]
    #[case("-1-1")]
    #[case("1--1")]
    #[case("zz-1")]
    #[case("ffffffffffffffffff-1")]
    fn a_token_of_nobody_is_refused(#[case] token: &str) {
        assert!(Cursor::decode(token).unwrap_err().detail().contains("`page_token`"));
    }
}
