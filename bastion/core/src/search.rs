//! Finding text in a recording: what stood on the screen, not the bytes that put it there.
//!
//! A word may arrive a key at a time, with a colour inside, with a typing error taken back, or as a
//! patch of an editor's screen. So the screen is looked at after each piece of output, and a line
//! that holds the text counts once for as long as it is there, wherever it is scrolled to. What an
//! operator typed and no screen showed, a password say, is not searched.

use crate::{
    cast::unfinished,
    limits::SEARCH_HITS_MAX,
    playback::{Happened, Moment},
    screen::{Screen, safe},
};

/// Where a text was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// When it was first there, in microseconds from the beginning.
    pub at_micros: u64,
    /// The line, as it stood there last.
    pub line: String,
    /// The line above it.
    pub before: Option<String>,
    /// The line below it.
    pub after: Option<String>,
}

/// Looks for one text in one recording.
pub struct Search {
    text: String,
    ignore_case: bool,
    screen: Option<Screen>,
    is_terminal: bool,
    part: Vec<u8>,
    /// The lines that hold it now, by place: of the primary screen, and of a full-screen program's.
    there: [Vec<There>; 2],
    hits: Vec<Hit>,
}

#[derive(Clone)]
struct There {
    row: usize,
    line: String,
    hit: usize,
}

impl Search {
    /// For a text that is not empty.
    pub fn new(text: &str, ignore_case: bool) -> Self {
        Self {
            text: if ignore_case { text.to_lowercase() } else { text.to_owned() },
            ignore_case,
            screen: None,
            is_terminal: false,
            part: Vec::new(),
            there: [Vec::new(), Vec::new()],
            hits: Vec::new(),
        }
    }

    /// Whether a line holds it.
    pub fn matches(&self, line: &str) -> bool {
        match self.ignore_case {
            true => line.to_lowercase().contains(&self.text),
            false => line.contains(&self.text),
        }
    }

    /// The next moment of the recording.
    pub fn see(&mut self, moment: &Moment) {
        if self.hits.len() >= SEARCH_HITS_MAX {
            return;
        }
        let at = moment.at_micros;
        match &moment.what {
            Happened::Terminal(columns, rows) => {
                self.screen = Some(Screen::new(*columns, *rows));
                self.is_terminal = true;
            }
            Happened::Began(value) => {
                // Without a terminal lines are as long as they are; a wide screen joins them.
                self.screen = Some(Screen::new(500, 25));
                self.fields(at, value);
            }
            Happened::Resized(columns, rows) => {
                let gone = self.screen.as_mut().map(|screen| screen.resize(*columns, *rows));
                self.look(at, gone.unwrap_or_default());
            }
            Happened::Output(bytes) | Happened::Error(bytes) => self.output(at, bytes),
            Happened::Operation(value) => self.fields(at, value),
            Happened::Input(_) | Happened::Note(_) => {}
        }
    }

    fn fields(&mut self, at_micros: u64, value: &serde_json::Value) {
        let texts = value.as_object().into_iter().flatten().filter_map(|(_, text)| text.as_str());
        for text in texts {
            let line = safe(text);
            if self.matches(&line) {
                self.hits.push(Hit { at_micros, line, before: None, after: None });
            }
        }
    }

    fn output(&mut self, at: u64, bytes: &[u8]) {
        let mut whole = std::mem::take(&mut self.part);
        whole.extend_from_slice(bytes);
        self.part = whole.split_off(whole.len() - unfinished(&whole));
        let mut text = String::from_utf8_lossy(&whole).into_owned();
        if !self.is_terminal {
            text = text.replace('\n', "\r\n");
        }
        let Some(screen) = &mut self.screen else { return };
        let gone = screen.feed(&text);
        self.look(at, gone);
    }

    /// What is on the screen now, and what has left it.
    fn look(&mut self, at_micros: u64, gone: Vec<String>) {
        let Some(screen) = &self.screen else { return };
        let which = usize::from(screen.is_full_screen());
        let lines = screen.lines();
        let mut before: Vec<Option<There>> =
            std::mem::take(&mut self.there[which]).into_iter().map(Some).collect();
        let mut now = Vec::new();
        let left = gone.len();
        let all: Vec<&String> = gone.iter().chain(&lines).collect();
        let holds = |index: &usize| self.matches(all[*index]);
        for index in (0..all.len()).filter(holds).collect::<Vec<_>>() {
            let line = all[index];
            let row = index.wrapping_sub(left);
            let same = before.iter().position(|b| b.as_ref().is_some_and(|b| b.line == *line));
            let same = same
                .or_else(|| before.iter().position(|b| b.as_ref().is_some_and(|b| b.row == row)));
            let hit = match same.and_then(|at| before[at].take()) {
                Some(there) => there.hit,
                None => self.hits.len(),
            };
            let beside = |by: isize| {
                let line = all.get(index.checked_add_signed(by)?)?;
                (!line.is_empty()).then(|| (*line).clone())
            };
            let found = Hit { at_micros, line: line.clone(), before: beside(-1), after: beside(1) };
            match self.hits.get_mut(hit) {
                Some(known) => *known = Hit { at_micros: known.at_micros, ..found },
                None if hit < SEARCH_HITS_MAX => self.hits.push(found),
                None => continue,
            }
            if index >= left {
                now.push(There { row, line: line.clone(), hit });
            }
        }
        self.there[which] = now;
    }

    /// What was found, in the order of time.
    pub fn finish(self) -> Vec<Hit> {
        self.hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, pieces: &[&str]) -> Vec<String> {
        let mut search = Search::new(text, false);
        search.see(&Moment { at_micros: 0, what: Happened::Terminal(20, 4) });
        for (at, piece) in pieces.iter().enumerate() {
            let what = Happened::Output(piece.as_bytes().to_vec());
            search.see(&Moment { at_micros: at as u64, what });
        }
        search.finish().iter().map(|hit| format!("{} {}", hit.at_micros, hit.line)).collect()
    }

    #[test]
    fn a_line_is_found_as_it_stood_on_the_screen() {
        for (what, pieces, expected) in [
            ("whole", &["a needle\r\n"][..], &["0 a needle"][..]),
            ("a key at a time", &["$ nee", "d", "l", "e", "s\r\n"], &["3 $ needles"]),
            ("a typing error", &["$ nex", "\x08 \x08", "edle"], &["2 $ needle"]),
            ("a colour inside", &["nee\x1b[1;31mdle\x1b[0m"], &["0 needle"]),
            ("wrapped", &["0123456789012345needle\r\n"], &["0 0123456789012345needle"]),
            ("never there", &["nee", "\r\x1b[Kdle"], &[]),
            ("an editor's patch", &["\x1b[?1049hneedle", "\x1b[1;3HX"], &["0 needle"]),
            ("put there", &["\x1b[?1049hnexdle", "\x1b[1;3He"], &["1 needle"]),
            ("scrolled", &["needle\r\n", "1\r\n2\r\n", "3\r\n4\r\n5\r\n"], &["0 needle"]),
            ("scrolled through at once", &["a\r\nneedle\r\n1\r\n2\r\n3\r\n4\r\n5"], &["0 needle"]),
            ("twice", &["needle\r\n", "needle\r\n"], &["0 needle", "1 needle"]),
            (
                "under an editor and back",
                &["needle\r\n", "\x1b[?1049h\x1b[Hother", "\x1b[?1049l"],
                &["0 needle"],
            ),
            (
                "cleared and written again",
                &["needle", "\x1b[2J\x1b[H", "needle"],
                &["0 needle", "2 needle"],
            ),
            ("hidden in a title", &["\x1b]0;needle\x07"], &[]),
        ] {
            assert_eq!(found("needle", pieces), expected, "{what}");
        }
    }

    #[test]
    fn commands_files_and_plain_streams_are_searched_and_keys_are_not() {
        let mut search = Search::new("NEEDLE", true);
        let value = serde_json::json!({"command": "grep Needle", "version": 1});
        for what in [
            Happened::Began(value),
            Happened::Input(b"needle".to_vec()),
            Happened::Output(b"one\nnee\x1b[1mdle two".to_vec()),
            Happened::Error(b" and\nmore\n".to_vec()),
            Happened::Operation(serde_json::json!({"path": "/needle", "status": 0})),
        ] {
            search.see(&Moment { at_micros: 1, what });
        }
        let hits = search.finish();
        let lines: Vec<&str> = hits.iter().map(|hit| hit.line.as_str()).collect();
        assert_eq!(lines, ["grep Needle", "needle two and", "/needle"]);
        assert_eq!(hits[1].before.as_deref(), Some("one"));
        assert_eq!(hits[1].after.as_deref(), Some("more"));
    }
}
