//! One statement that reads, told from everything else without being run.

use crate::tool::Failure;

/// What a statement that reads begins with.
const READING: [&str; 3] = ["SELECT", "WITH", "VALUES"];

/// What may stand before that: the words of `EXPLAIN`.
const EXPLAINING: [&str; 5] = ["EXPLAIN", "QUERY", "PLAN", "ANALYZE", "VERBOSE"];

/// Returns the only statement of a text without the semicolon at its end, if it is one that reads.
///
/// Comments do not nest here and backslashes mean nothing, as in SQLite. PostgreSQL sees both otherwise, but takes one statement only anyway.
pub(super) fn reading(text: &str) -> Result<&str, Failure> {
    if text.contains('\0') {
        return Err(Failure::new("the statement has a null character; take it out"));
    }
    let mut scan = Scan { text, position: 0 };
    let (mut first, mut end, mut depth) = (None, None, 0_usize);
    while let Some(token) = scan.next()? {
        if end.is_some() && !matches!(token, Token::Semicolon(_)) {
            return Err(Failure::new("only one statement can be run; ask for each by itself"));
        }
        match token {
            Token::Semicolon(position) => end = end.or(Some(position)),
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 0 && first.is_none() && !EXPLAINING.iter().any(|other| word.eq_ignore_ascii_case(other)) => {
                first = Some(word);
            }
            _ => {}
        }
    }
    match first {
        Some(word) if READING.iter().any(|other| word.eq_ignore_ascii_case(other)) => Ok(text[..end.unwrap_or(text.len())].trim()),
        _ => Err(Failure::new("only statements that read can be run; begin with `SELECT`, `WITH`, `VALUES` or `EXPLAIN`")),
    }
}

enum Token<'a> {
    Word(&'a str),
    Semicolon(usize),
    Symbol(char),
    /// A text or a name in quotes.
    Quoted,
}

/// Walks over a text token by token.
struct Scan<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Scan<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, Failure> {
        self.skip_blanks_and_comments();
        let begin = self.position;
        let Some(character) = self.rest().chars().next() else { return Ok(None) };
        self.position += character.len_utf8();
        let token = match character {
            '\'' | '"' | '`' => self.quoted(character)?,
            '[' => self.quoted(']')?,
            ';' => Token::Semicolon(begin),
            _ if is_part_of_word(character) => {
                self.position = begin + self.rest_from(begin).find(|other| !is_part_of_word(other)).unwrap_or(self.text.len() - begin);
                Token::Word(&self.text[begin..self.position])
            }
            other => Token::Symbol(other),
        };
        Ok(Some(token))
    }

    /// Goes behind the next `close`. A doubled one counts as two quoted texts side by side, which ends at the same place.
    fn quoted(&mut self, close: char) -> Result<Token<'a>, Failure> {
        let length =
            self.rest().find(close).ok_or_else(|| Failure::new(format!("the statement ends inside quotes; close them with `{close}`")))?;
        self.position += length + close.len_utf8();
        Ok(Token::Quoted)
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            let blank =
                rest.len() - rest.trim_start_matches(|character: char| character.is_ascii_whitespace() || character == '\u{feff}').len();
            let comment = match &rest[blank..] {
                line if line.starts_with("--") => line.find('\n').unwrap_or(line.len()),
                block if block.starts_with("/*") => block[2..].find("*/").map_or(block.len(), |length| length + 4),
                _ => 0,
            };
            self.position += blank + comment;
            if blank + comment == 0 {
                return;
            }
        }
    }

    fn rest(&self) -> &'a str {
        self.rest_from(self.position)
    }

    fn rest_from(&self, position: usize) -> &'a str {
        &self.text[position..]
    }
}

fn is_part_of_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

    use super::*;

    /// Everything that hides what follows, and what ends that.
    const TRICKS: [&str; 11] = ["'", "\"", "`", "[", "]", "--", "/*", "*/", "\n", "\\", "x "];

    /// SQLite itself is the judge: in a connection that may write, what was taken has written nothing.
    async fn writes(text: &str) -> bool {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql("CREATE TABLE t (a); INSERT INTO t VALUES (1)").execute(&mut connection).await.unwrap();
        let _ = sqlx::raw_sql(AssertSqlSafe(text.to_owned())).fetch_all(&mut connection).await;
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t").fetch_one(&mut connection).await.unwrap() == 0
    }

    fn tricks(most: usize) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(&TRICKS[..]), 0..=most).prop_map(|tricks| tricks.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8_192))]

        #[test]
        fn no_trick_hides_a_second_statement(before in tricks(4), after in tricks(3)) {
            let text = format!("SELECT 1 {before};DELETE FROM t;{after}");
            let taken = reading(&text).is_ok();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            prop_assert!(!taken || !runtime.block_on(writes(&text)), "{}", text);
        }

        #[test]
        fn any_text_is_taken_or_refused(text in ".{0,60}") {
            let _ = reading(&text);
        }
    }

    #[test]
    fn one_statement_that_reads_is_taken() {
        for (text, taken) in [
            ("select 1", "select 1"),
            (" SELECT ';' ; ", "SELECT ';'"),
            ("-- c;\n/* ; */ WITH a AS (SELECT 1) SELECT * FROM a;;", "-- c;\n/* ; */ WITH a AS (SELECT 1) SELECT * FROM a"),
            ("VALUES (1), (2)", "VALUES (1), (2)"),
            ("EXPLAIN QUERY PLAN SELECT 1", "EXPLAIN QUERY PLAN SELECT 1"),
            ("EXPLAIN (ANALYZE, COSTS off) SELECT 1", "EXPLAIN (ANALYZE, COSTS off) SELECT 1"),
            ("SELECT 'it''s; so', \"a;b\", `c;d`, [e;f] -- ; end", "SELECT 'it''s; so', \"a;b\", `c;d`, [e;f] -- ; end"),
            ("SELECT 1; -- ; nothing", "SELECT 1"),
        ] {
            assert_eq!(reading(text), Ok(taken), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            ";",
            "-- only",
            "DELETE FROM t",
            "ATTACH 'x' AS y",
            "PRAGMA query_only = off",
            "EXPLAIN PRAGMA query_only = off",
            "EXPLAIN",
            "EXPLAIN ANALYZE DELETE FROM t",
            "EXPLAIN (ANALYZE) DELETE FROM t",
            "VACUUM INTO 'x'",
            "COPY t TO PROGRAM 'x'",
            "SET ROLE x",
            "SELECT 1; DELETE FROM t",
            "SELECT 1;;ATTACH 'x' AS y",
            "SELECT '",
            "SELECT \"a",
            "SELECT [a",
            "SELECT 1\0; DELETE FROM t",
            "SELECT 'a'';' ; DELETE FROM t --'",
            "SELECT 1 /* ; */ ; DELETE FROM t",
            "/* /* */ DELETE FROM t -- */ SELECT 1",
            "SELECT 1 /* /* */ ; DELETE FROM t -- */",
            "SELECT '\\'; DELETE FROM t --'",
        ] {
            assert!(reading(text).is_err(), "{text}");
        }
    }
}
