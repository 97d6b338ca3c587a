//! What was on a terminal's screen: output as it came from a VM, shown so that it can do no harm.
//!
//! Whoever is on a VM chooses what it sends, and a terminal obeys: it moves, hides, answers, takes
//! another title, fills the clipboard. So no byte of it reaches a terminal of ours. An emulator
//! (`avt`) reads it, and what is shown are that emulator's rows, character by character made safe,
//! in colours that are spelled here. For the same reason its size and its loops are bounded.
//!
//! ```
//! use bastion_core::screen::Screen;
//! let mut screen = Screen::new(40, 3);
//! screen.feed("pass\u{8}\u{8}\u{8}\u{8}\u{1b}[31mma\u{1b}[0mke\u{1b}]0;owned\u{7}");
//! assert_eq!(screen.rows()[0], "make");
//! ```

use crate::{
    limits::{SCREEN_COLUMNS_MAX, SCREEN_ROWS_MAX},
    text::is_plain,
};
use avt::{
    Cell, Color, Line, Parser, Pen, ScreenKind, Terminal,
    observer::Transcript,
    parser::{EdScope, Function},
};
use std::fmt::Write as _;

/// A terminal's screen, and what has left it.
pub struct Screen {
    parser: Parser,
    terminal: Terminal,
    transcript: Transcript,
}

impl Screen {
    /// An empty screen of about this size: a size of nothing, or a huge one, is none.
    pub fn new(columns: u64, rows: u64) -> Self {
        let (columns, rows) = size(columns, rows);
        let terminal = Terminal::with_scrollback(columns, rows, Some(0));
        Self {
            parser: Parser::new(),
            // Only a size of nothing is refused, and `size` gives none.
            terminal: terminal.expect("both sizes are at least 1"),
            transcript: Transcript::new(),
        }
    }

    /// Puts output on the screen. Answers the lines that left it for good: over its upper edge, or
    /// with a full-screen program that ends.
    pub fn feed(&mut self, output: &str) -> Vec<String> {
        let mut gone = Vec::new();
        for character in output.chars() {
            let Some(function) = self.parser.feed(character) else { continue };
            if self.erases(&function) {
                gone.extend(self.lines());
            }
            let most = u16::try_from(self.terminal.size().0).unwrap_or(u16::MAX);
            let function = match function {
                // A few bytes must not become a million steps.
                Function::Rep(times) => Function::Rep(times.min(most)),
                other => other,
            };
            let left = self.terminal.execute_with(function, &mut self.transcript);
            gone.extend(left.iter().map(|line| safe(line)));
        }
        gone
    }

    /// Whether this takes away a full-screen program's last screen.
    fn erases(&self, function: &Function) -> bool {
        self.is_full_screen()
            && matches!(function, Function::Decrst(_) | Function::Ed(EdScope::All) | Function::Ris)
    }

    /// Gives the screen another size.
    pub fn resize(&mut self, columns: u64, rows: u64) -> Vec<String> {
        let (columns, rows) = size(columns, rows);
        let left = self.terminal.resize_with(columns, rows, &mut self.transcript);
        left.iter().map(|line| safe(line)).collect()
    }

    /// Whether a full-screen program has it: an editor, a pager.
    pub fn is_full_screen(&self) -> bool {
        self.terminal.active_screen_kind() == ScreenKind::Alternate
    }

    /// Its columns and rows.
    pub fn size(&self) -> (usize, usize) {
        self.terminal.size()
    }

    /// Where the cursor is: column and row, from 0; none where it is hidden.
    pub fn cursor(&self) -> Option<(usize, usize)> {
        self.terminal.cursor().position()
    }

    /// Its rows, one character a cell, without what is blank at their ends.
    pub fn rows(&self) -> Vec<String> {
        let rows = self.terminal.screen();
        rows.visible_lines().map(|line| safe(line.text().trim_end())).collect()
    }

    /// Its rows in colour, for a terminal: safe characters, and colours that are spelled here.
    pub fn painted(&self) -> Vec<String> {
        self.terminal.screen().visible_lines().map(painted).collect()
    }

    /// Its lines: rows that were wrapped are one again.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        for row in self.terminal.screen().visible_lines() {
            line.extend(row.chars());
            if !row.is_wrapped() {
                lines.push(safe(line.trim_end()));
                line.clear();
            }
        }
        if !line.is_empty() {
            lines.push(safe(line.trim_end()));
        }
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// The end: what is left on the screen, and under the one of a full-screen program.
    pub fn finish(self) -> Vec<String> {
        let full = if self.is_full_screen() { self.lines() } else { Vec::new() };
        let mut lines = self.transcript.finish(&self.terminal);
        lines.iter_mut().for_each(|line| *line = safe(line));
        lines.extend(full);
        lines
    }
}

/// The rows that are not shown yet, each at its place, and the cursor at its own.
pub fn paint(rows: &[String], shown: &[String], cursor: Option<(usize, usize)>) -> String {
    let mut paint = String::new();
    for (index, row) in rows.iter().enumerate() {
        if shown.get(index) != Some(row) {
            write!(paint, "\x1b[{};1H{row}\x1b[K", index + 1).unwrap_or_default();
        }
    }
    for index in rows.len()..shown.len() {
        write!(paint, "\x1b[{};1H\x1b[K", index + 1).unwrap_or_default();
    }
    if let Some((column, row)) = cursor.filter(|_| !paint.is_empty()) {
        write!(paint, "\x1b[{};{}H", row + 1, column + 1).unwrap_or_default();
    }
    paint
}

/// A text with U+FFFD in place of each character that could move, hide or colour anything, so that
/// columns stay where they were.
pub fn safe(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c } else { '\u{fffd}' }).collect()
}

fn size(columns: u64, rows: u64) -> (usize, usize) {
    // A client without a terminal of its own asks for one of 0 by 0.
    let bounded = |asked: u64, normal: u64, most: usize| {
        let asked = if asked == 0 { normal } else { asked };
        usize::try_from(asked).map_or(most, |asked| asked.min(most))
    };
    (bounded(columns, 80, SCREEN_COLUMNS_MAX), bounded(rows, 24, SCREEN_ROWS_MAX))
}

fn painted(line: &Line) -> String {
    let mut row = String::new();
    for run in line.chunks(|one, next| one.pen() != next.pen()) {
        let text: String = run.iter().map(Cell::char).collect();
        match run.first().map(|cell| *cell.pen()).filter(|pen| !pen.is_default()) {
            Some(pen) => {
                colour(&pen, &mut row);
                row += &safe(&text);
                row += "\u{1b}[0m";
            }
            None => row += &safe(&text),
        }
    }
    row.truncate(row.trim_end_matches(' ').len());
    row
}

/// The one kind of control sequence that is ever sent on: how characters look.
fn colour(pen: &Pen, row: &mut String) {
    row.push_str("\u{1b}[0");
    let looks = [
        (pen.is_bold(), 1),
        (pen.is_faint(), 2),
        (pen.is_italic(), 3),
        (pen.is_underline(), 4),
        (pen.is_inverse(), 7),
        (pen.is_strikethrough(), 9),
    ];
    let mut codes: Vec<String> =
        looks.iter().filter(|(is, _)| *is).map(|(_, code)| code.to_string()).collect();
    let ground = |base: u8, colour: Color| match colour {
        Color::Indexed(index) => format!("{};5;{index}", base + 8),
        Color::RGB(rgb) => format!("{};2;{};{};{}", base + 8, rgb.r, rgb.g, rgb.b),
    };
    codes.extend(pen.foreground().map(|colour| ground(30, colour)));
    codes.extend(pen.background().map(|colour| ground(40, colour)));
    for code in codes {
        // Writing to a String cannot fail.
        write!(row, ";{code}").unwrap_or_default();
    }
    row.push('m');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has been used to attack whoever looks at a terminal.
    const HOSTILE: &[&str] = &[
        "\u{1b}]0;title\u{7}",
        "\u{1b}]2;title\u{1b}\\",
        "\u{1b}[21t",
        "\u{1b}]52;c;ZWNobyBvd25lZA==\u{7}",
        "\u{1b}]8;;http://evil\u{7}link\u{1b}]8;;\u{7}",
        "\u{1b}]1337;File=inline=1:AAAA\u{7}",
        "\u{1b}]50;#1\u{7}",
        "\u{1b}P$q\"p\u{1b}\\",
        "\u{1b}P+q544e\u{1b}\\",
        "\u{1b}P0;0;0q\"1;1;100;100#0~~\u{1b}\\",
        "\u{1b}_Gf=24;AAAA\u{1b}\\",
        "\u{1b}^private\u{1b}\\",
        "\u{1b}[c\u{1b}[>c\u{1b}[=c\u{1b}[5n\u{1b}[6n\u{1b}[?6n\u{5}",
        "\u{1b}[201~\u{1b}[200~",
        "\u{1b}[?1000h\u{1b}[?1049h\u{1b}[?2004h\u{1b}[?1049l",
        "\u{1b}[99999;99999H\u{1b}[99999A\u{1b}[99999C",
        "\u{1b}[999999999L\u{1b}[999999999M\u{1b}[999999999@\u{1b}[999999999P\u{1b}[65535b",
        "\u{9b}31mred\u{9d}0;title\u{9c}\u{90}$q\u{9c}\u{9f}x\u{9c}",
        "\u{1b}c\u{1b}[!p\u{1b}#8",
        "\u{1b}(0lqqk\u{1b}(B\u{e}x\u{f}",
        "\u{202e}txt.exe\u{2066}\u{2069}\u{200b}\u{feff}\u{e0041}",
        "a\rb\u{8}\u{8}c\u{b}\u{c}\u{7f}\u{0}",
        "\u{1b}[",
        "\u{1b}]52;c;",
    ];

    fn is_ours(text: &str) -> bool {
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            let Some((codes, behind)) = after.strip_prefix('[').and_then(|a| a.split_once('m'))
            else {
                return false;
            };
            if !before.chars().all(is_plain)
                || !codes.bytes().all(|b| b.is_ascii_digit() || b == b';')
            {
                return false;
            }
            rest = behind;
        }
        rest.chars().all(is_plain)
    }

    #[test]
    fn nothing_hostile_comes_out_of_a_screen() {
        let mut all = Screen::new(40, 5);
        for text in HOSTILE {
            for (columns, rows) in [(0, 0), (1, 1), (40, 5), (u64::MAX, u64::MAX)] {
                let mut screen = Screen::new(columns, rows);
                let mut out = screen.feed(text);
                out.extend(screen.feed("end\r\n"));
                out.extend(screen.rows());
                out.extend(screen.lines());
                assert!(screen.painted().iter().all(|row| is_ours(row)), "{text:?}");
                out.extend(screen.resize(0, 7));
                out.extend(screen.finish());
                assert!(out.iter().flat_map(|line| line.chars()).all(is_plain), "{text:?}");
            }
            all.feed(text);
        }
        all.feed("\u{1b}\\\u{18}\r\nstill here");
        assert!(all.rows().iter().any(|row| row.contains("still here")), "{:?}", all.rows());
    }

    #[test]
    fn what_is_read_is_what_was_on_the_screen() {
        let shown = |text: &str| {
            let mut screen = Screen::new(10, 3);
            let mut lines = screen.feed(text);
            lines.extend(screen.finish());
            lines
        };
        assert_eq!(shown("passwrod\u{8}\u{8}\u{8}ord"), ["password"]);
        assert_eq!(shown("pass\u{1b}[1;31mword\u{1b}[0m"), ["password"]);
        assert_eq!(shown("a long line of more\r\nb"), ["a long line of more", "b"]);
        assert_eq!(shown("1\r\n2\r\n3\r\n4\r\n5"), ["1", "2", "3", "4", "5"]);
        assert_eq!(
            shown("$ vi\r\n\u{1b}[?1049h\u{1b}[H\u{1b}[2Jsecret\u{1b}[?1049l$ "),
            ["secret", "$ vi", "$"]
        );
        assert_eq!(shown("x\u{1b}[?1049h\u{1b}[Hfull"), ["x", "full"]);
    }

    #[test]
    fn colours_are_kept_and_blanks_are_not() {
        let mut screen = Screen::new(20, 1);
        screen.feed("\u{1b}[1;38;2;1;2;3;45mab\u{1b}[0m c   ");
        assert_eq!(screen.painted(), ["\u{1b}[0;1;38;2;1;2;3;48;5;5mab\u{1b}[0m c"]);
        assert_eq!(screen.rows(), ["ab c"]);
    }
}
