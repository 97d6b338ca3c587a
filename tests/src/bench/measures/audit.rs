//! What being on record costs a short session: entries in the log, and flushes before its first
//! byte comes back.

use crate::bench::{
    form::{Distance, Form, Way},
    options::Plan,
    row::{Figure, Limit, Row, interleaved},
    stage::Stage,
};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const OURS: [Form; 2] = [Form::Ours, Form::OursJump];

/// Entries of `ssh HOST true`, and flushes of the gateway before the first byte of an answer.
pub fn audit(stage: &mut Stage, plan: &Plan) -> Vec<Row> {
    let way = Way::over(Distance::Near);
    let entries = interleaved(plan.count(3, 1), &OURS, |form| entries(stage, form, way));
    let row = Row::new("entries", "log entries of a short session", way, "").with(entries);
    let entries = row.limited(OURS.map(|form| Limit::at_most(form, 12.0)));
    let (mut flushes, mut listed) = (BTreeMap::new(), Vec::new());
    for form in OURS {
        let mut figure = Figure::default();
        for _ in 0..plan.count(3, 1) {
            figure.add(flushed(stage, form, way).map(|files| {
                let count = files.len();
                let list = format!("{}: {}", form.head(), files.join(", "));
                if !listed.contains(&list) {
                    listed.push(list);
                }
                // A handful.
                count as f64
            }));
        }
        flushes.insert(form, figure);
    }
    let title = "flushes before the first byte";
    let row = Row::new("flushes", title, way, "").with(flushes).noted(&listed.join("; "));
    vec![entries, row.limited(OURS.map(|form| Limit::at_most(form, 2.0)))]
}

fn entries(stage: &Stage, form: Form, way: Way) -> Result<f64, String> {
    let before = settled(stage);
    super::timed(&mut stage.ssh(form, way, &["true"]))?;
    Ok(settled(stage) - before)
}

/// The entries of the log, once nothing has been added for a while.
fn settled(stage: &Stage) -> f64 {
    let now = || stage.gateway.metric("bastion_ledger_entries_total");
    let (mut last, mut since) = (now(), Instant::now());
    while since.elapsed() < Duration::from_millis(800) {
        thread::sleep(Duration::from_millis(50));
        let entries = now();
        if entries > last {
            (last, since) = (entries, Instant::now());
        }
    }
    last
}

/// The files that the gateway flushed between the start of ssh and the first byte of an answer.
fn flushed(stage: &Stage, form: Form, way: Way) -> Result<Vec<String>, String> {
    settled(stage);
    let file = stage.dir().join("strace");
    let mut strace = attach(stage.gateway.process().pid(), &file)?;
    let spoken = first_byte(stage, form, way);
    strace.0.kill().ok();
    strace.0.wait().ok();
    let (began, ended) = spoken?;
    let text = fs::read_to_string(&file).map_err(|why| why.to_string())?;
    fs::remove_file(&file).map_err(|why| why.to_string())?;
    Ok(text.lines().filter_map(|line| flush(line, began, ended)).collect())
}

struct Tracer(Child);

fn attach(pid: u32, file: &Path) -> Result<Tracer, String> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-ttt", "-e", "trace=fsync,fdatasync,sync_file_range,msync", "-o"]);
    strace.arg(file).args(["-p", &pid.to_string()]);
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = strace.spawn().map_err(|why| format!("strace: {why}"))?;
    let mut said = child.stderr.take().ok_or("no standard error")?;
    let mut first = [0; 256];
    let length = said.read(&mut first).map_err(|why| why.to_string())?;
    let words = String::from_utf8_lossy(&first[..length]).into_owned();
    if !words.contains("attached") {
        return Err(format!("strace: {}", words.trim()));
    }
    // It says more as threads come and go.
    thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()).ok());
    thread::sleep(Duration::from_millis(300));
    Ok(Tracer(child))
}

/// When ssh was started and when the first byte came back, in seconds since 1970.
fn first_byte(stage: &Stage, form: Form, way: Way) -> Result<(f64, f64), String> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
    let began = now();
    let mut ssh = stage.ssh(form, way, &["exec cat"]);
    ssh.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = ssh.spawn().map_err(|why| why.to_string())?;
    let mut keys = child.stdin.take().ok_or("no standard input")?;
    keys.write_all(b"k").map_err(|why| why.to_string())?;
    let mut byte = [0];
    let read = child.stdout.take().ok_or("no standard output")?.read_exact(&mut byte);
    let ended = now();
    drop(keys);
    child.wait().map_err(|why| why.to_string())?;
    read.map_err(|why| why.to_string())?;
    Ok((began, ended))
}

/// The name of the file that a line of strace says was flushed within that time.
fn flush(line: &str, began: f64, ended: f64) -> Option<String> {
    let mut words = line.split_whitespace().skip_while(|word| !word.contains('.'));
    let at: f64 = words.next()?.parse().ok()?;
    let call = words.next()?;
    let is_flush = ["fsync(", "fdatasync(", "sync_file_range(", "msync("];
    if at < began || at > ended || !is_flush.iter().any(|name| call.starts_with(name)) {
        return None;
    }
    let path = call.split_once('<')?.1.split_once('>')?.0;
    let name = Path::new(path).file_name()?.to_string_lossy().into_owned();
    // A recording's name is drawn anew each time.
    Some(if name.ends_with(".rec") { "the recording".into() } else { name })
}

#[cfg(test)]
mod tests {
    use super::flush;

    #[test]
    fn a_flush_is_told_from_what_strace_says_besides() {
        let line = "4711  1764000000.500000 fdatasync(11</srv/bastion.db-wal> <unfinished ...>";
        let wal = Some("bastion.db-wal".to_owned());
        for (line, flushed) in [
            (line, wal.clone()),
            ("4711  1764000000.500000 fsync(11</srv/bastion.db-wal>) = 0", wal),
            ("4711  1764000002.500000 fsync(11</srv/bastion.db-wal>) = 0", None),
            ("4711  1764000000.500000 <... fdatasync resumed>) = 0", None),
            ("4711  1764000000.500000 --- SIGCHLD ---", None),
        ] {
            assert_eq!(flush(line, 1_764_000_000.0, 1_764_000_001.0), flushed, "{line}");
        }
    }
}
