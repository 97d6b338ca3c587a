//! `bastion session search --key`: the screens of recordings, opened and searched on the caller's
//! side.
//!
//! The gateway says which recordings may be opened, and enters the search; each one is fetched,
//! which is entered, too. What is opened stays in memory.

use super::{
    Fault, local,
    replay::{Archive, clock, read_key},
};
use crate::{api::session::Search as Ask, config::Config};
use bastion_core::{
    escape,
    playback::Playback,
    search::{Hit, Search},
};
use serde_json::{Value, json};
use std::{
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
    process::ExitCode,
};

/// Searches, and prints what it finds as it goes.
pub fn run(config: Option<&Path>, ask: &Ask, as_json: bool) -> Result<ExitCode, Fault> {
    let Some(path) = &ask.key else { return Err(Fault::usage("--key: name the private key")) };
    let key = read_key(path)?;
    let mut printer = Printer { as_json, key: path.display().to_string(), found: 0 };
    let mut unopened = 0_u64;
    for file in &ask.file {
        let name = file.display().to_string();
        let about = json!({ "file": name, "lease": Value::Null });
        printer.hits(&about, search(Archive::of(file)?, &key, ask)?)?;
    }
    if ask.file.is_empty() {
        let config = super::configuration(config)?;
        let answer = match may_search(&config)? {
            Ok(answer) => answer,
            Err(code) => return Ok(code),
        };
        printer.commands(&answer)?;
        let withheld = answer["withheld"].as_u64().unwrap_or(0);
        if withheld > 0 {
            eprintln!("bastion: {withheld} data channel(s) withheld: no consent includes them");
        }
        for recording in answer["recordings"].as_array().into_iter().flatten() {
            let Some(named) = recording["recording"].as_str() else { continue };
            if recording["closed_at"].is_null() {
                continue;
            }
            let hits = match Archive::fetched(&config, named)? {
                Ok(archive) => search(archive, &key, ask),
                // It has said why: erased, say, or on another gateway.
                Err(_) => Err(Fault::failed("")),
            };
            match hits {
                Ok(hits) => printer.hits(recording, hits)?,
                Err(_) => unopened += 1,
            }
        }
    }
    if unopened > 0 {
        eprintln!("bastion: {unopened} recording(s) could not be opened with this key");
    }
    if printer.found == 0 {
        eprintln!("bastion: nothing found");
    }
    Ok(ExitCode::SUCCESS)
}

/// The gateway's answer: the commands that match, and the recordings that may be opened.
fn may_search(config: &Config) -> Result<Result<Value, ExitCode>, Fault> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut words = super::forwarded(words, &["config", "key", "identity"]);
    words.retain(|word| word != "--json");
    words.extend(["--recordings", "--json"].map(str::to_owned));
    let mut kept = super::replay::nameless().map_err(Fault::failed)?;
    let mut out = local::LocalOutput::to_file(kept.try_clone().map_err(Fault::failed)?);
    let code = super::runtime()?.block_on(local::run(config, words, &mut out))?;
    if code != ExitCode::SUCCESS {
        return Ok(Err(code));
    }
    let mut answer = String::new();
    kept.rewind().and_then(|()| kept.read_to_string(&mut answer)).map_err(Fault::failed)?;
    serde_json::from_str(&answer).map(Ok).map_err(Fault::failed)
}

fn search(archive: Archive, key: &str, ask: &Ask) -> Result<Vec<Hit>, Fault> {
    let mut sealed = archive.open(key)?;
    let mut search = Search::new(&ask.text.join(" "), ask.ignore_case);
    let mut playback = Playback::new(&sealed.header()?.payload);
    let read = sealed.read(&mut |plain| {
        let pushed = playback.push(plain, |moment| {
            search.see(&moment);
            Ok::<(), io::Error>(())
        });
        pushed.map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))?
    });
    read.map_err(Fault::unverified)?;
    Ok(search.finish())
}

struct Printer {
    as_json: bool,
    key: String,
    found: usize,
}

impl Printer {
    fn commands(&mut self, answer: &Value) -> Result<(), Fault> {
        for command in answer["commands"].as_array().into_iter().flatten() {
            let said = |field: &str| escape::terminal(command[field].as_str().unwrap_or_default());
            let text = format!(
                "{}  {}  {}  {}  {}\n  > {}\n",
                said("lease"),
                said("time"),
                said("operator"),
                said("vm"),
                said("how"),
                said("command"),
            );
            self.print(command, &text)?;
        }
        Ok(())
    }

    fn hits(&mut self, about: &Value, hits: Vec<Hit>) -> Result<(), Fault> {
        for hit in hits {
            let said = |field: &str| escape::terminal(about[field].as_str().unwrap_or_default());
            let from = clock(hit.at_micros);
            // A little before it is there, so that one sees it come.
            let replay_from = format!("{}s", hit.at_micros.saturating_sub(1_000_000) / 1_000_000);
            let is_lent = about["is_lent"] == true;
            let named = if is_lent { &about["recording"] } else { &about["lease"] };
            let what = match named.as_str() {
                Some(named) => escape::terminal(named),
                None => format!("--file {}", said("file")),
            };
            let mut text = format!(
                "{what}  +{from}  {}  {}  {}\n",
                said("session"),
                said("operator"),
                said("vm")
            );
            let line = |mark, line: &Option<String>| match line {
                Some(line) => format!("  {mark} {}\n", escape::terminal(line)),
                None => String::new(),
            };
            text += &line(' ', &hit.before);
            text += &line('>', &Some(hit.line.clone()));
            text += &line(' ', &hit.after);
            let key = escape::terminal(&self.key);
            let replay =
                format!("bastion session replay {what} --identity {key} --from {replay_from}");
            text += &format!("    {replay}\n");
            let json = json!({
                "lease": about["lease"], "recording": about["recording"],
                "file": about["file"], "session": about["session"],
                "operator": about["operator"], "vm": about["vm"], "how": "on the screen",
                "at_micros": hit.at_micros, "line": hit.line, "before": hit.before,
                "after": hit.after, "replay": replay,
            });
            self.print(&json, &text)?;
        }
        Ok(())
    }

    fn print(&mut self, json: &Value, text: &str) -> Result<(), Fault> {
        self.found += 1;
        let mut out = io::stdout().lock();
        let written = match self.as_json {
            true => writeln!(out, "{json}"),
            false => write!(out, "{text}"),
        };
        match written {
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => {
                Err(Fault { exit: 0, sentence: String::new() })
            }
            written => written.map_err(Fault::failed),
        }
    }
}
