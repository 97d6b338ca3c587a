//! Policies (c2sp.org/tlog-policy): whose signatures make a checkpoint believable.
//!
//! ```text
//! log bastion.example/log+f2f45ecf+AdcZPA…=
//! witness w1 witness.example/w1+8d66cf3c+BNdaIB…= https://witness.example
//! witness w2 auditor.example/w+1b2c3d4e+BEk3c1…=
//! group both all w1 w2
//! quorum both
//! ```
//!
//! A checkpoint is believed when one of the logs signed it and the quorum cosigned it. A line that
//! a reader could take for another is refused; so is a name that is used before it is defined, or
//! twice as a member, so that no witness counts double. A key that this build cannot verify
//! (ML-DSA-44) may be listed, and counts as one that has not signed.

use crate::{
    checkpoint::{self, BadNote, Checkpoint, Vkey},
    cosignature::{self, WitnessKey},
    note::Note,
    vkey::BadVkey,
};
use std::collections::{HashMap, HashSet};

/// The longest policy file in bytes.
pub const POLICY_BYTES_MAX: usize = 262_144;
/// The most logs, the most witnesses and the most groups; C2SP asks for at least 32 of each.
pub const LINES_MAX: usize = 256;

/// A policy, as read from its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    /// `None`: no cosignature is asked for.
    quorum: Option<Member>,
}

/// A log that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its key; the name is the log's origin.
    pub key: Vkey,
    /// How to reach it, if anybody said so.
    pub url: Option<String>,
}

/// A witness that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What this file calls it, which means nothing outside.
    pub name: String,
    /// Its key.
    pub key: WitnessKey,
    /// How to reach it, if anybody said so: the submission prefix of the witness protocol.
    pub url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// Why a file is no policy: the line, counted from 1, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct BadPolicy {
    /// The line.
    pub line: usize,
    /// What is wrong.
    pub fault: PolicyFault,
}

/// What is wrong with a line of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// Not UTF-8, or a control character other than tab and newline.
    #[error("a byte that no policy has: only tab, newline and text may stand in it")]
    Byte,
    /// The last line has no newline.
    #[error("it has no newline at its end: the file was cut off within the line")]
    NoNewline,
    /// Not one of the four kinds of line, or too few or too many words.
    #[error("not `log KEY [URL]`, `witness NAME KEY [URL]`, `group NAME K NAME...`, `quorum NAME`")]
    Line,
    /// A key that is none, or of another type.
    #[error("{0}")]
    Key(#[from] BadVkey),
    /// The same public key stands twice.
    #[error("this public key is listed already")]
    DuplicateKey,
    /// A name that is defined already, or is `none`.
    #[error("this name is defined already, or is the reserved `none`")]
    DuplicateName,
    /// A name that is not defined above.
    #[error("it names a witness or group that is not defined above it")]
    Unknown,
    /// A member that is one already.
    #[error("it names a witness or group that is a member of a group already")]
    Taken,
    /// A threshold that is none, or is not between 1 and the number of members.
    #[error("the threshold is `any`, `all`, or a number from 1 to that of the members")]
    Threshold,
    /// A second quorum line.
    #[error("there is a quorum line already")]
    SecondQuorum,
    /// No quorum line at all.
    #[error("there is no quorum line: add `quorum NAME`, or `quorum none`")]
    NoQuorum,
    /// Beyond what is read.
    #[error("more than 256 logs, witnesses or groups, or more than 256 KiB")]
    Long,
}

/// Why a checkpoint is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwitnessed {
    /// The checkpoint, or a signature of a key that the policy lists, does not hold.
    #[error("the checkpoint does not hold: {0}")]
    Checkpoint(#[from] BadNote),
    /// A line with a listed witness's name and key id is wrong.
    #[error("the cosignature of `{witness}` is wrong: the checkpoint was changed, or the line was")]
    Cosignature {
        /// The name of the key.
        witness: String,
    },
    /// The policy does not list the log's key.
    #[error("the policy does not list the key of this log")]
    Log,
    /// Too few witnesses cosigned, or too long ago.
    #[error("{found} of {known} witnesses cosigned it in time, which is no quorum")]
    Quorum {
        /// How many cosigned.
        found: usize,
        /// How many the policy lists.
        known: usize,
    },
}

/// A checkpoint that a policy believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The witnesses of the policy that cosigned, by the names of their keys, and when, in seconds
    /// since 1970. Empty says: unwitnessed.
    pub cosigned: Vec<(String, u64)>,
}

impl Policy {
    /// The policy of a file.
    pub fn parse(file: &[u8]) -> Result<Self, BadPolicy> {
        Reader::default().read(file)
    }

    /// The logs.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The witnesses, whether or not the quorum asks for them.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether a checkpoint needs a cosignature at all.
    pub fn asks_for_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Check a signed note: one of the policy's logs signed it, or with `pinned` that key and no
    /// other (which the policy must list, if it lists any), and the quorum cosigned it.
    pub fn check(&self, note: &str, pinned: Option<&Vkey>) -> Result<Witnessed, Unwitnessed> {
        self.check_since(note, pinned, 0)
    }

    /// The same, where a cosignature counts only if it was made at `seconds` or later.
    pub fn check_since(
        &self,
        note: &str,
        pinned: Option<&Vkey>,
        seconds: u64,
    ) -> Result<Witnessed, Unwitnessed> {
        let checkpoint = self.check_log(note, pinned)?;
        let parsed = Note::parse(note)?;
        let (mut held, mut cosigned) = (Vec::new(), Vec::new());
        for witness in &self.witnesses {
            let when = match cosignature::check(&parsed, &witness.key) {
                Ok(when) => when.filter(|when| *when >= seconds),
                // It may have signed, but nobody here can tell: it has not.
                Err(BadNote::Algorithm) => None,
                Err(_) => {
                    let witness = witness.key.name().to_owned();
                    return Err(Unwitnessed::Cosignature { witness });
                }
            };
            held.push(when.is_some());
            cosigned.extend(when.map(|when| (witness.key.name().to_owned(), when)));
        }
        if !self.is_quorum(&held) {
            let (found, known) = (cosigned.len(), self.witnesses.len());
            return Err(Unwitnessed::Quorum { found, known });
        }
        Ok(Witnessed { checkpoint, cosigned })
    }

    fn check_log(&self, note: &str, pinned: Option<&Vkey>) -> Result<Checkpoint, Unwitnessed> {
        if let Some(vkey) = pinned {
            if !self.logs.is_empty() && !self.logs.iter().any(|log| log.key == *vkey) {
                return Err(Unwitnessed::Log);
            }
            return Ok(checkpoint::verify(note, vkey)?);
        }
        let mut found = None;
        for log in &self.logs {
            match checkpoint::verify(note, &log.key) {
                Ok(checkpoint) => found = Some(checkpoint),
                // Another log's note, though this key may have signed it.
                Err(BadNote::Unsigned | BadNote::Origin) => {}
                // A known key's signature that does not hold spoils the note.
                Err(bad) => return Err(bad.into()),
            }
        }
        found.ok_or(Unwitnessed::Log)
    }

    /// Whether these of the witnesses are a quorum. Groups stand in the order in which they are
    /// defined, so each one's members are settled before it.
    fn is_quorum(&self, witnesses: &[bool]) -> bool {
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let held = group.members.iter().filter(|member| holds(member, witnesses, &groups));
            groups.push(held.count() >= group.threshold);
        }
        self.quorum.is_none_or(|member| holds(&member, witnesses, &groups))
    }
}

fn holds(member: &Member, witnesses: &[bool], groups: &[bool]) -> bool {
    let (held, of) = match member {
        Member::Witness(at) => (witnesses, at),
        Member::Group(at) => (groups, at),
    };
    held.get(*of).copied().unwrap_or(false)
}

/// A policy, while it is read.
#[derive(Default)]
struct Reader<'a> {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    names: HashMap<&'a str, Member>,
    taken: HashSet<&'a str>,
    keys: HashSet<Vec<u8>>,
    quorum: Option<Option<Member>>,
}

impl<'a> Reader<'a> {
    fn read(mut self, file: &'a [u8]) -> Result<Policy, BadPolicy> {
        let whole = |fault| BadPolicy { line: 1, fault };
        if file.len() > POLICY_BYTES_MAX {
            return Err(whole(PolicyFault::Long));
        }
        let mut count = 0;
        for line in file.split_inclusive(|byte| *byte == b'\n') {
            count += 1;
            self.line(line).map_err(|fault| BadPolicy { line: count, fault })?;
        }
        let quorum = self.quorum.ok_or(BadPolicy { line: count, fault: PolicyFault::NoQuorum })?;
        let Self { logs, witnesses, groups, .. } = self;
        Ok(Policy { logs, witnesses, groups, quorum })
    }

    fn line(&mut self, line: &'a [u8]) -> Result<(), PolicyFault> {
        let line = line.strip_suffix(b"\n").ok_or(PolicyFault::NoNewline)?;
        let line = std::str::from_utf8(line).map_err(|_| PolicyFault::Byte)?;
        if line.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
            return Err(PolicyFault::Byte);
        }
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words[..] {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key] => self.log(key, None),
            ["log", key, url] => self.log(key, Some(url)),
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some(url)),
            ["group", name, threshold, ref members @ ..] if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            ["quorum", name] => self.quorum(name),
            _ => Err(PolicyFault::Line),
        }
    }

    fn log(&mut self, key: &str, url: Option<&str>) -> Result<(), PolicyFault> {
        let key: Vkey = key.parse()?;
        if self.logs.len() == LINES_MAX {
            return Err(PolicyFault::Long);
        }
        if self.logs.iter().any(|log| log.key.key() == key.key()) {
            return Err(PolicyFault::DuplicateKey);
        }
        self.logs.push(Log { key, url: url.map(str::to_owned) });
        Ok(())
    }

    fn witness(&mut self, name: &'a str, key: &str, url: Option<&str>) -> Result<(), PolicyFault> {
        let key: WitnessKey = key.parse()?;
        if self.witnesses.len() == LINES_MAX {
            return Err(PolicyFault::Long);
        }
        if !self.keys.insert(key.material().to_vec()) {
            return Err(PolicyFault::DuplicateKey);
        }
        self.define(name, Member::Witness(self.witnesses.len()))?;
        let (name, url) = (name.to_owned(), url.map(str::to_owned));
        self.witnesses.push(Witness { name, key, url });
        Ok(())
    }

    fn group(
        &mut self,
        name: &'a str,
        threshold: &str,
        members: &[&'a str],
    ) -> Result<(), PolicyFault> {
        if self.groups.len() == LINES_MAX {
            return Err(PolicyFault::Long);
        }
        let mut known = Vec::with_capacity(members.len());
        for member in members {
            known.push(*self.names.get(member).ok_or(PolicyFault::Unknown)?);
            if !self.taken.insert(member) {
                return Err(PolicyFault::Taken);
            }
        }
        let threshold = match threshold {
            "any" => 1,
            "all" => known.len(),
            number => parse_threshold(number, known.len()).ok_or(PolicyFault::Threshold)?,
        };
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { threshold, members: known });
        Ok(())
    }

    fn quorum(&mut self, name: &str) -> Result<(), PolicyFault> {
        if self.quorum.is_some() {
            return Err(PolicyFault::SecondQuorum);
        }
        let member = match name {
            "none" => None,
            name => Some(*self.names.get(name).ok_or(PolicyFault::Unknown)?),
        };
        self.quorum = Some(member);
        Ok(())
    }

    fn define(&mut self, name: &'a str, member: Member) -> Result<(), PolicyFault> {
        if name == "none" || self.names.insert(name, member).is_some() {
            return Err(PolicyFault::DuplicateName);
        }
        Ok(())
    }
}

/// In decimal, without leading zeros or a sign, from 1 to the number of members.
fn parse_threshold(number: &str, members: usize) -> Option<usize> {
    let threshold: usize = number.parse().ok()?;
    (threshold.to_string() == number && (1..=members).contains(&threshold)).then_some(threshold)
}
