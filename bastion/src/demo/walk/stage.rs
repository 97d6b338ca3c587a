//! Where the story is told: commands run in the demo's folder as a person would type them, each
//! shown with its answer and held against what was promised.

use super::super::{
    error::{DemoError, Doing as _},
    people::Person,
    place::Place,
    separation::Separation,
    vm::Vm,
};
use std::{
    io::{BufRead as _, BufReader, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Lines of an answer that are shown; the rest is counted.
const LINES_SHOWN_MAX: usize = 16;

/// Characters of a line that are shown.
const LINE_CHARS_SHOWN_MAX: usize = 240;

/// What the story is told with.
#[derive(Clone, Debug)]
pub struct Stage {
    dir: PathBuf,
    colours: bool,
    /// Whether `ops` and `dba` are two Unix users.
    pub separated: bool,
    /// Where the first VM's sshd listens, and the Unix user of its data account.
    pub vm: (u16, String),
    /// The customer's file, as `dba` reads it.
    pub data_file: String,
    /// What the machine allows.
    pub separation: String,
}

/// A step of the story.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// What it shows, in a line.
    pub proves: &'a str,
    /// The command, as pasted into a shell in the demo's folder.
    pub command: &'a str,
    /// The exit status that is promised.
    pub exit: i32,
    /// What the answer must contain.
    pub says: &'a [&'a str],
}

/// What a command answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The exit status; 128 and more for a signal.
    pub exit: i32,
    /// Standard output and standard error, in the order of arrival.
    pub text: String,
}

/// A command that still runs.
pub struct Running {
    child: std::process::Child,
    lines: BufReader<std::process::ChildStdout>,
    shown: String,
}

impl Stage {
    /// Sets the stage.
    pub fn new(place: &Place, vm: &Vm, separation: &Separation) -> Self {
        Self {
            dir: place.dir().to_owned(),
            colours: std::io::stdout().is_terminal(),
            separated: matches!(separation, Separation::Namespaces { .. }),
            vm: (vm.port, separation.unix_user("dba")),
            data_file: vm.data_file(),
            separation: separation.sentence(),
        }
    }

    /// The demo's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `ssh` as this person.
    pub fn ssh(&self, person: Person) -> String {
        format!("ssh -F {}", person.config)
    }

    /// Begins a chapter.
    pub fn chapter(&self, title: &str) {
        println!("\n{}", self.paint("1", &format!("── {title}")));
    }

    /// Runs a step; an answer that is not as promised ends the story.
    pub fn step(&self, step: Step<'_>) -> Result<String, DemoError> {
        self.show_command(step.command);
        let answer = self.run(step.command)?;
        self.show_answer(&answer.text);
        self.judge(&step, &answer)?;
        Ok(answer.text)
    }

    /// Starts a command that goes on, once it has said `first`.
    pub fn start(&self, command: &str, first: &str) -> Result<Running, DemoError> {
        self.show_command(&format!("{command} &"));
        let mut child = self
            .shell(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .doing("run a shell")?;
        let Some(stdout) = child.stdout.take() else {
            return Err(DemoError::Gateway("a command without output".to_owned()));
        };
        let mut running = Running { child, lines: BufReader::new(stdout), shown: String::new() };
        while !running.shown.contains(first) {
            let mut line = String::new();
            let read = running.lines.read_line(&mut line).doing("read an answer")?;
            if read == 0 {
                return Err(self.broken(command, &format!("to say {first:?}"), &running.shown));
            }
            running.shown += &line;
        }
        self.show_answer(&running.shown);
        Ok(running)
    }

    /// Waits until a running command ends, at most this long; its exit status and what it said
    /// last.
    pub fn end(&self, mut running: Running, most: Duration) -> Result<Answer, DemoError> {
        let since = Instant::now();
        let status = loop {
            match running.child.try_wait().doing("wait for a command")? {
                Some(status) => break status,
                None if since.elapsed() > most => {
                    running.child.kill().doing("end a command")?;
                    running.child.wait().doing("end a command")?;
                    return Err(self.broken(
                        "the running command",
                        "to have ended",
                        &running.shown,
                    ));
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut rest = String::new();
        running.lines.read_to_string(&mut rest).doing("read an answer")?;
        self.show_answer(&rest);
        Ok(Answer { exit: exit_of(status), text: rest })
    }

    /// Says what a step has shown.
    pub fn proved(&self, sentence: &str) {
        println!("  {} {sentence}", self.paint("32", "✔"));
    }

    /// An answer that is not as promised.
    pub fn broken(&self, command: &str, promised: &str, answer: &str) -> DemoError {
        println!("  {} {promised}", self.paint("31", "✘ promised:"));
        let last: String = answer.lines().rev().take(3).collect::<Vec<_>>().join(" / ");
        DemoError::Gateway(format!(
            "`{command}` was promised {promised}, and answered: {last} (the gateway's log: {})",
            self.dir.join("gateway.log").display()
        ))
    }

    /// Runs a command without showing it.
    pub fn run(&self, command: &str) -> Result<Answer, DemoError> {
        let output = self.shell(command).stdin(Stdio::null()).output().doing("run a shell")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Answer { exit: exit_of(output.status), text })
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("/bin/bash");
        // Both outputs in one pipe, as they would mix on a terminal.
        shell.args(["-c", &format!("exec 2>&1; . ./env; {command}")]).current_dir(&self.dir);
        shell
    }

    fn judge(&self, step: &Step<'_>, answer: &Answer) -> Result<(), DemoError> {
        if answer.exit != step.exit {
            let promised = format!("exit status {}, got {}", step.exit, answer.exit);
            return Err(self.broken(step.command, &promised, &answer.text));
        }
        for said in step.says {
            if !answer.text.contains(said) {
                return Err(self.broken(step.command, &format!("to say {said:?}"), &answer.text));
            }
        }
        self.proved(step.proves);
        Ok(())
    }

    fn show_command(&self, command: &str) {
        println!("\n{} {}", self.paint("36", "$"), self.paint("1", command));
    }

    fn show_answer(&self, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().take(LINES_SHOWN_MAX) {
            let shown: String = line.chars().take(LINE_CHARS_SHOWN_MAX).collect();
            println!("  {shown}{}", if shown.len() < line.len() { " …" } else { "" });
        }
        if lines.len() > LINES_SHOWN_MAX {
            println!("  … {} lines more", lines.len() - LINES_SHOWN_MAX);
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        match self.colours {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

fn exit_of(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
