//! Shows what happened, moment by moment.
//!
//! What the VM sent was chosen by whoever was on the VM, so unless it is wanted raw it never
//! reaches the terminal: a screen reads it, and that screen's rows are shown.

use super::{cast::CastWriter, lines};
use crate::api::session::{Format, Replay};
use bastion_core::{
    cast::unfinished,
    escape::terminal_lines,
    playback::{Happened, Moment},
    screen::{self, Screen},
};
use std::{
    io::{self, Write},
    time::Duration,
};

/// Nobody waits longer than this for a recorded pause, unless they say so.
const PAUSE_MICROS_MAX: u64 = 2_000_000;

/// In which form.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub format: Format,
    pub raw: bool,
    /// With the pauses that there were.
    pub paced: bool,
}

/// Shows one recording.
pub(super) struct Player {
    view: View,
    out: Box<dyn Write>,
    speed: f64,
    from: u64,
    to: u64,
    idle_max: Option<u64>,
    /// The recorded time that was shown last.
    last: u64,
    /// The time that the viewer has seen pass.
    seen: u64,
    screen: Option<Screen>,
    shown: Vec<String>,
    cast: Option<CastWriter>,
    /// The beginning of a character whose rest comes with the next piece.
    part: Vec<u8>,
}

impl Player {
    pub(super) fn new(view: View, ask: &Replay, out: Box<dyn Write>) -> Self {
        let idle_max = ask.idle_max.map(|offset| offset.micros);
        let from = ask.from.map_or(0, |offset| offset.micros);
        Self {
            view,
            out,
            speed: ask.speed,
            from,
            to: ask.to.map_or(u64::MAX, |offset| offset.micros),
            idle_max: idle_max.or(view.paced.then_some(PAUSE_MICROS_MAX)),
            last: from,
            seen: 0,
            screen: None,
            shown: Vec::new(),
            cast: None,
            part: Vec::new(),
        }
    }

    /// The next moment.
    pub(super) fn see(&mut self, moment: Moment) -> io::Result<()> {
        let Moment { at_micros: at, what } = moment;
        if at > self.to {
            return Ok(());
        }
        match what {
            Happened::Terminal(columns, rows) => self.begin(columns, rows),
            Happened::Resized(columns, rows) => {
                let gone = self.screen.as_mut().map(|screen| screen.resize(columns, rows));
                self.advance(at)?;
                if let Some(cast) = self.cast.as_mut().filter(|_| at >= self.from) {
                    cast.resize(self.seen, columns, rows, &mut self.out)?;
                    self.shown.clear();
                }
                self.lines(at, gone.unwrap_or_default())
            }
            Happened::Output(bytes) | Happened::Error(bytes) => self.output(at, &bytes),
            other => {
                let line = if self.view.raw { None } else { lines::of(at, &other) };
                match line {
                    // A terminal's screen shows only what was on it.
                    Some(line) if self.screen.is_none() => self.say(at, &(line + "\n")),
                    _ => Ok(()),
                }
            }
        }
    }

    fn begin(&mut self, columns: u64, rows: u64) -> io::Result<()> {
        let screen = Screen::new(columns, rows);
        match (self.view.format, self.view.raw) {
            (Format::Asciicast, _) => {
                self.cast = Some(CastWriter::begin(screen.size(), &mut self.out)?);
            }
            // Ours, not the recording's: a clear screen to begin with.
            (Format::Terminal, false) => write!(self.out, "\x1b[0m\x1b[2J")?,
            _ => {}
        }
        self.screen = Some(screen);
        Ok(())
    }

    fn output(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut whole = std::mem::take(&mut self.part);
        whole.extend_from_slice(bytes);
        let cut = whole.len() - unfinished(&whole);
        self.part = whole.split_off(cut);
        let text = String::from_utf8_lossy(&whole);
        let Some(screen) = &mut self.screen else { return self.stream(at, bytes, &text) };
        let gone = screen.feed(&text);
        if at < self.from {
            return Ok(());
        }
        self.advance(at)?;
        match (self.view.raw, &mut self.cast) {
            (true, None) => self.out.write_all(bytes)?,
            (true, Some(cast)) => cast.output(self.seen, bytes, &mut self.out)?,
            (false, _) => return self.lines(at, gone),
        }
        self.flush()
    }

    /// A channel without a terminal.
    fn stream(&mut self, at: u64, bytes: &[u8], text: &str) -> io::Result<()> {
        match self.view.raw && self.view.format != Format::Asciicast {
            true if at < self.from => Ok(()),
            true => {
                self.advance(at)?;
                self.out.write_all(bytes)?;
                self.flush()
            }
            false => self.say(at, &terminal_lines(text)),
        }
    }

    /// Text that is safe already.
    fn say(&mut self, at: u64, text: &str) -> io::Result<()> {
        if at < self.from {
            return Ok(());
        }
        self.advance(at)?;
        if self.view.format != Format::Asciicast {
            self.out.write_all(text.as_bytes())?;
            return self.flush();
        }
        if self.cast.is_none() {
            self.cast = Some(CastWriter::begin((100, 30), &mut self.out)?);
        }
        match &mut self.cast {
            Some(cast) => {
                cast.output(self.seen, text.replace('\n', "\r\n").as_bytes(), &mut self.out)
            }
            None => Ok(()),
        }
    }

    /// What a screen shows now, and the lines that have left it.
    fn lines(&mut self, at: u64, gone: Vec<String>) -> io::Result<()> {
        if at < self.from {
            return Ok(());
        }
        match self.view.format {
            Format::Text => {
                for line in gone {
                    writeln!(self.out, "{line}")?;
                }
            }
            Format::Terminal => {
                let paint = self.paint();
                self.out.write_all(paint.as_bytes())?;
            }
            Format::Asciicast => {
                let paint = self.paint();
                if let Some(cast) = self.cast.as_mut().filter(|_| !paint.is_empty()) {
                    cast.output(self.seen, paint.as_bytes(), &mut self.out)?;
                }
            }
        }
        self.flush()
    }

    /// The rows that changed, each at its place.
    fn paint(&mut self) -> String {
        let Some(now) = &self.screen else { return String::new() };
        let rows = now.painted();
        let paint = screen::paint(&rows, &self.shown, now.cursor());
        self.shown = rows;
        paint
    }

    /// Lets the time pass up to a moment, as far as it is to be seen.
    fn advance(&mut self, at: u64) -> io::Result<()> {
        let gap = at.saturating_sub(self.last);
        let gap = self.idle_max.map_or(gap, |most| gap.min(most));
        self.last = self.last.max(at);
        let pause = Duration::from_micros(gap).as_secs_f64() / self.speed;
        let pause = Duration::try_from_secs_f64(pause).unwrap_or(Duration::MAX);
        self.seen = self.seen.saturating_add(u64::try_from(pause.as_micros()).unwrap_or(u64::MAX));
        if self.view.paced {
            self.out.flush()?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.view.paced { self.out.flush() } else { Ok(()) }
    }

    /// There is nothing more.
    pub(super) fn end(mut self) -> io::Result<()> {
        if let Some(screen) = self.screen.take().filter(|_| !self.view.raw) {
            match self.view.format {
                Format::Text => {
                    for line in screen.finish() {
                        writeln!(self.out, "{line}")?;
                    }
                }
                Format::Terminal => writeln!(self.out, "\x1b[0m\x1b[{};1H", screen.size().1)?,
                Format::Asciicast => {}
            }
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bastion_core::{playback::Playback, text::is_plain};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ask() -> Replay {
        let (named, file, identity, out, format) = (None, None, "k".into(), None, None);
        let (from, to, idle_max, plain, raw) = (None, None, None, false, false);
        Replay { named, file, identity, speed: 1.0, from, to, idle_max, format, out, plain, raw }
    }

    fn shown(payload: &str, plain: &str, format: Format, ask: &Replay) -> String {
        let kept = Kept::default();
        let view = View { format, raw: ask.raw, paced: false };
        let mut player = Player::new(view, ask, Box::new(kept.clone()));
        let mut playback = Playback::new(payload);
        playback.push(plain.as_bytes(), |moment| player.see(moment)).unwrap().unwrap();
        player.end().unwrap();
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn cast(events: &[(f64, &str, &str)]) -> String {
        let mut cast = String::from("{\"version\":3,\"term\":{\"cols\":40,\"rows\":5}}\n");
        for (since, code, text) in events {
            cast += &format!("{}\n", serde_json::json!([since, code, text]));
        }
        cast
    }

    const HOSTILE: [&str; 9] = [
        "\u{1b}]0;owned\u{7}",
        "\u{1b}]52;c;AAAA\u{7}",
        "\u{1b}[6n\u{1b}[c",
        "\u{1b}P+q544e\u{1b}\\\u{1b}P$q\"p\u{1b}\\",
        "\u{9b}31m\u{90}q#0~\u{9c}",
        "\u{202e}txt.exe",
        "\u{1b}[99999;99999H.",
        "\u{1b}[201~rm\r",
        "a\rb\n",
    ];

    #[test]
    fn what_a_vm_sent_never_reaches_the_terminal() {
        let mut events: Vec<_> = HOSTILE.iter().map(|text| (0.1, "o", *text)).collect();
        events.extend([(0.0, "r", "99999999x0"), (0.0, "o", "\r\nend")]);
        let cast = cast(&events);
        let text = shown("asciicast-v3", &cast, Format::Text, &ask());
        assert!(text.chars().all(|c| c == '\n' || is_plain(c)), "{text:?}");
        assert!(text.contains("end"));
        for format in [Format::Terminal, Format::Asciicast] {
            let shown = shown("asciicast-v3", &cast, format, &ask());
            assert!(shown.chars().all(|c| "\n\u{1b}".contains(c) || is_plain(c)), "{shown:?}");
            for bad in ["]0", "]52", "P+", "P$", "201~", "6n", "[c"] {
                let bad = [format!("\u{1b}{bad}"), format!("\\u001b{bad}")];
                assert!(bad.iter().all(|bad| !shown.contains(bad)), "{bad:?} in {shown:?}");
            }
        }
        let raw = Replay { raw: true, ..ask() };
        assert!(shown("asciicast-v3", &cast, Format::Terminal, &raw).contains("\u{1b}]52;c;AAAA"));
        let raw = shown("asciicast-v3", &cast, Format::Asciicast, &raw);
        assert!(raw.contains("\\u001b]52") && raw.contains("\\u009b31m"), "{raw}");
        assert!(raw.chars().all(|c| c == '\n' || is_plain(c)), "{raw:?}");
    }

    #[test]
    fn a_part_of_it_begins_with_the_screen_as_it_was() {
        let cast = cast(&[(1.0, "o", "one\r\n"), (60.0, "o", "two\r\n"), (60.0, "o", "three\r\n")]);
        let part =
            |from: &str, to: &str| Replay { from: from.parse().ok(), to: to.parse().ok(), ..ask() };
        let text = |ask: &Replay| shown("asciicast-v3", &cast, Format::Text, ask);
        assert_eq!(text(&ask()), "one\ntwo\nthree\n");
        assert_eq!(text(&part("0", "30s")), "one\n");
        assert_eq!(text(&part("30s", "1m10s")), "one\ntwo\n");
        let paint = shown("asciicast-v3", &cast, Format::Terminal, &part("2m", "3m"));
        assert!(paint.contains("\u{1b}[1;1Hone") && paint.contains("three"), "{paint:?}");
    }

    #[test]
    fn pauses_are_shortened_in_an_asciicast() {
        let cast = cast(&[(1.0, "o", "a"), (60.0, "o", "b")]);
        let ask = Replay { idle_max: "2s".parse().ok(), speed: 2.0, ..ask() };
        let out = shown("asciicast-v3", &cast, Format::Asciicast, &ask);
        assert!(out.contains("[0.500000, \"o\"") && out.contains("[1.000000, \"o\""), "{out}");
    }

    #[test]
    fn streams_show_what_came_out_and_how_it_ended() {
        let plain = "{\"command\":\"wc -c\"}\ni 10 6\nhello\n\no 12 9\na\u{1b}[2Jb\nc\n\n\
                     c 20 6\nexit 0\n";
        let text = shown("timed-streams-v1", plain, Format::Text, &ask());
        assert_eq!(text, "$ wc -c\na\\u{1b}[2Jb\nc\n[exit 0]\n");
        let cast = shown("timed-streams-v1", plain, Format::Asciicast, &ask());
        assert!(cast.starts_with("{\"version\":3") && cast.contains("[exit 0]"), "{cast}");
    }

    #[test]
    fn operations_are_listed() {
        let plain = "{\"timestamp\":1,\"version\":1}\n{\"at_micros\":61500000,\"operation\":\
                     \"upload\",\"path\":\"/a\\u001b[2J\",\"status\":0,\"bytes\":3}\n";
        let text = shown("operations-v1", plain, Format::Text, &ask());
        assert_eq!(text, "0:01:01.500 upload /a\\u{1b}[2J bytes=3 status=0\n");
    }
}
