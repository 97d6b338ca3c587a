//! One command engine for `ssh bastion <command>`, the gateway's Unix socket and the local CLI.
//!
//! A command goes one way: its words are looked up in the part of the tree that the caller's role
//! may see; only then are its arguments parsed; then it runs, and what it changes is decided,
//! written and entered in the log in one transaction; then its answer is printed. A command that
//! the caller may not run is answered like one that does not exist, after the refusal is durable.
//!
//! ```text
//! words ─▶ tree::locate ─▶ permit ─▶ tree::parse ─▶ verb ─▶ ledger.record ─▶ Reply ─▶ Output
//!             │ unknown or not permitted: recorded, exit 3     │ refused: recorded, exit 3
//!                                                              │ loosens: proposed, see `dual`
//! ```

mod approvers;
pub mod audit;
pub mod backup;
mod change;
pub mod connect;
mod consent;
mod customers;
mod destinations;
mod dual;
mod effects;
pub mod fault;
pub mod frame;
mod host;
mod keys;
pub mod line;
mod ls;
mod officers;
mod operators;
mod permit;
pub mod policy;
pub mod print;
mod proposals;
mod provision;
mod quota;
mod reading;
mod reconcile;
mod recording;
pub mod report;
pub mod revocations;
mod rows;
mod services;
pub mod session;
pub mod socket;
mod token;
mod tree;
mod values;
mod vms;
pub mod web;

pub use consent::expire;
pub use officers::make_first as make_first_officer;

use crate::app::App;
use audit_schema::event::Actor;
use bastion_core::{
    id::{CustomerId, SessionId},
    limits::{COMMAND_INPUT_BYTES_MAX, TICKET_SWEEP_MILLIS},
};
pub use fault::Fault;
use futures_util::future::BoxFuture;
use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt};
use tree::{Place, Verb};

/// Who runs a command; settled before the engine is asked.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The pseudonym and role that entries name.
    pub actor: Actor,
    /// Whose approver the caller is; none for the provider's people.
    pub customer: Option<CustomerId>,
    /// What people call them; personal data.
    pub handle: String,
    /// The SSH connection, if there is one.
    pub session: Option<SessionId>,
    /// From where they come.
    pub source: Option<IpAddr>,
}

/// One command to run.
pub struct Invocation {
    /// Who runs it.
    pub caller: Caller,
    /// Its words, without the program's name.
    pub argv: Vec<String>,
    /// What the command may read: a signature, a key.
    pub stdin: Box<dyn AsyncRead + Send + Unpin>,
}

impl Invocation {
    /// A command as SSH carries it: one string, split as the shell would.
    pub fn from_line(
        caller: Caller,
        line: &str,
        stdin: Box<dyn AsyncRead + Send + Unpin>,
    ) -> Result<Self, line::BadLine> {
        Ok(Self { caller, argv: line::split(line)?, stdin })
    }
}

/// Where a command's answer goes. Each way to the engine has its own.
pub trait Output: Send + Sync {
    /// The answer itself.
    fn out<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>>;
    /// What people should know besides: errors, hints.
    fn err<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>>;
    /// A named file of a report; a caller on the same machine writes it where `--out` says.
    fn file<'a>(&'a mut self, name: &'a str, bytes: Vec<u8>) -> BoxFuture<'a, io::Result<()>>;
    /// Whether [`Self::file`] has somewhere to put files; otherwise several go out as one tar.
    fn wants_files(&self) -> bool {
        false
    }
}

/// What a command answers.
pub(crate) enum Reply {
    /// For people as text, for programs as JSON.
    Said {
        /// Ends in a line break.
        text: String,
        /// What `--json` prints.
        json: serde_json::Value,
    },
    /// Exact bytes, whoever asks.
    Bytes(Vec<u8>),
    /// The command wrote its answer itself, as it went.
    Written,
}

/// A command that runs: what every verb gets.
pub(crate) struct Call<'a> {
    /// The deployment.
    pub app: &'a App,
    /// Who runs it.
    pub caller: &'a Caller,
    /// The command's name, as `audit query`.
    pub command: String,
    /// Its words as they were given.
    pub argv: &'a [String],
    /// Whether the answer is for a program.
    pub json: bool,
    /// Never locked: only [`Call::input`] reads it, and has the call for itself. The mutex makes
    /// that known to the compiler.
    stdin: Mutex<Box<dyn AsyncRead + Send + Unpin>>,
    /// What was read of it: a change that waits for another officer is stored with it.
    given: String,
    /// The words that say the command in full, where those that were typed leave something open
    /// that may be another thing by the time another officer approves it.
    restated: Option<Vec<String>>,
    /// Another officer's word, where the command is a proposed change that runs now.
    approval: Option<dual::Approval>,
    /// For verbs that answer as they go.
    pub out: &'a mut dyn Output,
}

impl Call<'_> {
    /// Reads the whole standard input, which must be text of bounded size. `what` names it in the
    /// error: "a signature".
    pub async fn input(&mut self, what: &str) -> Result<String, Fault> {
        let mut bytes = Vec::new();
        let most = COMMAND_INPUT_BYTES_MAX as u64;
        let stdin = self.stdin.get_mut().unwrap_or_else(PoisonError::into_inner);
        stdin.take(most + 1).read_to_end(&mut bytes).await?;
        if bytes.is_empty() {
            return Err(Fault::Usage(format!("give {what} on standard input: … < FILE")));
        }
        if bytes.len() as u64 > most {
            return Err(Fault::Usage(format!("{what} has at most {most} bytes; check the file")));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Fault::Usage(format!("{what} is text; this is something else")))?;
        self.given.clone_from(&text);
        Ok(text)
    }
}

/// Runs one command and returns its exit code (see [`fault`]). Never panics on what it is given.
pub async fn run(app: &App, invocation: Invocation, out: &mut dyn Output) -> i32 {
    let Invocation { caller, argv, stdin } = invocation;
    let json = argv.iter().any(|word| word == "--json");
    let answered = match answer(app, &caller, &argv, stdin, out).await {
        Ok(Reply::Written) => Ok(()),
        Ok(Reply::Bytes(bytes)) => out.out(&bytes).await.map_err(Fault::from),
        Ok(Reply::Said { json: value, .. }) if json => {
            out.out(format!("{value}\n").as_bytes()).await.map_err(Fault::from)
        }
        Ok(Reply::Said { text, .. }) => out.out(text.as_bytes()).await.map_err(Fault::from),
        Err(fault) => Err(record(app, (&caller, &argv), fault).await),
    };
    match answered {
        Ok(()) => fault::EXIT_DONE,
        Err(fault) => {
            // If the caller is gone there is nobody to tell; the exit code still says what it was.
            let told = out.err(&complaint(&fault, json)).await;
            told.map_or(fault::EXIT_FAILED, |()| fault.exit())
        }
    }
}

/// Ends the tickets that ran out, for the life of the gateway.
pub async fn sweep(app: Arc<App>) {
    loop {
        if let Err(error) = expire(&app, crate::clock::now()).await {
            tracing::warn!(%error, "tickets that ran out cannot be ended");
        }
        if let Err(error) = approvers::reset::sweep(&app, crate::clock::now()).await {
            tracing::warn!(%error, "resets of approvers cannot be told or made");
        }
        tokio::time::sleep(Duration::from_millis(TICKET_SWEEP_MILLIS)).await;
    }
}

/// A refusal becomes durable before it is spoken; if it cannot, the failure is spoken instead.
async fn record(app: &App, (caller, argv): (&Caller, &[String]), fault: Fault) -> Fault {
    if !fault.is_recorded() {
        return fault;
    }
    let tree = tree::for_role(caller.actor.kind);
    let command = match tree::locate(&tree, argv) {
        Place::Command(command) => command,
        Place::Group(_) | Place::Nowhere(_) => "unknown".into(),
    };
    let refused = change::Refused { caller, command: &command, code: fault.code(), argv };
    match change::record_refusal(&refused, &app.ledger).await {
        Ok(()) => fault,
        Err(failure) => failure,
    }
}

async fn answer(
    app: &App,
    caller: &Caller,
    argv: &[String],
    stdin: Box<dyn AsyncRead + Send + Unpin>,
    out: &mut dyn Output,
) -> Result<Reply, Fault> {
    let tree = tree::for_role(caller.actor.kind);
    let command = match tree::locate(&tree, argv) {
        Place::Command(command) => command,
        Place::Group(group) => return Ok(help(tree, &group)),
        Place::Nowhere(words) => return Err(unknown(&words)),
    };
    if argv.iter().any(|word| word == "--help" || word == "-h") {
        return Ok(help(tree, &command));
    }
    let line = tree::parse(tree.clone(), argv)?;
    change::check_standing(app.ledger.db(), caller).await?;
    let mut call = Call {
        app,
        caller,
        command,
        argv,
        json: line.json,
        stdin: Mutex::new(stdin),
        given: String::new(),
        restated: None,
        approval: None,
        out,
    };
    match line.verb {
        Verb::Help { command } => match tree::locate(&tree, &command) {
            Place::Command(path) | Place::Group(path) => Ok(help(tree, &path)),
            Place::Nowhere(words) => Err(unknown(&words)),
        },
        verb => dispatch(&mut call, verb).await.or_else(dual::answer),
    }
}

async fn dispatch(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        // Answered before, from the tree alone.
        Verb::Help { .. } => Err(unknown("help")),
        Verb::Whoami => Ok(whoami(call)),
        Verb::Ls => ls::run(call).await,
        Verb::ConnectConfig(ask) => connect::run(call, ask).await,
        Verb::Request(request) => consent::request(call, request).await,
        Verb::Status { ticket } => consent::status(call, ticket).await,
        Verb::Consent(verb) => consent::run(call, verb).await,
        Verb::Operator(verb) => operators::run(call, verb).await,
        Verb::Officer(verb) => officers::run(call, verb).await,
        Verb::Change(verb) => proposals::run(call, verb).await,
        Verb::Approver(verb) => approvers::run(call, verb).await,
        Verb::Customer(verb) => customers::run(call, verb).await,
        Verb::Service(verb) => services::run(call, verb).await,
        Verb::Vm(verb) => vms::run(call, verb).await,
        Verb::Policy(verb) => policy::run(call, verb).await,
        Verb::Ca(verb) => host::run(call, verb).await,
        Verb::Audit(verb) => audit::run(call, verb).await,
        Verb::Backup(ask) => backup::run(call, ask).await,
        Verb::Session(verb) => session::run(call, verb).await,
        Verb::Recording(verb) => recording::run(call, verb).await,
        Verb::Report(ask) => report::run(call, ask).await,
    }
}

fn help(tree: clap::Command, path: &str) -> Reply {
    let text = tree::help(tree, path);
    Reply::Said { json: serde_json::json!({ "help": text }), text }
}

fn unknown(words: &str) -> Fault {
    let words = print::shown(&words.chars().take(60).collect::<String>());
    Fault::refused(
        "unknown-command",
        format!("no such command: `{words}`; `help` lists what you may run"),
    )
}

fn whoami(call: &Call<'_>) -> Reply {
    let caller = call.caller;
    let text =
        print::pairs(&[("name", print::shown(&caller.handle)), ("id", caller.actor.id.clone())]);
    let json = serde_json::json!({
        "handle": caller.handle,
        "id": caller.actor.id,
        "kind": caller.actor.kind,
        "customer": caller.customer,
        "session": caller.session,
    });
    Reply::Said { text, json }
}

fn complaint(fault: &Fault, json: bool) -> Vec<u8> {
    let said = fault.to_string();
    let said = said.trim_end();
    if json {
        let sentence = print::shown_lines(said.strip_prefix("error: ").unwrap_or(said));
        let value = serde_json::json!({ "error": sentence, "code": fault.code() });
        return format!("{value}\n").into_bytes();
    }
    let sentence = print::shown_lines(said);
    let prefix = if sentence.starts_with("error:") { "" } else { "bastion: " };
    format!("{prefix}{sentence}\n").into_bytes()
}

#[cfg(test)]
mod tests;
