//! One escape function per form of output; everything printed passes through exactly one.
//!
//! What the log holds was written by many: operators, customers, programs on VMs. A terminal obeys
//! control sequences, a spreadsheet runs what begins with `=`, a browser what stands in `<…>`; and
//! in each of them bidirectional and invisible characters make a text read as another. So all of
//! these are spelled out as `\u{…}` in every form, and each form's own dangers on top of that.
//!
//! ```
//! use bastion_core::escape;
//! assert_eq!(escape::terminal("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
//! assert_eq!(escape::csv("=1+1"), "\"'=1+1\"");
//! assert_eq!(escape::html("<b>"), "&lt;b&gt;");
//! ```

use std::fmt::Write as _;

/// Text for a terminal, on one line: no character of it moves, hides or colours anything.
pub fn terminal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if is_plain(c) => out.push(c),
            c => spell(c, &mut out),
        }
    }
    out
}

/// The same for text of many lines: only its line feeds are left.
pub fn terminal_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(terminal).collect();
    lines.join("\n")
}

/// One field of a CSV file (RFC 4180) that no spreadsheet takes for a formula.
///
/// A field that begins with `=`, `+`, `-`, `@`, a tab or a line break gets an apostrophe before
/// it, as OWASP advises; a plain number keeps its sign.
pub fn csv(text: &str) -> String {
    let mut field = String::with_capacity(text.len() + 2);
    let start = text.trim_start();
    let is_formula = text.starts_with(['\t', '\r', '\n'])
        || start.starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    if is_formula && !is_number(text) {
        field.push('\'');
    }
    for c in text.chars() {
        if is_plain(c) { field.push(c) } else { spell(c, &mut field) }
    }
    if field.contains([',', '"', ';', '\'']) || field != field.trim() {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}

/// Text between tags or in a double-quoted attribute of an HTML page.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '`' => out.push_str("&#96;"),
            c if is_plain(c) => out.push(c),
            c => spell(c, &mut out),
        }
    }
    out
}

/// `\u{1b}`: what cannot be shown, by its number.
fn spell(c: char, out: &mut String) {
    // Writing into a String cannot fail.
    if write!(out, "{}", c.escape_unicode()).is_err() {
        out.push('?');
    }
}

/// Whether a character shows as itself and leaves its neighbours where they are.
fn is_plain(c: char) -> bool {
    !c.is_control() && !UNSEEN.iter().any(|&(from, to)| (from..=to).contains(&c))
}

/// Characters that are invisible, reorder what is read, or are no characters at all.
const UNSEEN: [(char, char); 15] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{e0000}', '\u{e0fff}'),
];

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people have used to attack the readers of logs.
    pub(crate) const HOSTILE: &[&str] = &[
        "\u{1b}[2J\u{1b}[H",
        "\u{1b}]0;owned\u{7}",
        "\u{1b}]52;c;ZWNobyBvd25lZA==\u{7}",
        "\u{1b}P+q544e\u{1b}\\",
        "\u{9b}31mred",
        "\u{90}$q\u{9c}",
        "a\rb\u{8}\u{8}c",
        "line\nbreak\u{85}nel\u{2028}ls\u{2029}ps",
        "\u{202e}txt.exe\u{2066}\u{2069}",
        "zero\u{200b}width\u{200d}join\u{feff}",
        "tag\u{e0041}\u{e0042}",
        "variation\u{fe0f}",
        "hangul\u{3164}filler",
        "<script>alert(1)</script>",
        "\" onmouseover=\"alert(1)",
        "' onfocus='x' autofocus='",
        "`onerror=alert(1)`",
        "</td></tr></table><h1>all clear</h1>",
        "&lt;already&gt;",
        "javascript:alert(1)",
        "]]><x/>",
        "<!-- -->",
        "=cmd|' /C calc'!A0",
        "+1+cmd",
        "-2+3+cmd",
        "@SUM(A1)",
        "\t=1+1",
        "\u{ff1d}1+1",
        "a,b;\"c\"",
        " =1+1",
        "\u{0}nul",
    ];

    #[test]
    fn nothing_hostile_passes_any_form() {
        for text in HOSTILE {
            for out in [terminal(text), csv(text), html(text)] {
                let bad = out.chars().find(|&c| !is_plain(c));
                assert_eq!(bad, None, "{text:?} gave {out:?}");
            }
            let page = html(text);
            let marks = page.contains(['<', '>', '"', '\'', '`']);
            assert!(!marks, "{text:?} gave {page:?}");
            let field = csv(text);
            let inner = field.trim_matches('"');
            assert!(!inner.trim_start().starts_with(['+', '@']), "{text:?} gave {field:?}");
            assert!(!inner.starts_with(['=', '-', '\u{ff1d}']), "{text:?} gave {field:?}");
        }
    }

    #[test]
    fn what_is_harmless_stays_as_it_is() {
        for text in ["pg-1.acme", "ZD-1042", "Größe 5 µs — naïve", "日本語", "2026-11-24T08:02:00Z"]
        {
            assert_eq!(terminal(text), text);
            assert_eq!(csv(text), text);
            assert_eq!(html(text), text);
        }
        assert_eq!(csv("-12"), "-12");
        assert_eq!(csv("say \"hi\""), "\"say \"\"hi\"\"\"");
    }

    #[test]
    fn escaping_for_the_terminal_is_unambiguous() {
        assert_ne!(terminal("\\u{1b}"), terminal("\u{1b}"));
    }
}
