//! The signer's process, and another in its place where it has ended.
//!
//! A question to a process that is gone fails, and is not asked again: it may have been answered.
//! The next question starts another process, which reads from the state file what the one before
//! signed last, so that no size gets two roots. It must have the same keys. One that keeps ending
//! is started ever more slowly, and after some times not at all; until it has run for a minute
//! there is an alarm.

use super::{
    SignerError, exchange,
    message::{Answer, Hello, Request},
    process,
};
use crate::{
    config::Config,
    metrics::{Alarm, METRICS},
};
use bastion_core::limits::{SIGNER_PAUSE_SECONDS_MAX, SIGNER_RESTARTS_MAX, SIGNER_STEADY_SECONDS};
use std::{
    process::Child,
    time::{Duration, Instant},
};
use tokio::net::UnixStream;

/// A process that signs, or what is left of one.
pub(super) struct Kept {
    config: Box<Config>,
    /// The user CA's public key and the log's, as the first one said them.
    keys: Option<(String, String)>,
    /// None after it failed once.
    running: Option<(UnixStream, Child)>,
    started: Instant,
    /// In a row, without a steady minute between.
    restarts: u32,
}

impl Kept {
    /// Starts the first one.
    pub async fn start(config: &Config) -> Result<(Self, Box<Hello>), SignerError> {
        let mut kept = Self {
            config: Box::new(config.clone()),
            keys: None,
            running: None,
            started: Instant::now(),
            restarts: 0,
        };
        let hello = kept.begin().await?;
        kept.keys = Some(keys_of(&hello));
        Ok((kept, hello))
    }

    /// Asks it; where it had ended, starts another first, which must have the same keys. Not to be
    /// cut off: an answer that is still due would be the next one's, and so the process would be
    /// given up.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, SignerError> {
        let asked = self.ask_once(request).await;
        if asked.is_ok() && self.started.elapsed() > Duration::from_secs(SIGNER_STEADY_SECONDS) {
            self.restarts = 0;
        }
        METRICS.alarm(Alarm::Signer, self.restarts > 0 || self.running.is_none());
        asked
    }

    async fn ask_once(&mut self, request: &Request) -> Result<Answer, SignerError> {
        if self.running.is_none() {
            self.wait_its_turn()?;
            self.restarts += 1;
            let hello = self.begin().await?;
            if self.keys != Some(keys_of(&hello)) {
                self.end().await;
                return Err(SignerError::Gone("another one has other keys".into()));
            }
            tracing::warn!(restarts = self.restarts, "the signer had ended, and was started anew");
        }
        // Put back after a whole answer. Its socket closes where we are cut off all the same.
        let Some((mut stream, child)) = self.running.take() else {
            return Err(SignerError::Gone("it ended".into()));
        };
        let answer = exchange(&mut stream, request).await;
        self.running = Some((stream, child));
        if let Err(why) = &answer {
            tracing::error!(%why, "the signer does not answer");
            self.end().await;
        }
        answer
    }

    /// Refuses where one was started just now.
    fn wait_its_turn(&self) -> Result<(), SignerError> {
        if self.restarts >= SIGNER_RESTARTS_MAX {
            let often = format!(
                "it ended {SIGNER_RESTARTS_MAX} times in a row: see the gateway's own log and \
                 `bastion doctor`, then restart the gateway"
            );
            return Err(SignerError::Gone(often));
        }
        let pause = Duration::from_secs((1 << self.restarts).min(SIGNER_PAUSE_SECONDS_MAX));
        match pause.checked_sub(self.started.elapsed()) {
            None => Ok(()),
            Some(left) => {
                let seconds = left.as_secs() + 1;
                let soon = format!("it ended; another one is started in {seconds} s");
                Err(SignerError::Gone(soon))
            }
        }
    }

    async fn begin(&mut self) -> Result<Box<Hello>, SignerError> {
        self.started = Instant::now();
        let process = process::spawn(&self.config);
        let (mut stream, child) = process.map_err(|why| SignerError::Start(why.to_string()))?;
        let answer = exchange(&mut stream, &Request::Hello).await;
        self.running = Some((stream, child));
        match answer {
            Ok(Answer::Hello(hello)) => Ok(hello),
            Ok(_) => {
                self.end().await;
                Err(SignerError::Start("it does not say who it is".into()))
            }
            Err(why) => {
                self.end().await;
                Err(why)
            }
        }
    }

    /// Nothing of it is left: two at once would write one state file.
    async fn end(&mut self) {
        let Some((stream, mut child)) = self.running.take() else { return };
        drop(stream);
        let ended = tokio::task::spawn_blocking(move || {
            child.kill()?;
            child.wait()
        });
        match ended.await {
            Ok(Ok(status)) => tracing::error!(%status, "the signer has ended"),
            Ok(Err(error)) => tracing::error!(%error, "the signer cannot be ended"),
            Err(_) => tracing::error!("nobody waited for the signer's end"),
        }
    }
}

fn keys_of(hello: &Hello) -> (String, String) {
    (hello.user_ca.clone(), hello.vkey.clone())
}
