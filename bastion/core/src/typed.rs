//! The commands that were typed at a prompt: an aid for searching and reports, not a boundary.
//!
//! Keys say little of what was run: there are history, completion and editing. So what counts is
//! the line as it stood on the screen when the shell took it: Enter was pressed, and then the
//! cursor left the line. What stood there before the first key is the prompt. What was not echoed,
//! a password say, was not on the screen and is never taken. A program's own input, a script, an
//! encoded command or a full-screen editor are not seen at all, and whoever wants to be missed can
//! be: the recording has everything, this only helps to find it.
//!
//! A channel's output may be gigabytes, so only its last line is followed; and everything here is
//! bounded.

use crate::limits::{
    SCREEN_COLUMNS_MAX, TYPED_COMMAND_CHARS_MAX, TYPED_COMMANDS_MAX, TYPED_ROWS_MAX,
};

/// What was typed on a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// How many there were.
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
}

/// Follows the keys and the screen of one terminal.
pub struct Typed {
    line: Line,
    /// A full-screen program has the screen.
    full_screen: bool,
    keys: Keys,
    /// Enters that the screen has not answered yet.
    entered: u32,
    /// What stood on the line before the first key; none until there is one.
    prompt: Option<String>,
    /// The last prompt that a command stood behind.
    known: Option<String>,
    /// The rows of a pasted command before its last.
    pasted: Vec<String>,
    commands: Commands,
}

impl Typed {
    /// For a terminal of so many columns.
    pub fn new(columns: u64) -> Self {
        Self {
            line: Line::new(columns),
            full_screen: false,
            keys: Keys::default(),
            entered: 0,
            prompt: None,
            known: None,
            pasted: Vec::new(),
            commands: Commands::default(),
        }
    }

    /// The terminal has another size: rows wrap elsewhere from the next line on.
    pub fn resized(&mut self, columns: u64) {
        self.line.columns = bounded(columns);
    }

    /// Keys, before the VM gets them.
    pub fn input(&mut self, keys: &[u8]) {
        for key in keys {
            let pressed = self.keys.press(*key);
            if self.full_screen {
                continue;
            }
            if self.prompt.is_none() && self.entered == 0 {
                self.prompt = Some(self.line.before_cursor());
            }
            match pressed {
                Pressed::Enter => self.entered = (self.entered + 1).min(ENTERED_MAX),
                // The line is given up: Ctrl-C, or Ctrl-D at its beginning.
                Pressed::GivenUp => self.forget(),
                Pressed::Other => {}
            }
        }
    }

    fn forget(&mut self) {
        self.entered = 0;
        self.prompt = None;
        self.pasted.clear();
    }

    /// What the VM puts on the screen.
    pub fn output(&mut self, output: &[u8]) {
        let mut rest = output;
        while let Some((byte, after)) = rest.split_first() {
            if self.entered == 0 && rest.len() > TAIL_BYTES {
                // Nobody asks what was on these lines, only which screen it was.
                let end = rest.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
                let skipped = &rest[..end];
                self.full_screen = is_full_screen_after(skipped, self.full_screen);
                self.line.clear();
                rest = &rest[end.max(1)..];
                if rest.len() > TAIL_BYTES {
                    rest = &rest[rest.len() - TAIL_BYTES..];
                }
                continue;
            }
            rest = after;
            match self.line.put(*byte) {
                Put::Nothing => {}
                Put::Left(line) => self.left(&line),
                Put::FullScreen(is) => {
                    self.full_screen = is;
                    self.forget();
                }
            }
        }
    }

    /// The cursor left a line.
    fn left(&mut self, line: &str) {
        if self.full_screen {
            return;
        }
        if self.entered == 0 {
            if self.keys.has_pasted && self.pasted.len() < TYPED_ROWS_MAX {
                self.pasted.push(line.to_owned());
            }
            return;
        }
        let mut whole = self.pasted.clone();
        whole.push(line.to_owned());
        let whole = whole.join("\n");
        match self.behind_prompt(&whole).or_else(|| self.behind_prompt(line)) {
            Some((prompt, command)) => {
                self.entered -= 1;
                self.known = Some(prompt);
                self.keep(&command);
            }
            // Not the line of a prompt: what came in between, or an answer that is none of ours.
            None if self.prompt.is_some() => self.entered -= 1,
            None => return,
        }
        self.prompt = None;
        self.pasted.clear();
        self.keys.has_pasted = false;
    }

    /// A line apart: the prompt, and what stood behind it.
    fn behind_prompt(&self, line: &str) -> Option<(String, String)> {
        let split = |prompt: &Option<String>| {
            let prompt = prompt.as_ref().filter(|prompt| is_prompt(prompt))?;
            Some((prompt.clone(), line.strip_prefix(prompt.as_str())?.to_owned()))
        };
        split(&self.prompt).or_else(|| split(&self.known)).or_else(|| {
            // Typed ahead, before the prompt was there. But what stood there already was shown to
            // be no prompt: a question for a name, say.
            let asked = self.prompt.as_ref().is_some_and(|before| {
                !before.trim().is_empty() && line.starts_with(before.as_str())
            });
            let end = line.char_indices().take(PROMPT_CHARS_MAX).find_map(|(at, c)| {
                let next = at + c.len_utf8();
                (PROMPT_ENDS.contains(c) && line[next..].starts_with(' ')).then_some(next + 1)
            });
            end.filter(|_| !asked).map(|end| (line[..end].to_owned(), line[end..].to_owned()))
        })
    }

    fn keep(&mut self, command: &str) {
        let command = command.trim();
        // Stars stand for what was typed at a question for a password.
        if command.is_empty() || command.chars().all(|c| c == '*') {
            return;
        }
        self.commands.count += 1;
        if self.commands.first.len() < TYPED_COMMANDS_MAX {
            self.commands.first.push(command.chars().take(TYPED_COMMAND_CHARS_MAX).collect());
        }
    }

    /// What was typed.
    pub fn finish(self) -> Commands {
        self.commands
    }
}

/// Which screen it is after this output: the escape codes that switch it are looked for, nothing
/// else.
pub fn is_full_screen_after(output: &[u8], before: bool) -> bool {
    let mut end = output.len();
    while let Some(at) = output[..end].iter().rposition(|byte| *byte == 0x1b) {
        let code = output[at..].strip_prefix(b"\x1b[?".as_slice()).unwrap_or_default();
        for switch in [b"1049".as_slice(), b"1047", b"47"] {
            match code.strip_prefix(switch).and_then(|rest| rest.first()) {
                Some(b'h') => return true,
                Some(b'l') => return false,
                _ => {}
            }
        }
        end = at;
    }
    before
}

fn is_prompt(text: &str) -> bool {
    text.trim_end().ends_with(|c| PROMPT_ENDS.contains(c))
}

fn bounded(columns: u64) -> usize {
    let asked = if columns == 0 { 80 } else { columns };
    usize::try_from(asked).unwrap_or(SCREEN_COLUMNS_MAX).min(SCREEN_COLUMNS_MAX)
}

/// What prompts of shells end with.
const PROMPT_ENDS: &str = "$#%>\u{276f}\u{bb}\u{3bb}";
/// A prompt that was not seen before the first key is looked for so far into the line.
const PROMPT_CHARS_MAX: usize = 120;
/// Of a lot of output only so much is followed: the last line is what counts.
const TAIL_BYTES: usize = 4096;
/// Enters that may wait for an answer.
const ENTERED_MAX: u32 = 64;

/// The keys, so far as they matter: what ends a line, and what only looks like it.
#[derive(Default)]
struct Keys {
    escape: Vec<u8>,
    pasting: bool,
    has_pasted: bool,
}

enum Pressed {
    Enter,
    GivenUp,
    Other,
}

impl Keys {
    fn press(&mut self, key: u8) -> Pressed {
        if !self.escape.is_empty() {
            self.escape.push(key);
            let is_whole = match self.escape.as_slice() {
                [_, b'[' | b'O'] => false,
                [_, b'[', .., last] => (0x40..0x7f).contains(last),
                _ => true,
            };
            if is_whole || self.escape.len() > 16 {
                match self.escape.as_slice() {
                    b"\x1b[200~" => (self.pasting, self.has_pasted) = (true, true),
                    b"\x1b[201~" => self.pasting = false,
                    _ => {}
                }
                self.escape.clear();
            }
            return Pressed::Other;
        }
        match key {
            0x1b => self.escape.push(key),
            b'\r' | b'\n' if !self.pasting => return Pressed::Enter,
            0x03 | 0x04 | 0x1c if !self.pasting => return Pressed::GivenUp,
            _ => {}
        }
        Pressed::Other
    }
}

/// The rows of the line that the cursor is on.
struct Line {
    columns: usize,
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    code: Code,
    character: Vec<u8>,
}

/// Inside which control sequence the output is.
enum Code {
    None,
    Escape,
    Csi(Vec<u8>),
    /// Up to BEL or ST; whether ESC was just seen.
    Text(bool),
    /// One more byte.
    One,
}

enum Put {
    Nothing,
    Left(String),
    FullScreen(bool),
}

impl Line {
    fn new(columns: u64) -> Self {
        Self {
            columns: bounded(columns),
            rows: vec![Vec::new()],
            row: 0,
            column: 0,
            code: Code::None,
            character: Vec::new(),
        }
    }

    fn clear(&mut self) {
        (self.rows, self.row, self.column) = (vec![Vec::new()], 0, 0);
        (self.code, self.character) = (Code::None, Vec::new());
    }

    /// The text of all rows, joined.
    fn text(&self) -> String {
        self.rows.iter().flatten().collect::<String>().trim_end().to_owned()
    }

    fn before_cursor(&self) -> String {
        let mut text: String = self.rows[..self.row].iter().flatten().collect();
        let row = &self.rows[self.row];
        text.extend((0..self.column).map(|at| row.get(at).copied().unwrap_or(' ')));
        text
    }

    fn put(&mut self, byte: u8) -> Put {
        match std::mem::replace(&mut self.code, Code::None) {
            Code::None => return self.plain(byte),
            Code::Escape => {
                self.code = match byte {
                    b'[' => Code::Csi(Vec::new()),
                    b']' | b'P' | b'_' | b'^' | b'X' => Code::Text(false),
                    b'(' | b')' | b'*' | b'+' | b'#' | b'%' | b' ' => Code::One,
                    _ => Code::None,
                }
            }
            Code::Csi(mut code) => {
                if (0x40..0x7f).contains(&byte) {
                    return self.control(&code, byte);
                }
                code.push(byte);
                // Longer ones are none that matter here.
                self.code = if code.len() < 64 { Code::Csi(code) } else { Code::None };
            }
            Code::Text(escaped) => match byte {
                0x07 => {}
                b'\\' if escaped => {}
                0x18 | 0x1a => {}
                _ => self.code = Code::Text(byte == 0x1b),
            },
            Code::One => {}
        }
        Put::Nothing
    }

    fn plain(&mut self, byte: u8) -> Put {
        match byte {
            0x1b => self.code = Code::Escape,
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\n' if self.row + 1 < self.rows.len() => self.row += 1,
            b'\n' => {
                let line = self.text();
                (self.rows, self.row) = (vec![Vec::new()], 0);
                return Put::Left(line);
            }
            b'\t' => self.column = (self.column / 8 * 8 + 8).min(self.columns - 1),
            0..0x20 | 0x7f => {}
            0x20..0x7f => self.print(char::from(byte)),
            _ => {
                self.character.push(byte);
                match str::from_utf8(&self.character) {
                    Ok(text) => {
                        let character = text.chars().next();
                        self.character.clear();
                        if let Some(character) = character {
                            self.print(character);
                        }
                    }
                    Err(bad) if bad.error_len().is_none() => {}
                    Err(_) => self.character.clear(),
                }
            }
        }
        Put::Nothing
    }

    fn print(&mut self, character: char) {
        if self.column >= self.columns {
            if self.row + 1 >= TYPED_ROWS_MAX {
                return;
            }
            (self.row, self.column) = (self.row + 1, 0);
            if self.row == self.rows.len() {
                self.rows.push(Vec::new());
            }
        }
        let row = &mut self.rows[self.row];
        if row.len() <= self.column {
            row.resize(self.column + 1, ' ');
        }
        row[self.column] = character;
        self.column += 1;
    }

    fn control(&mut self, code: &[u8], last: u8) -> Put {
        let text = str::from_utf8(code).unwrap_or_default();
        let first = text.split(';').next().and_then(|number| number.parse::<usize>().ok());
        let times = first.unwrap_or(1).clamp(1, SCREEN_COLUMNS_MAX);
        let row = &mut self.rows[self.row];
        match last {
            b'h' | b'l' if ["?1049", "?1047", "?47"].contains(&text) => {
                self.clear();
                return Put::FullScreen(last == b'h');
            }
            b'A' => self.row = self.row.saturating_sub(times),
            b'B' => self.row = (self.row + times).min(self.rows.len() - 1),
            b'C' => self.column = (self.column + times).min(self.columns - 1),
            b'D' => self.column = self.column.min(self.columns).saturating_sub(times),
            b'G' => self.column = (times - 1).min(self.columns - 1),
            b'K' => match first.unwrap_or(0) {
                0 => row.truncate(self.column),
                1 => row.iter_mut().take(self.column + 1).for_each(|cell| *cell = ' '),
                _ => row.clear(),
            },
            b'J' if first.unwrap_or(0) == 0 => {
                row.truncate(self.column);
                self.rows.truncate(self.row + 1);
            }
            // Another place of the screen: another line.
            b'J' | b'H' | b'f' | b'd' => self.clear(),
            b'P' => {
                let end = (self.column + times).min(row.len());
                row.drain(self.column.min(end)..end);
            }
            b'@' => {
                let at = self.column.min(row.len());
                let room = self.columns.saturating_sub(row.len());
                row.splice(at..at, std::iter::repeat_n(' ', times.min(room)));
            }
            b'X' => row.iter_mut().skip(self.column).take(times).for_each(|cell| *cell = ' '),
            _ => {}
        }
        Put::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `>` what the operator sent, `<` what the VM sent.
    fn typed(steps: &[(char, &str)]) -> Vec<String> {
        let mut typed = Typed::new(20);
        for (way, text) in steps {
            match way {
                '>' => typed.input(text.as_bytes()),
                _ => typed.output(text.as_bytes()),
            }
        }
        typed.finish().first
    }

    type Case = (&'static str, &'static [(char, &'static str)], &'static [&'static str]);

    const CASES: &[Case] = &[
        ("as typed", &[('<', "$ "), ('>', "ls"), ('<', "ls"), ('>', "\r"), ('<', "\r\n")], &["ls"]),
        ("its answer is late", &[('<', "$ "), ('>', "id\r"), ('<', "id\r\nuid=0\r\n$ ")], &["id"]),
        ("backspaces", &[('<', "$ "), ('>', "lz\x7fs\r"), ('<', "lz\x08\x1b[Ks\r\n")], &["ls"]),
        (
            "history, colours and a title in the prompt",
            &[
                ('<', "\x1b]0;t\x07\x1b[32mme\x1b[0m$ "),
                ('>', "\x1b[A"),
                ('<', "make it"),
                ('>', "\x1b[A"),
                ('<', "\x08\x08\x08\x08\x08\x08\x08who\x1b[K"),
                ('>', "\r"),
                ('<', "\r\n"),
            ],
            &["who"],
        ),
        (
            "a password is not echoed",
            &[
                ('<', "$ "),
                ('>', "su\r"),
                ('<', "su\r\nPassword: "),
                ('>', "hunter2\r"),
                ('<', "\r\n# "),
                ('>', "id\r"),
                ('<', "id\r\n"),
            ],
            &["su", "id"],
        ),
        (
            "nor are its stars, nor an answer to a question",
            &[
                ('<', "> Password $ "),
                ('>', "x\r"),
                ('<', "*****\r\nName: "),
                ('>', "bob\r"),
                ('<', "bob\r\n"),
            ],
            &[],
        ),
        (
            "typed ahead",
            &[('<', "$ "), ('>', "a\rb c\r"), ('<', "a\r\nout of a\r\n$ b c\r\nout\r\n$ ")],
            &["a", "b c"],
        ),
        (
            "given up",
            &[('<', "$ "), ('>', "rm\x03"), ('<', "rm^C\r\n$ "), ('>', "w\r"), ('<', "w\r\n")],
            &["w"],
        ),
        (
            "wrapped at twenty columns",
            &[('<', "$ "), ('>', "x\r"), ('<', "echo 0123456789abcdefghij\r\n")],
            &["echo 0123456789abcdefghij"],
        ),
        (
            "pasted in brackets",
            &[
                ('<', "$ "),
                ('>', "\x1b[200~one\rtwo\x1b[201~"),
                ('<', "one\r\ntwo"),
                ('>', "\r"),
                ('<', "\r\n"),
            ],
            &["one\ntwo"],
        ),
        (
            "a full-screen editor is not a prompt",
            &[
                ('<', "$ "),
                ('>', "vi\r"),
                ('<', "vi\r\n\x1b[?1049h\x1b[1;1H# text > "),
                ('>', "idata\r:wq\r"),
                ('<', "data\r\n:wq\r\n\x1b[?1049l$ "),
                ('>', "ls\r"),
                ('<', "ls\r\n"),
            ],
            &["vi", "ls"],
        ),
        (
            "completion shows the line again",
            &[
                ('<', "$ "),
                ('>', "l\t\t"),
                ('<', "l\x07\r\nlast ls\r\n$ l"),
                ('>', "s\r"),
                ('<', "s\r\n"),
            ],
            &["ls"],
        ),
        (
            "no prompt, no command",
            &[('>', "a line of a file\r"), ('<', "a line of a file\r\n")],
            &[],
        ),
    ];

    #[test]
    fn a_command_is_the_line_that_the_shell_took() {
        for (what, steps, commands) in CASES {
            assert_eq!(typed(steps), *commands, "{what}");
        }
    }

    #[test]
    fn much_output_between_is_passed_over() {
        let much = "y\n".repeat(100_000);
        let much = much.as_str();
        let found = typed(&[('<', "$ "), ('>', "yes\r"), ('<', "yes\r\n"), ('<', much)]);
        assert_eq!(found, ["yes"]);
        let steps = [('<', much), ('<', "\x1b[?1049h"), ('<', much), ('<', "$ "), ('>', "x\r")];
        assert_eq!(typed(&[&steps[..], &[('<', "x\r\n")]].concat()), Vec::<String>::new());
        let found = typed(&[('<', &format!("{much}$ ")), ('>', "id\r"), ('<', "id\r\n")]);
        assert_eq!(found, ["id"]);
    }

    #[test]
    fn any_bytes_at_all_do_no_harm() {
        let mut state = 7_u32;
        let mut typed = Typed::new(0);
        for round in 0..2000_u32 {
            let mut bytes = Vec::new();
            for _ in 0..(round % 97) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let pool = b"\x1b[];?0123456789ABCDGHJKPX@hlm\r\n\x08\t $#ab\xe2\x9d\xaf\xff";
                bytes.push(pool[(state >> 16) as usize % pool.len()]);
            }
            typed.output(&bytes);
            typed.input(&bytes);
            typed.resized(u64::from(round % 5));
        }
        let commands = typed.finish();
        assert!(commands.first.len() <= TYPED_COMMANDS_MAX);
    }
}
