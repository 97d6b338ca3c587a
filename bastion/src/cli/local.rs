//! The reading commands on the gateway's own machine: `audit`, `session`, `report`.
//!
//! A running gateway answers them over its socket, because the store is its own while it runs.
//! Without one the store is opened here, under the same lock, and the same engine answers; either
//! way the entry that says who read what is durable before the first byte of the answer.

use super::Fault;
use crate::{
    api::{
        self, Invocation, Output,
        frame::{self, Frame},
        socket::local_caller,
    },
    app::App,
    config::Config,
};
use futures_util::future::BoxFuture;
use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio::net::UnixStream;

/// Where a local command's answer goes.
pub struct LocalOutput {
    files_to: Option<PathBuf>,
    open: Option<fs::File>,
    answer_to: Option<fs::File>,
}

impl LocalOutput {
    /// To standard output; files of a report go into a folder, if one is named.
    pub fn to_stdout(files_to: Option<PathBuf>) -> Self {
        Self { files_to, open: None, answer_to: None }
    }
    /// The answer goes into a file that is open already: a recording to be replayed.
    pub fn to_file(file: fs::File) -> Self {
        Self { answer_to: Some(file), ..Self::to_stdout(None) }
    }

    fn begin_file(&mut self, name: &str) -> io::Result<()> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file's name"));
        }
        let dir = self.files_to.as_deref().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        self.open = Some(fs::File::create(dir.join(name))?);
        Ok(())
    }
    fn file_piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.open {
            Some(file) => file.write_all(bytes),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "a piece of no file")),
        }
    }
    fn answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(file) = &mut self.answer_to {
            return file.write_all(bytes);
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }
}

impl Output for LocalOutput {
    fn out<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(self.answer(bytes)))
    }
    fn err<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(io::stderr().write_all(bytes)))
    }
    fn file<'a>(&'a mut self, name: &'a str, bytes: Vec<u8>) -> BoxFuture<'a, io::Result<()>> {
        let written = self.begin_file(name).and_then(|()| self.file_piece(&bytes));
        Box::pin(std::future::ready(written))
    }
    fn wants_files(&self) -> bool {
        self.files_to.is_some()
    }
}

/// Runs a reading command and returns its exit code.
pub async fn run(
    config: &Config,
    argv: Vec<String>,
    out: &mut LocalOutput,
) -> Result<ExitCode, Fault> {
    match UnixStream::connect(&config.socket).await {
        Ok(stream) => ask(stream, argv, out).await,
        Err(cause)
            if matches!(
                cause.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            let app = App::open(config.clone()).await.map_err(Fault::failed)?;
            let uid = nix::unistd::getuid().as_raw();
            let invocation =
                Invocation { caller: local_caller(uid), argv, stdin: Box::new(tokio::io::empty()) };
            let code = api::run(&app, invocation, out).await;
            let db = app.ledger.db().clone();
            drop(app);
            db.close().await;
            Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
        }
        Err(cause) => {
            let socket = config.socket.display();
            Err(Fault::failed(format!(
                "cannot reach the gateway at {socket}: {cause}; run this as root or as the \
                 gateway's own user"
            )))
        }
    }
}

/// Asks a running gateway.
async fn ask(
    stream: UnixStream,
    argv: Vec<String>,
    out: &mut LocalOutput,
) -> Result<ExitCode, Fault> {
    // The writing half stays open to the end: closing it would end the command.
    let (mut from, mut to) = stream.into_split();
    frame::write(&mut to, &Frame::Words(argv)).await.map_err(broken_off)?;
    frame::write(&mut to, &Frame::InputEnd).await.map_err(broken_off)?;
    loop {
        let written = match frame::read(&mut from).await.map_err(broken_off)? {
            Some(Frame::Out(bytes)) => out.answer(&bytes),
            Some(Frame::Err(bytes)) => io::stderr().write_all(&bytes),
            Some(Frame::FileName(name)) => out.begin_file(&name),
            Some(Frame::FilePiece(bytes)) => out.file_piece(&bytes),
            Some(Frame::Exit(code)) => return Ok(ExitCode::from(code)),
            Some(_) => return Err(broken_off(io::ErrorKind::InvalidData.into())),
            None => return Err(broken_off(io::ErrorKind::UnexpectedEof.into())),
        };
        written.map_err(unwritten)?;
    }
}

/// The gateway's end of the socket failed: whatever it did, its answer is not whole.
fn broken_off(cause: io::Error) -> Fault {
    Fault::failed(format!(
        "the gateway's answer broke off ({cause}); see its own log, then try again"
    ))
}

/// Our own end failed: the answer cannot be passed on.
fn unwritten(cause: io::Error) -> Fault {
    match cause.kind() {
        // The reader of our output has seen enough: `bastion audit query | head`.
        io::ErrorKind::BrokenPipe => Fault { exit: 0, sentence: String::new() },
        _ => Fault::failed(format!("the answer cannot be written: {cause}")),
    }
}
