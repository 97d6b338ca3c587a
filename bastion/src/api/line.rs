//! One string into words, by the rules of the POSIX shell that matter without a shell.
//!
//! `ssh bastion request pg-1.acme --note 'disk is full'` reaches the gateway as one string. The
//! operator's own shell took a first layer of quotes away, so what arrives may need quoting of its
//! own: single quotes, double quotes and the backslash mean what they mean in `sh`. Nothing is
//! expanded and nothing is run, so `$`, `;`, `|` and `*` are ordinary characters.

use bastion_core::limits::{COMMAND_LINE_BYTES_MAX, COMMAND_WORDS_MAX};

/// Why a string is not a command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// More bytes than a command may have.
    #[error("the command is longer than {COMMAND_LINE_BYTES_MAX} bytes; give less text")]
    TooLong,
    /// More words than a command may have.
    #[error("the command has more than {COMMAND_WORDS_MAX} words; quote what belongs together")]
    TooManyWords,
    /// A quote is opened and never closed.
    #[error("a {0} quote is not closed; quote text once for your shell and once for the bastion")]
    Unclosed(&'static str),
    /// The last character is a backslash with nothing behind it.
    #[error("the command ends in a backslash; remove it or write what it should protect")]
    LooseBackslash,
    /// Not UTF-8, or with a NUL or another control character outside of line breaks and tabs.
    #[error("the command contains a control character; remove it")]
    Control,
}

/// Splits a command line into words.
pub fn split(line: &str) -> Result<Vec<String>, BadLine> {
    if line.len() > COMMAND_LINE_BYTES_MAX {
        return Err(BadLine::TooLong);
    }
    if line.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(BadLine::Control);
    }
    let mut words = Vec::new();
    let mut rest = line.chars();
    while let Some(first) = rest.find(|c| !is_blank(*c)) {
        if words.len() == COMMAND_WORDS_MAX {
            return Err(BadLine::TooManyWords);
        }
        words.extend(word(first, &mut rest)?);
    }
    Ok(words)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n')
}

/// One word from its first character on; the blank behind it is consumed. None if there was
/// nothing but joined lines; a pair of quotes with nothing inside is a word.
fn word(first: char, rest: &mut std::str::Chars<'_>) -> Result<Option<String>, BadLine> {
    let mut text = String::new();
    let mut is_word = false;
    let mut next = Some(first);
    while let Some(c) = next {
        match c {
            '\'' => single_quoted(&mut text, rest)?,
            '"' => double_quoted(&mut text, rest)?,
            '\\' => match rest.next() {
                None => return Err(BadLine::LooseBackslash),
                // A backslash before a line break joins two lines.
                Some('\n') => {}
                Some(protected) => text.push(protected),
            },
            blank if is_blank(blank) => break,
            plain => text.push(plain),
        }
        is_word |= !text.is_empty() || matches!(c, '\'' | '"');
        next = rest.next();
    }
    Ok(is_word.then_some(text))
}

fn single_quoted(text: &mut String, rest: &mut std::str::Chars<'_>) -> Result<(), BadLine> {
    loop {
        match rest.next() {
            None => return Err(BadLine::Unclosed("single")),
            Some('\'') => return Ok(()),
            Some(c) => text.push(c),
        }
    }
}

fn double_quoted(text: &mut String, rest: &mut std::str::Chars<'_>) -> Result<(), BadLine> {
    loop {
        match rest.next() {
            None => return Err(BadLine::Unclosed("double")),
            Some('"') => return Ok(()),
            Some('\\') => match rest.next() {
                None => return Err(BadLine::Unclosed("double")),
                Some('\n') => {}
                Some(c @ ('"' | '\\' | '$' | '`')) => text.push(c),
                // Before anything else the backslash stands for itself.
                Some(c) => text.extend(['\\', c]),
            },
            Some(c) => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_sh_splits_them() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  \t\n ", &[]),
            ("ls", &["ls"]),
            (" ls  --json ", &["ls", "--json"]),
            ("a 'b c' d", &["a", "b c", "d"]),
            ("a \"b c\" d", &["a", "b c", "d"]),
            ("a b\\ c", &["a", "b c"]),
            ("a ''", &["a", ""]),
            ("a'b'\"c\"d", &["abcd"]),
            (r#"'it'\''s'"#, &["it's"]),
            (r#""a \"b\" \\ \$x \n""#, &[r#"a "b" \ $x \n"#]),
            ("$(rm -rf /); `x` | y > z *", &["$(rm", "-rf", "/);", "`x`", "|", "y", ">", "z", "*"]),
            ("a # b", &["a", "#", "b"]),
            ("a \\\n b", &["a", "b"]),
            ("--note=\"disk full\"", &["--note=disk full"]),
            ("gr\u{fc}n 'sch\u{f6}n'", &["gr\u{fc}n", "sch\u{f6}n"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).unwrap(), *words, "{line:?}");
        }
    }

    #[test]
    fn what_is_no_command_line_says_why() {
        let long = "x".repeat(COMMAND_LINE_BYTES_MAX + 1);
        let many = "x ".repeat(COMMAND_WORDS_MAX + 1);
        let cases: &[(&str, BadLine)] = &[
            ("a 'b", BadLine::Unclosed("single")),
            ("a \"b", BadLine::Unclosed("double")),
            ("a \"b\\", BadLine::Unclosed("double")),
            ("a \\", BadLine::LooseBackslash),
            ("a\0b", BadLine::Control),
            ("a\u{1b}[2Jb", BadLine::Control),
            ("a\rb", BadLine::Control),
            ("a\u{9b}b", BadLine::Control),
            (&long, BadLine::TooLong),
            (&many, BadLine::TooManyWords),
        ];
        for (line, why) in cases {
            assert_eq!(split(line).unwrap_err(), *why, "{:?}", &line[..line.len().min(40)]);
        }
    }
}
