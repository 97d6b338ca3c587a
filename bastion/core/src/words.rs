//! Words of free text, and whether a text holds those that are asked for.
//!
//! Both databases have splitters of their own, which disagree about `pg-1.acme` and `ZD-1042`. So
//! a text is split here, once, when it is taken into the index and when it is asked for: a word is
//! a run of letters and digits, upper and lower case are the same, and everything else stands
//! between words. What is asked for without a space between (`ZD-1042`) is a phrase: its words
//! follow each other. A star at the end of one stands for any ending.

use crate::limits::{WORD_CHARS_MAX, WORDS_ASKED_MAX};
use std::str::FromStr;

/// The words of a text, in their order.
pub fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let runs = lower.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
    runs.map(|run| run.chars().take(WORD_CHARS_MAX).collect()).collect()
}

/// What is asked for: phrases that must all be there, in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    phrases: Vec<Phrase>,
}

/// Words that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    words: Vec<String>,
    /// The last word is the beginning of one.
    is_open: bool,
}

/// Nothing to look for, or too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWanted {
    /// No letter and no digit.
    #[error("give a word: letters or digits; `disk*` finds what begins so")]
    NoWord,
    /// Too many words.
    #[error("give at most {WORDS_ASKED_MAX} words")]
    TooMany,
}

impl FromStr for Wanted {
    type Err = NotWanted;
    fn from_str(text: &str) -> Result<Self, NotWanted> {
        let phrase = |part: &str| Phrase { words: words(part), is_open: part.ends_with('*') };
        let phrases = text.split_whitespace().map(phrase);
        let phrases: Vec<Phrase> = phrases.filter(|phrase| !phrase.words.is_empty()).collect();
        match phrases.iter().map(|phrase| phrase.words.len()).sum::<usize>() {
            0 => Err(NotWanted::NoWord),
            many if many > WORDS_ASKED_MAX => Err(NotWanted::TooMany),
            _ => Ok(Self { phrases }),
        }
    }
}

impl Wanted {
    /// What may hold a text as it stands, whose last word may go on: one phrase.
    pub fn literally(text: &str) -> Result<Self, NotWanted> {
        let words = words(text);
        match words.len() {
            0 => Err(NotWanted::NoWord),
            many if many > WORDS_ASKED_MAX => Err(NotWanted::TooMany),
            _ => {
                let is_open = text.ends_with(char::is_alphanumeric);
                Ok(Self { phrases: vec![Phrase { words, is_open }] })
            }
        }
    }

    /// The phrases, at least one.
    pub fn phrases(&self) -> &[Phrase] {
        &self.phrases
    }

    /// Whether these texts hold all of it together. A phrase stands in one of them.
    pub fn is_in<'a>(&self, texts: impl Iterator<Item = &'a str>) -> bool {
        let texts: Vec<Vec<String>> = texts.map(words).collect();
        self.phrases.iter().all(|phrase| texts.iter().any(|text| phrase.is_in(text)))
    }
}

impl Phrase {
    /// Its words, at least one.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether its last word may go on.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    fn is_in(&self, text: &[String]) -> bool {
        let last = self.words.len() - 1;
        text.windows(self.words.len()).any(|found| {
            let pairs = found.iter().zip(&self.words).enumerate();
            pairs.fold(true, |so_far, (at, (found, wanted))| {
                let is_same = match self.is_open && at == last {
                    true => found.starts_with(wanted.as_str()),
                    false => found == wanted,
                };
                so_far && is_same
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_and_digits_in_lower_case() {
        for (text, expected) in [
            ("", &[][..]),
            ("-- \u{1b}[2J %'\"", &["2j"]),
            ("Disk FULL on pg-1.acme", &["disk", "full", "on", "pg", "1", "acme"]),
            ("Größe\u{300}x \u{130}", &["größe", "x", "i"]),
            ("a_b\0c\u{2400}", &["a", "b", "c"]),
        ] {
            assert_eq!(words(text), expected, "{text:?}");
        }
        assert_eq!(words(&"x".repeat(500)), ["x".repeat(WORD_CHARS_MAX)]);
    }

    #[test]
    fn all_phrases_must_be_there_in_any_order() {
        let text = "VACUUM (FULL) of pg-1.acme, ticket ZD-1042";
        for (wanted, is_in) in [
            ("vacuum", true),
            ("ZD-1042 Vacuum", true),
            ("zd-1043", false),
            ("1042-zd", false),
            ("vac", false),
            ("vac*", true),
            ("pg-1.ac*", true),
            ("pg-1.ac", false),
            ("ticket *", true),
            ("full vacuum analyze", false),
            ("beside", true),
            ("zd.beside", false),
        ] {
            let wanted: Wanted = wanted.parse().unwrap();
            assert_eq!(wanted.is_in([text, "beside"].into_iter()), is_in, "{wanted:?}");
        }
        let literally = |text| Wanted::literally(text).unwrap();
        assert!(literally("of pg-1.ac").is_in([text].into_iter()));
        assert!(!literally("of pg-1.ac ").is_in([text].into_iter()));
        assert_eq!("".parse::<Wanted>(), Err(NotWanted::NoWord));
        assert_eq!("* % \u{1b}".parse::<Wanted>(), Err(NotWanted::NoWord));
        assert_eq!("a ".repeat(33).parse::<Wanted>(), Err(NotWanted::TooMany));
    }
}
