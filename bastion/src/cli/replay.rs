//! `bastion session replay`: a recording opened and watched on the caller's side.
//!
//! The private key never leaves this machine. What the VM sent was chosen by whoever was on the
//! VM, so by default it never reaches the terminal: a terminal emulator reads it, and what is shown
//! are that emulator's rows, character by character made safe.

use super::{Fault, local};
use crate::{
    api::session::Replay,
    config::Config,
    relay::recording::{Found, open_container, unwrap},
    render::tar,
};
use avt::Terminal;
use bastion_core::{escape, limits::REPLAY_ROWS_MAX};
use serde_json::Value;
use std::{
    fs,
    io::{self, IsTerminal as _, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

/// Nobody waits longer than this for a recorded pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Fetches a recording, opens it and shows it.
pub fn run(config: Option<&Path>, ask: &Replay) -> Result<ExitCode, Fault> {
    if !(ask.speed.is_finite() && ask.speed > 0.0) {
        return Err(Fault::usage("--speed: give a number greater than 0"));
    }
    let key = fs::read_to_string(&ask.identity)
        .map_err(|cause| Fault::failed(format!("{}: {cause}", ask.identity.display())))?;
    let archive = match (&ask.file, &ask.lease) {
        (Some(file), _) => {
            fs::read(file).map_err(|cause| Fault::failed(format!("{}: {cause}", file.display())))?
        }
        (None, Some(lease)) => {
            let config = super::configuration(config)?;
            match fetch(&config, lease.as_str())? {
                Ok(archive) => archive,
                Err(code) => return Ok(code),
            }
        }
        (None, None) => return Err(Fault::usage("name a lease, or a file with --file")),
    };
    let (plain, found) = open(&archive, &key)?;
    if let Some(fault) = &found.fault {
        eprintln!("bastion: only a part of the recording holds: {fault}");
    }
    match show(&plain, &found.header.payload, ask) {
        Ok(()) if found.fault.is_none() => Ok(ExitCode::SUCCESS),
        Ok(()) => Ok(ExitCode::from(4)),
        Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(cause) => Err(Fault::failed(format!("the recording cannot be shown: {cause}"))),
    }
}

/// The archive of a recording, or the exit code of the command that did not give it.
fn fetch(config: &Config, lease: &str) -> Result<Result<Vec<u8>, ExitCode>, Fault> {
    let words = ["session", "fetch", lease].map(str::to_owned).to_vec();
    let mut out = local::LocalOutput::keeping();
    let code = super::runtime()?.block_on(local::run(config, words, &mut out))?;
    Ok(if code == ExitCode::SUCCESS { Ok(out.into_kept()) } else { Err(code) })
}

fn open(archive: &[u8], key: &str) -> Result<(Vec<u8>, Found), Fault> {
    let damaged = || Fault::unverified("not what `session fetch` gives, or damaged on the way");
    let files = tar::read(archive).ok_or_else(damaged)?;
    let ending =
        |end: &str| files.iter().find(|(name, _)| name.ends_with(end)).map(|(_, bytes)| *bytes);
    let wrapped = ending(".keys.json").ok_or_else(damaged)?;
    let sealed = ending(".recording").ok_or_else(damaged)?;
    let wrapped = std::str::from_utf8(wrapped).map_err(|_| damaged())?;
    let key = unwrap(wrapped, key).map_err(Fault::unverified)?;
    open_container(sealed, &key).map_err(Fault::unverified)
}

fn show(plain: &[u8], payload: &str, ask: &Replay) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match payload {
        "asciicast-v3" => Cast::read(plain)?.play(&mut out, ask)?,
        "timed-streams-v1" => streams(plain, &mut out, ask)?,
        _ => {
            for line in String::from_utf8_lossy(plain).lines() {
                writeln!(out, "{}", escape::terminal(line))?;
            }
        }
    }
    out.flush()
}

/// What happened on a terminal.
struct Cast {
    columns: usize,
    rows: usize,
    events: Vec<(f64, String, String)>,
}

impl Cast {
    fn read(plain: &[u8]) -> io::Result<Self> {
        let text = String::from_utf8_lossy(plain);
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let header: Value = lines.next().and_then(json).ok_or(io::ErrorKind::InvalidData)?;
        // A client without a terminal of its own asks for one of 0 by 0.
        let size = |what: &str, normal: u64| {
            header["term"][what].as_u64().filter(|size| *size > 0).unwrap_or(normal)
        };
        let event = |line: &str| {
            let value = json(line)?;
            let (after, code, text) = (value[0].as_f64()?, value[1].as_str()?, value[2].as_str()?);
            Some((after, code.to_owned(), text.to_owned()))
        };
        Ok(Self {
            columns: bounded(size("cols", 80)),
            rows: bounded(size("rows", 24)),
            events: lines.filter_map(event).collect(),
        })
    }

    fn play(&self, out: &mut impl Write, ask: &Replay) -> io::Result<()> {
        let still = ask.plain || !io::stdout().is_terminal();
        if ask.raw {
            return self.raw(out, ask, still);
        }
        let history = Some(REPLAY_ROWS_MAX);
        let mut terminal = Terminal::with_scrollback(self.columns, self.rows, history)
            .map_err(|_| io::ErrorKind::InvalidData)?;
        let mut shown: Vec<String> = Vec::new();
        if !still {
            // Ours, not the recording's: a clear screen to begin with.
            write!(out, "\x1b[2J")?;
        }
        for (after, code, text) in &self.events {
            match code.as_str() {
                "o" => terminal.feed(text.as_str()),
                "r" => resize(&mut terminal, text),
                _ => continue,
            }
            if !still {
                pause(*after, ask.speed);
                paint(&terminal, &mut shown, out)?;
            }
        }
        if still {
            let rows = terminal.primary_screen().all_lines();
            let rows: Vec<String> = rows.map(|line| safe(line.text().trim_end())).collect();
            // The screen below the last row that was written to.
            let end = rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1);
            for row in &rows[..end] {
                writeln!(out, "{row}")?;
            }
            return Ok(());
        }
        writeln!(out, "\x1b[{};1H", shown.len() + 1)
    }

    fn raw(&self, out: &mut impl Write, ask: &Replay, still: bool) -> io::Result<()> {
        for (after, code, text) in &self.events {
            if code == "o" {
                if !still {
                    pause(*after, ask.speed);
                }
                out.write_all(text.as_bytes())?;
                out.flush()?;
            }
        }
        Ok(())
    }
}

/// Writes the rows that changed, each at its place.
fn paint(terminal: &Terminal, shown: &mut Vec<String>, out: &mut impl Write) -> io::Result<()> {
    let rows: Vec<String> =
        terminal.screen().visible_lines().map(|line| safe(line.text().trim_end())).collect();
    for (index, row) in rows.iter().enumerate() {
        if shown.get(index) != Some(row) {
            write!(out, "\x1b[{};1H{row}\x1b[K", index + 1)?;
        }
    }
    *shown = rows;
    out.flush()
}

/// One character for one cell, so that columns stay where they were.
fn safe(row: &str) -> String {
    let plain = bastion_core::text::is_plain;
    row.chars().map(|c| if plain(c) { c } else { '\u{fffd}' }).collect()
}

fn resize(terminal: &mut Terminal, size: &str) {
    let parsed = size.split_once('x').and_then(|(columns, rows)| {
        Some((columns.parse::<u64>().ok()?, rows.parse::<u64>().ok()?))
    });
    if let Some((columns, rows)) = parsed {
        terminal.resize(bounded(columns), bounded(rows));
    }
}

/// A terminal has 1 to 1000 columns and rows, whatever a recording says.
fn bounded(size: u64) -> usize {
    usize::try_from(size.clamp(1, 1000)).unwrap_or(80)
}

fn pause(seconds: f64, speed: f64) {
    // Negative or absurd times of a damaged recording are no pause.
    let wanted = Duration::try_from_secs_f64(seconds / speed).unwrap_or_default();
    std::thread::sleep(wanted.min(PAUSE_MAX));
}

/// Streams without a terminal: a line says how many bytes follow, and of which stream.
fn streams(plain: &[u8], out: &mut impl Write, ask: &Replay) -> io::Result<()> {
    let mut rest = plain;
    let header = line(&mut rest).ok_or(io::ErrorKind::InvalidData)?;
    let header = json(&String::from_utf8_lossy(header)).unwrap_or_default();
    if let Some(command) = header["command"].as_str()
        && !ask.raw
    {
        writeln!(out, "$ {}", escape::terminal(command))?;
    }
    let mut before = 0.0;
    while let Some(head) = line(&mut rest) {
        let head = String::from_utf8_lossy(head).into_owned();
        let mut words = head.split(' ');
        let (stream, micros, length) = (words.next(), words.next(), words.next());
        let at = micros.and_then(|m| m.parse::<f64>().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let length: usize =
            length.and_then(|n| n.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let piece = rest.get(..length).ok_or(io::ErrorKind::UnexpectedEof)?;
        rest = rest.get(length + 1..).unwrap_or_default();
        if !ask.plain && io::stdout().is_terminal() {
            pause((at - before) / 1e6, ask.speed);
            before = at;
        }
        match (stream, ask.raw) {
            (Some("o" | "e"), true) => out.write_all(piece)?,
            (Some("o" | "e"), false) => {
                let text = String::from_utf8_lossy(piece);
                let lines: Vec<String> = text.split('\n').map(escape::terminal).collect();
                out.write_all(lines.join("\n").as_bytes())?;
            }
            (Some("c"), false) => {
                writeln!(out, "[{}]", escape::terminal(&String::from_utf8_lossy(piece)))?;
            }
            _ => {}
        }
        out.flush()?;
    }
    Ok(())
}

fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let (line, after) = (&rest[..end], &rest[end + 1..]);
    *rest = after;
    Some(line)
}

fn json(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask() -> Replay {
        let (lease, file, identity) = (None, None, "k".into());
        Replay { lease, file, identity, speed: 1.0, plain: true, raw: false }
    }

    #[test]
    fn what_a_vm_sent_never_reaches_the_terminal() {
        let hostile = [
            "\\u001b]0;owned\\u0007",
            "\\u001b]52;c;AAAA\\u0007",
            "\\u001b[6n",
            "\\u001bP+q544e\\u001b\\\\",
            "\\u009b31m",
            "\\u202etxt.exe",
            "\\u001b[99999;99999H.",
            "a\\rb\\n",
        ];
        let mut cast = String::from("{\"version\":3,\"term\":{\"cols\":40,\"rows\":5}}\n");
        for text in hostile {
            cast += &format!("[0.0, \"o\", \"{text}\"]\n");
        }
        cast += "[0.0, \"r\", \"99999999x0\"]\n[0.0, \"o\", \"end\"]\n";
        let mut out = Vec::new();
        Cast::read(cast.as_bytes()).unwrap().play(&mut out, &ask()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.chars().all(|c| c == '\n' || bastion_core::text::is_plain(c)), "{text:?}");
        assert!(text.contains("end"));
    }

    #[test]
    fn streams_show_what_came_out_and_how_it_ended() {
        let plain =
            b"{\"command\":\"wc -c\"}\ni 10 6\nhello\n\no 12 9\na\x1b[2Jb\nc\n\nc 20 6\nexit 0\n";
        let mut out = Vec::new();
        streams(plain, &mut out, &ask()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "$ wc -c\na\\u{1b}[2Jb\nc\n[exit 0]\n");
        assert!(streams(b"{}\no 1 99\nx\n", &mut Vec::new(), &ask()).is_err());
    }
}
