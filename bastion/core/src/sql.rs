//! An auditor's statement, taken apart and spelled again.
//!
//! The databases enforce that nothing is written and nothing else is read; this makes sure that
//! they are only ever asked for a selection from the documented views. What is let through is a
//! list: the keywords of a selection, the views and their columns, functions that only count and
//! cut, numbers, plain strings, and names that the statement itself gives with `AS`. Everything
//! else is refused by name: there is no semicolon, no comment, no quoted name, no `||` (a text
//! that doubles itself fills memory), no function that reads a file or waits. What the database
//! gets is not what was typed, but what was understood, so there is no gap between two readers.

use crate::limits::{SQL_CHARS_MAX, SQL_DEPTH_MAX};
use std::collections::BTreeSet;

/// A view and its columns.
pub type View = (&'static str, &'static [&'static str]);

const KEYWORDS: &[&str] = &[
    "all",
    "and",
    "as",
    "asc",
    "between",
    "bigint",
    "by",
    "case",
    "cast",
    "cross",
    "current",
    "desc",
    "distinct",
    "else",
    "end",
    "escape",
    "except",
    "exists",
    "filter",
    "first",
    "following",
    "from",
    "full",
    "group",
    "having",
    "in",
    "inner",
    "intersect",
    "is",
    "join",
    "last",
    "left",
    "like",
    "limit",
    "not",
    "null",
    "nulls",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "preceding",
    "range",
    "row",
    "rows",
    "select",
    "text",
    "then",
    "unbounded",
    "union",
    "values",
    "when",
    "where",
    "with",
];

/// Keywords that a parenthesis may follow.
const BEFORE_PARENTHESIS: &[&str] = &[
    "all",
    "and",
    "as",
    "between",
    "by",
    "case",
    "cast",
    "distinct",
    "else",
    "except",
    "exists",
    "filter",
    "from",
    "having",
    "in",
    "intersect",
    "join",
    "like",
    "limit",
    "not",
    "offset",
    "on",
    "or",
    "over",
    "select",
    "then",
    "union",
    "values",
    "when",
    "where",
];

const FUNCTIONS: &[&str] = &[
    "abs",
    "avg",
    "coalesce",
    "count",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "length",
    "lower",
    "max",
    "min",
    "nullif",
    "rank",
    "round",
    "row_number",
    "substr",
    "sum",
    "trim",
    "upper",
];

/// Beginnings of names that databases keep for themselves.
const RESERVED: &[&str] = &[
    "bytecode",
    "carray",
    "completion",
    "dbstat",
    "fts",
    "generate",
    "information_schema",
    "json",
    "pg_",
    "pragma",
    "rtree",
    "sqlite",
    "tables_used",
];

/// A statement that may be asked, in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    sql: String,
    names: BTreeSet<String>,
}

/// Why a statement is not asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each sentence says what it is
pub enum Refused {
    #[error("it is longer than {SQL_CHARS_MAX} characters")]
    TooLong,
    #[error("it must begin with `select` or `with`")]
    NoSelection,
    #[error("{0:?} has no place in it: give one selection, without comments, quoted names or `;`")]
    Character(char),
    #[error(
        "`{0}` has no place in it: names are those of the documented views, or given with `as`"
    )]
    Name(String),
    #[error("`{0}` is not one of the functions that may be used")]
    Function(String),
    #[error("the name `{0}` is taken: give another with `as`")]
    Taken(String),
    #[error("its parentheses do not fit, or are deeper than {SQL_DEPTH_MAX}")]
    Parentheses,
    #[error("a string in it does not end")]
    OpenString,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Number(String),
    /// With its quotes.
    Text(String),
    Sign(&'static str),
}

impl Selection {
    /// Reads a statement over these views.
    pub fn read(typed: &str, views: &[View]) -> Result<Self, Refused> {
        if typed.chars().count() > SQL_CHARS_MAX {
            return Err(Refused::TooLong);
        }
        let tokens = tokens(typed)?;
        match tokens.first() {
            Some(Token::Word(word)) if word == "select" || word == "with" => {}
            _ => return Err(Refused::NoSelection),
        }
        parentheses(&tokens)?;
        let names = given(&tokens, views)?;
        for (at, token) in tokens.iter().enumerate() {
            let Token::Word(word) = token else { continue };
            let calls = tokens.get(at + 1) == Some(&Token::Sign("("));
            permitted(word, calls, &names, views)?;
        }
        let pieces: Vec<&str> = tokens.iter().map(Token::as_str).collect();
        Ok(Self { sql: pieces.join(" "), names })
    }

    /// What the database is asked.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The names that it gives: none may be a table that is there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

impl Token {
    fn as_str(&self) -> &str {
        match self {
            Self::Word(text) | Self::Number(text) | Self::Text(text) => text,
            Self::Sign(text) => text,
        }
    }
}

/// Takes it apart; what is not listed ends it.
fn tokens(typed: &str) -> Result<Vec<Token>, Refused> {
    let mut tokens = Vec::new();
    let mut rest = typed;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ' ' | '\n' | '\t' | '\r' => 1,
            'a'..='z' | 'A'..='Z' | '_' => {
                let end = end_of(rest, |c| c.is_ascii_alphanumeric() || c == '_');
                if rest[end..].starts_with('\'') {
                    // E'…', X'…', U&'…' are strings with rules of their own.
                    return Err(Refused::Character('\''));
                }
                tokens.push(Token::Word(rest[..end].to_ascii_lowercase()));
                end
            }
            '0'..='9' => {
                let end = end_of(rest, |c| c.is_ascii_digit() || c == '.');
                let next = rest[end..].chars().next();
                if let Some(letter) = next.filter(|c| c.is_alphanumeric() || *c == '_') {
                    return Err(Refused::Character(letter));
                }
                if rest[..end].matches('.').count() > 1 || rest[..end].ends_with('.') {
                    return Err(Refused::Character('.'));
                }
                tokens.push(Token::Number(rest[..end].to_owned()));
                end
            }
            '\'' => {
                let end = end_of_text(rest)?;
                tokens.push(Token::Text(rest[..end].to_owned()));
                end
            }
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign = sign.ok_or(Refused::Character(first))?;
                if ["--", "/*"].iter().any(|comment| rest.starts_with(comment)) {
                    return Err(Refused::Character(first));
                }
                tokens.push(Token::Sign(sign));
                sign.len()
            }
        };
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// The longer first.
const SIGNS: [&str; 15] =
    ["<=", ">=", "<>", "!=", "(", ")", ",", ".", "*", "+", "-", "/", "=", "<", ">"];

fn end_of(text: &str, inside: impl Fn(char) -> bool) -> usize {
    text.find(|c| !inside(c)).unwrap_or(text.len())
}

/// The end of a string; a quote is doubled, and nothing else means anything.
fn end_of_text(text: &str) -> Result<usize, Refused> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' => match characters.peek() {
                Some((_, '\'')) => drop(characters.next()),
                _ => return Ok(at + 1),
            },
            // A backslash means something to some servers.
            '\\' => return Err(Refused::Character('\\')),
            control if control.is_control() => return Err(Refused::Character(control)),
            _ => {}
        }
    }
    Err(Refused::OpenString)
}

fn parentheses(tokens: &[Token]) -> Result<(), Refused> {
    let mut depth = 0_usize;
    for token in tokens {
        match token {
            Token::Sign("(") => depth += 1,
            Token::Sign(")") => depth = depth.checked_sub(1).ok_or(Refused::Parentheses)?,
            _ => {}
        }
        if depth > SQL_DEPTH_MAX {
            return Err(Refused::Parentheses);
        }
    }
    if depth == 0 { Ok(()) } else { Err(Refused::Parentheses) }
}

/// The names that the statement gives: what follows `as`, and what stands before `as (`.
fn given(tokens: &[Token], views: &[View]) -> Result<BTreeSet<String>, Refused> {
    let mut names = BTreeSet::new();
    let is_as = |at: usize| tokens.get(at) == Some(&Token::Word("as".into()));
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let before_query = is_as(at + 1) && tokens.get(at + 2) == Some(&Token::Sign("("));
        let after_as = at.checked_sub(1).is_some_and(is_as);
        if !before_query && !after_as {
            continue;
        }
        // `cast(x as text)` gives no name, and a column may go by its own.
        if KEYWORDS.contains(&word.as_str()) || is_column(word, views) {
            continue;
        }
        let is_view = views.iter().any(|(view, _)| view == word);
        let is_function = FUNCTIONS.contains(&word.as_str());
        if is_view || is_function || RESERVED.iter().any(|start| word.starts_with(start)) {
            return Err(Refused::Taken(word.clone()));
        }
        names.insert(word.clone());
    }
    Ok(names)
}

fn is_column(word: &str, views: &[View]) -> bool {
    views.iter().any(|(_, columns)| columns.contains(&word))
}

fn permitted(
    word: &str,
    calls: bool,
    names: &BTreeSet<String>,
    views: &[View],
) -> Result<(), Refused> {
    if calls {
        let may = FUNCTIONS.contains(&word) || BEFORE_PARENTHESIS.contains(&word);
        return if may { Ok(()) } else { Err(Refused::Function(word.to_owned())) };
    }
    let is_view = views.iter().any(|(view, _)| *view == word);
    let may = KEYWORDS.contains(&word)
        || is_view
        || is_column(word, views)
        || names.contains(word)
        || FUNCTIONS.contains(&word);
    if may { Ok(()) } else { Err(Refused::Name(word.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEWS: &[View] = &[("entries", &["seq", "event", "time"]), ("denials", &["reason"])];

    fn read(typed: &str) -> Result<String, Refused> {
        Selection::read(typed, VIEWS).map(|selection| selection.sql)
    }

    #[test]
    fn selections_are_spelled_again() {
        for (typed, spelled) in [
            ("SELECT seq FROM entries", "select seq from entries"),
            ("select\n*\tfrom entries e", ""),
            (
                "select e.seq from entries as e where e.time<='2026' and seq>-1",
                "select e . seq from entries as e where e . time <= '2026' and seq > - 1",
            ),
            (
                "with d as (select reason, count(*) as n from denials group by reason) \
                 select * from d where n > 1.5 order by n desc limit 3",
                "with d as ( select reason , count ( * ) as n from denials group by reason ) \
                 select * from d where n > 1.5 order by n desc limit 3",
            ),
            (
                "select 'it''s -- ; \"x\" /*' from entries",
                "select 'it''s -- ; \"x\" /*' from entries",
            ),
            ("select cast(seq as text) from entries", "select cast ( seq as text ) from entries"),
            ("select 1 - - 1 from entries", "select 1 - - 1 from entries"),
        ] {
            match spelled {
                "" => assert_eq!(read(typed), Err(Refused::Name("e".into()))),
                spelled => assert_eq!(read(typed), Ok(spelled.to_owned()), "{typed}"),
            }
        }
    }

    #[test]
    fn whatever_is_not_listed_is_refused_by_name() {
        use Refused::*;
        let name = |text: &str| Name(text.into());
        let function = |text: &str| Function(text.into());
        let taken = |text: &str| Taken(text.into());
        for (typed, refused) in [
            ("", NoSelection),
            ("insert into entries values (1)", NoSelection),
            ("pragma query_only = 0", NoSelection),
            ("(select 1)", NoSelection),
            ("select 1; attach 'x' as y", Character(';')),
            ("select 1 -- x", Character('-')),
            ("select 1 /* x", Character('/')),
            ("select \"seq\" from entries", Character('"')),
            ("select `seq` from entries", Character('`')),
            ("select [seq] from entries", Character('[')),
            ("select $$x$$", Character('$')),
            ("select ?1", Character('?')),
            ("select 'a' || 'b'", Character('|')),
            ("select E'\\''", Character('\'')),
            ("select x'00'", Character('\'')),
            ("select '\\'", Character('\\')),
            ("select 'a\0'", Character('\0')),
            ("select seq::text from entries", Character(':')),
            ("select 0x10", Character('x')),
            ("select 1e9", Character('e')),
            ("select 'x", OpenString),
            ("select 1) from (select 1", Parentheses),
            ("select (1", Parentheses),
            ("select * from events", name("events")),
            ("select * from sqlite_master", name("sqlite_master")),
            ("select * from main.entries", name("main")),
            ("select * from public.entries", name("public")),
            ("select rowid from entries", name("rowid")),
            ("select * from entries for update", name("for")),
            ("select * into outfile from entries", name("into")),
            ("with recursive n as (select 1) select 1", name("recursive")),
            ("select current_user", name("current_user")),
            ("select pg_sleep(9)", function("pg_sleep")),
            ("select load_extension('x')", function("load_extension")),
            ("select randomblob(9)", function("randomblob")),
            ("select group_concat(seq) from entries", function("group_concat")),
            ("select set_config('role','none',true)", function("set_config")),
            ("select * from json_each('[]')", function("json_each")),
            ("select 1 as load_extension, load_extension('x')", function("load_extension")),
            ("with n (a) as (select 1) select a from n", function("n")),
            ("select 1 as sqlite_schema from sqlite_schema", taken("sqlite_schema")),
            ("select 1 as pg_class from pg_class", taken("pg_class")),
            ("select 1 as count", taken("count")),
            ("select 1 as entries", taken("entries")),
            ("select gr\u{fc}n", Character('\u{fc}')),
        ] {
            assert_eq!(read(typed), Err(refused), "{typed}");
        }
        assert_eq!(read(&format!("select {}", "1+".repeat(9_000))), Err(TooLong));
        let deep = format!("select {}1{}", "(".repeat(33), ")".repeat(33));
        assert_eq!(read(&deep), Err(Parentheses));
    }
}
