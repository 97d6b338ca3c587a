//! A rule on the direction of files, kept: requests that it does not permit never reach the VM.
//!
//! Each request is read whole before any byte of it is passed on. One that the rule refuses is
//! answered here, with sftp's "permission denied" and a sentence that names the policy, and the
//! answer is put between the VM's own answers where the VM's would have stood: after those of all
//! earlier requests. A request that cannot be read, or that nobody knows, is no reason to guess:
//! the unknown is refused, and what cannot be framed ends the channel, since whatever follows might
//! be anything.
//!
//! ```text
//! operator ── OPEN 7 (write) ──▶ Filter ╳            VM
//! operator ◀─ STATUS 7 denied ── Filter ◀─ DATA 6 ── VM
//! ```

use super::{
    framer::{Framer, Part, Side},
    observer::text,
    packet::{
        Ask, FLAG_APPEND, FLAG_CREATE, FLAG_EXCLUSIVE, FLAG_READ, FLAG_TRUNCATE, FLAG_WRITE,
        denied, request,
    },
};
use bastion_core::{
    file_rule::{FileRule, Ways},
    limits::{SFTP_MESSAGE_BYTES_MAX, SFTP_REFUSALS_MAX, SFTP_REQUESTS_MAX},
};
use std::collections::VecDeque;

/// A request that never reached the VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `upload`, `download`, `rename`, `remove` …; `unknown` for what we do not know.
    pub operation: &'static str,
    /// What it was about; a handle's is not told twice.
    pub path: String,
    /// The other path, where there is one.
    pub target: Option<String>,
}

/// Why a channel under a rule ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Lost {
    /// One side's packets cannot be told apart.
    Framing,
    /// An operator who goes on after so many refusals.
    Refusals,
}

impl Lost {
    /// For the operator.
    pub(in crate::relay) fn sentence(self, rule: &FileRule) -> String {
        let by = rule.policies.join(", ");
        match self {
            Self::Framing => {
                format!("policy {by} says which way files may go, and this is no sftp of version 3")
            }
            Self::Refusals => format!(
                "policy {by} refused {SFTP_REFUSALS_MAX} requests: ask for what you need, or go on \
                 with what is permitted"
            ),
        }
    }
}

/// Keeps one rule on one sftp session.
pub(in crate::relay) struct Filter {
    rule: FileRule,
    up: Framer,
    gate: Gate,
    down: Edges,
    /// Requests that the VM was given, and answers that it gave.
    asked: u64,
    answered: u64,
    refusals: usize,
    /// Our own answers: due when the VM has answered so many.
    ours: VecDeque<(u64, Vec<u8>)>,
}

/// Where the request at hand goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    Passing,
    Refusing,
}

impl Filter {
    pub(in crate::relay) fn new(rule: FileRule) -> Self {
        Self {
            rule,
            up: Framer::of(Side::Operator),
            gate: Gate::Refusing,
            down: Edges::default(),
            asked: 0,
            answered: 0,
            refusals: 0,
            ours: VecDeque::new(),
        }
    }

    pub(in crate::relay) fn rule(&self) -> &FileRule {
        &self.rule
    }

    /// Bytes from the operator: what of them may go to the VM, and what was refused.
    pub(in crate::relay) fn operator_sent(
        &mut self,
        data: &[u8],
    ) -> Result<(Vec<u8>, Vec<Refused>), Lost> {
        let mut passed = Vec::with_capacity(data.len());
        let (mut found, mut lost) = (Vec::new(), None);
        let mut up = std::mem::replace(&mut self.up, Framer::of(Side::Operator));
        up.feed(data, &mut |part| {
            if lost.is_none() {
                lost = self.part(part, (&mut passed, &mut found)).err();
            }
        });
        self.up = up;
        lost.map_or(Ok((passed, found)), Err)
    }

    fn part(
        &mut self,
        part: Part<'_>,
        (passed, found): (&mut Vec<u8>, &mut Vec<Refused>),
    ) -> Result<(), Lost> {
        match part {
            Part::Head(length, head) => {
                let (id, ask) = request(length, head).ok_or(Lost::Framing)?;
                let bytes = u32::try_from(length).map_err(|_| Lost::Framing)?;
                if length > SFTP_MESSAGE_BYTES_MAX {
                    return Err(Lost::Framing);
                }
                if let Some(refused) = refusal(self.rule.ways, &ask) {
                    self.gate = Gate::Refusing;
                    self.refuse(id, &refused)?;
                    found.push(refused);
                } else {
                    self.gate = Gate::Passing;
                    self.asked += 1;
                    passed.extend_from_slice(&bytes.to_be_bytes());
                    passed.extend_from_slice(head);
                }
            }
            Part::Body(data) if self.gate == Gate::Passing => passed.extend_from_slice(data),
            Part::Body(_) | Part::End => {}
            Part::Skipped => return Err(Lost::Framing),
        }
        Ok(())
    }

    fn refuse(&mut self, id: u32, refused: &Refused) -> Result<(), Lost> {
        self.refusals += 1;
        if self.refusals > SFTP_REFUSALS_MAX || self.ours.len() >= SFTP_REQUESTS_MAX {
            return Err(Lost::Refusals);
        }
        let sentence = self.rule.sentence(refused.operation);
        self.ours.push_back((self.asked, denied(id, &sentence)));
        Ok(())
    }

    /// Bytes from the VM, with ours between its answers.
    pub(in crate::relay) fn vm_sent(&mut self, mut data: &[u8]) -> Result<Vec<u8>, Lost> {
        let mut out = self.due();
        while !data.is_empty() {
            let (taken, is_whole) = self.down.take(data)?;
            out.extend_from_slice(&data[..taken]);
            data = &data[taken..];
            if is_whole {
                self.answered += 1;
                out.extend(self.due());
            }
        }
        Ok(out)
    }

    /// Our answers whose turn it is, unless the VM is in the middle of one.
    pub(in crate::relay) fn due(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.down.is_between()
            && let Some((_, answer)) = self.ours.pop_front_if(|(after, _)| *after <= self.answered)
        {
            out.extend(answer);
        }
        out
    }
}

/// What a rule has against a request; nothing if it may pass.
fn refusal(ways: Ways, ask: &Ask<'_>) -> Option<Refused> {
    let refused = |operation, path: &[u8], target: Option<&[u8]>| {
        Some(Refused { operation, path: text(path), target: target.map(text) })
    };
    let nameless = |operation| refused(operation, b"", None);
    match ask {
        Ask::Init | Ask::Look | Ask::Close(_) | Ask::Stat(_) | Ask::Fstat(_) => None,
        Ask::Open { path, flags } => match opening(ways, *flags) {
            Some(operation) => refused(operation, path, None),
            None => None,
        },
        Ask::Read { .. } if ways.may_read() => None,
        Ask::Read { .. } => nameless("download"),
        Ask::Write { .. } | Ask::Fsync(_) | Ask::Fsetstat { .. } | Ask::Change { .. }
            if ways.may_write() =>
        {
            None
        }
        Ask::Write { .. } | Ask::Fsync(_) => nameless("upload"),
        Ask::Fsetstat { .. } => nameless("setstat"),
        Ask::Change { operation, path, target } => refused(operation, path, *target),
        // It reads and writes at once, and no rule permits both.
        Ask::Copy { .. } => nameless("copy"),
        Ask::Unknown(name) => refused("unknown", name, None),
    }
}

/// What an `OPEN` with these flags is, if it is refused. OpenSSH opens for reading whatever does
/// not say "write", and makes and empties files for readers too; so only plain reading is a
/// download, and only writing without reading an upload.
fn opening(ways: Ways, flags: u32) -> Option<&'static str> {
    let writing = FLAG_WRITE | FLAG_APPEND | FLAG_CREATE | FLAG_TRUNCATE | FLAG_EXCLUSIVE;
    let is_download = flags & !FLAG_READ == 0;
    let is_upload = flags & FLAG_WRITE != 0 && flags & !writing == 0;
    let may = (is_download && ways.may_read()) || (is_upload && ways.may_write());
    match (may, flags & FLAG_READ != 0 || flags & FLAG_WRITE == 0) {
        (true, _) => None,
        (false, true) if !ways.may_read() => Some("download"),
        (false, _) => Some("upload"),
    }
}

/// The edges of the VM's packets.
#[derive(Default)]
struct Edges {
    length: [u8; 4],
    held: usize,
    left: usize,
}

impl Edges {
    fn is_between(&self) -> bool {
        self.held == 0
    }

    /// How many of these bytes belong to the packet at hand, and whether it ends with them.
    fn take(&mut self, data: &[u8]) -> Result<(usize, bool), Lost> {
        if self.held < 4 {
            let taken = data.len().min(4 - self.held);
            self.length[self.held..self.held + taken].copy_from_slice(&data[..taken]);
            self.held += taken;
            if self.held == 4 {
                let length = usize::try_from(u32::from_be_bytes(self.length));
                let fits = |length: &usize| (1..=SFTP_MESSAGE_BYTES_MAX).contains(length);
                self.left = length.ok().filter(fits).ok_or(Lost::Framing)?;
            }
            return Ok((taken, false));
        }
        let taken = data.len().min(self.left);
        self.left -= taken;
        if self.left == 0 {
            self.held = 0;
        }
        Ok((taken, self.left == 0))
    }
}
