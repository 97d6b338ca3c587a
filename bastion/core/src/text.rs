//! Free text of people, checked once at the border: a justification, a case number, a note.
//!
//! It is shown to a customer before they sign, so nothing in it may hide, reorder or move what
//! stands around it: no control characters, no bidirectional or invisible characters, one Unicode
//! spelling (NFC). It is always shown quoted; [`FreeText::quoted`] is that form.

use crate::limits::FREE_TEXT_CHARS_MAX;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use std::{fmt, str::FromStr};
use unicode_normalization::is_nfc;

/// One to 500 printable characters on one line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct FreeText(String);

/// Why a text cannot stand as free text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// Nothing but white space.
    #[error("the text is empty: write at least a word")]
    Empty,
    /// Too long.
    #[error("the text has more than {FREE_TEXT_CHARS_MAX} characters: shorten it")]
    Long,
    /// A character that could hide or move what stands around it.
    #[error("the text holds the character U+{0:04X}, which cannot be shown safely: remove it")]
    Character(u32),
    /// Spelled with combining characters where one composed character exists.
    #[error("the text is not in Unicode form NFC: type its accented letters as one character")]
    Spelling,
}

impl FreeText {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text in double quotes; quotes and backslashes within are escaped.
    pub fn quoted(&self) -> String {
        let mut out = String::with_capacity(self.0.len() + 2);
        out.push('"');
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
        out
    }
}

/// Whether a character shows as itself and leaves its neighbours where they are.
pub fn is_plain(c: char) -> bool {
    !c.is_control() && !INVISIBLE.iter().any(|&(from, to)| (from..=to).contains(&c))
}

impl FromStr for FreeText {
    type Err = BadText;
    fn from_str(text: &str) -> Result<Self, BadText> {
        if text.trim().is_empty() {
            return Err(BadText::Empty);
        }
        if text.chars().count() > FREE_TEXT_CHARS_MAX {
            return Err(BadText::Long);
        }
        if let Some(c) = text.chars().find(|&c| !is_plain(c)) {
            return Err(BadText::Character(c.into()));
        }
        if !is_nfc(text) {
            return Err(BadText::Spelling);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for FreeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for FreeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Characters that show as nothing, as a line break, as a space that is none, or that turn the
/// direction of writing: Unicode's Cf, Zl, Zp, spaces other than U+0020, fillers, variation
/// selectors, private use and noncharacters.
const INVISIBLE: &[(char, char)] = &[
    ('\u{a0}', '\u{a0}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2000}', '\u{200f}'),
    ('\u{2028}', '\u{202f}'),
    ('\u{205f}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3000}', '\u{3000}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{e000}', '\u{f8ff}'),
    ('\u{fdd0}', '\u{fdef}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{fffe}', '\u{ffff}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{10ffff}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_sentences_of_many_languages_pass() {
        for text in
            ["disk full on pg-1", "Überprüfung läuft", "磁盘已满", "диск полон", "a \"b\" \\"]
        {
            assert_eq!(text.parse::<FreeText>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn whatever_hides_or_moves_text_is_refused() {
        for c in [
            '\0',
            '\x07',
            '\x1b',
            '\n',
            '\r',
            '\t',
            '\x7f',
            '\u{85}',
            '\u{ad}',
            '\u{200b}',
            '\u{200e}',
            '\u{202e}',
            '\u{2028}',
            '\u{2066}',
            '\u{2069}',
            '\u{61c}',
            '\u{feff}',
            '\u{e0041}',
        ] {
            let text = format!("a{c}b");
            assert_eq!(text.parse::<FreeText>(), Err(BadText::Character(c.into())));
        }
    }

    #[test]
    fn length_spelling_and_emptiness() {
        assert!("x".repeat(500).parse::<FreeText>().is_ok());
        assert_eq!("x".repeat(501).parse::<FreeText>(), Err(BadText::Long));
        assert_eq!("  ".parse::<FreeText>(), Err(BadText::Empty));
        assert_eq!("e\u{301}".parse::<FreeText>(), Err(BadText::Spelling));
        assert_eq!("a \"b\" \\".parse::<FreeText>().unwrap().quoted(), r#""a \"b\" \\""#);
    }
}
