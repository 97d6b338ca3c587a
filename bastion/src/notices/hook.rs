//! A program of the deployment that is given each notice on its standard input.
//!
//! An officer only picks one by its name: the programs themselves are put into the `hooks` folder
//! by whoever owns the gateway's machine, so a command over SSH never chooses what runs there.

use bastion_core::limits::NOTICE_SECONDS_MAX;
use std::{path::Path, process::Stdio, str::FromStr, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command};

/// The name of a program in the `hooks` folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookName(String);

impl HookName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HookName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=63).contains(&text.len()) && text.bytes().all(good) && !text.starts_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err("name a program in the gateway's `hooks` folder: a-z, 0-9 and '-'")
        }
    }
}

/// Runs the hook with the notice on its standard input; it has to end well, and in time.
pub async fn run(folder: &Path, name: &HookName, body: &[u8]) -> Result<(), String> {
    let within = Duration::from_secs(NOTICE_SECONDS_MAX);
    match tokio::time::timeout(within, feed(folder, name, body)).await {
        Ok(result) => result,
        // The child is killed when it is dropped.
        Err(_) => Err(format!("hook `{}` ran longer than {NOTICE_SECONDS_MAX} s", name.as_str())),
    }
}

async fn feed(folder: &Path, name: &HookName, body: &[u8]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("hook `{}`: {error}", name.as_str());
    let mut child = Command::new(folder.join(name.as_str()))
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // A hook that does not read is judged by its exit status alone.
        match input.write_all(body).await {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(failed(error));
            }
            _ => {}
        }
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() { Ok(()) } else { Err(format!("hook `{}`: {status}", name.as_str())) }
}
