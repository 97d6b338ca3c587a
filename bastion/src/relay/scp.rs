//! What the old scp protocol did (`scp -O`, and every scp before OpenSSH 9), for the log.
//!
//! One side sends lines and files, the other answers each with a zero byte, or with 1 or 2 and a
//! sentence. `scp -t` on the VM takes files, `scp -f` gives them. A file is complete when all its
//! bytes, the sender's final zero and the receiver's "ok" have passed. As with sftp, nothing here
//! waits, fails, or remembers more than its bounds; an exec channel's recording holds the bytes
//! anyway.

use super::{closing::Evidence, sftp::Transfer};
use audit_schema::{event::Direction, hash::Hash};
use aws_lc_rs::digest::{Context, SHA256};
use bastion_core::limits::{SCP_DEPTH_MAX, SCP_LINE_BYTES_MAX, SFTP_PATH_BYTES_MAX};

/// Follows one scp.
pub(super) struct Observer {
    direction: Direction,
    target: String,
    /// The target is a folder for certain.
    into_folder: bool,
    folders: Vec<String>,
    state: Expect,
    /// How many answers are still to come before the one that matters.
    answer: Answer,
}

/// What the sender's stream holds next.
enum Expect {
    /// A line: so far.
    Line(Vec<u8>),
    /// The bytes of a file.
    Bytes { file: File, left: u64 },
    /// The sender's own verdict on them.
    Verdict(File),
    /// The receiver's, which comes from the other side.
    Answer { file: File, sent_whole: bool },
    /// Not scp, or beyond the bounds: nothing more is said.
    Lost,
}

/// Where in the receiver's stream we are.
enum Answer {
    Byte,
    /// The sentence after a 1 or 2.
    Sentence,
}

struct File {
    path: String,
    bytes: u64,
    sha: Context,
}

impl Observer {
    /// For an exec command that is one end of an scp.
    pub(super) fn of(command: &[u8]) -> Option<Self> {
        let command = String::from_utf8_lossy(command);
        let mut rest = command.trim_start();
        let (program, after) = rest.split_once(' ')?;
        if program.rsplit('/').next() != Some("scp") {
            return None;
        }
        rest = after.trim_start();
        let mut flags = String::new();
        while let Some(option) = rest.strip_prefix('-') {
            let (option, after) = option.split_once(' ')?;
            rest = after.trim_start();
            if option == "-" {
                break;
            }
            flags.push_str(option);
        }
        let direction = match (flags.contains('t'), flags.contains('f')) {
            (true, false) => Direction::Upload,
            (false, true) => Direction::Download,
            _ => return None,
        };
        Some(Self {
            direction,
            target: rest.trim_matches('\'').chars().take(SFTP_PATH_BYTES_MAX / 4).collect(),
            into_folder: flags.contains('d') || flags.contains('r'),
            folders: Vec::new(),
            state: Expect::Line(Vec::new()),
            answer: Answer::Byte,
        })
    }

    /// Bytes from the operator.
    pub(super) fn operator_sent(&mut self, data: &[u8]) -> Vec<Evidence> {
        match self.direction {
            Direction::Upload => self.sender(data),
            Direction::Download => self.receiver(data),
        }
    }

    /// Bytes from the VM.
    pub(super) fn vm_sent(&mut self, data: &[u8]) -> Vec<Evidence> {
        match self.direction {
            Direction::Upload => self.receiver(data),
            Direction::Download => self.sender(data),
        }
    }

    /// The channel is over: a file that was under way.
    pub(super) fn finish(&mut self) -> Vec<Evidence> {
        match std::mem::replace(&mut self.state, Expect::Lost) {
            Expect::Bytes { file, .. } | Expect::Verdict(file) | Expect::Answer { file, .. } => {
                vec![self.transfer(file, false, 0)]
            }
            Expect::Line(_) | Expect::Lost => Vec::new(),
        }
    }

    fn sender(&mut self, mut data: &[u8]) -> Vec<Evidence> {
        let mut found = Vec::new();
        while let Some((first, after)) = data.split_first() {
            data = match std::mem::replace(&mut self.state, Expect::Lost) {
                Expect::Line(mut line) => {
                    if *first == b'\n' {
                        self.state = self.line(&line);
                    } else if line.len() < SCP_LINE_BYTES_MAX {
                        line.push(*first);
                        self.state = Expect::Line(line);
                    }
                    after
                }
                Expect::Bytes { mut file, left } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                    let (bytes, rest) = data.split_at(here);
                    file.sha.update(bytes);
                    file.bytes += bytes.len() as u64;
                    self.state = after_bytes(file, left - bytes.len() as u64);
                    rest
                }
                Expect::Verdict(file) => {
                    self.state = Expect::Answer { file, sent_whole: *first == 0 };
                    // A sender that failed adds a sentence; the receiver answers all the same.
                    if *first == 0 { after } else { &[] }
                }
                // A sender that does not wait for the answer: say what is known, and go on.
                Expect::Answer { file, .. } => {
                    found.push(self.transfer(file, false, 0));
                    self.state = Expect::Line(Vec::new());
                    data
                }
                Expect::Lost => return found,
            };
        }
        found
    }

    fn line(&mut self, line: &[u8]) -> Expect {
        let text = String::from_utf8_lossy(line);
        let mut words = text.get(1..).unwrap_or_default().splitn(3, ' ');
        let (_mode, size, name) = (words.next(), words.next(), words.next());
        match (line.first(), size.and_then(|size| size.parse().ok()), name) {
            (Some(b'C'), Some(left), Some(name)) => {
                let file = File { path: self.path(name), bytes: 0, sha: Context::new(&SHA256) };
                after_bytes(file, left)
            }
            (Some(b'D'), _, Some(name)) if self.folders.len() < SCP_DEPTH_MAX => {
                self.folders.push(name.to_owned());
                Expect::Line(Vec::new())
            }
            (Some(b'E'), ..) => {
                self.folders.pop();
                Expect::Line(Vec::new())
            }
            // Times, and a sender's complaints about files that it does not send.
            (Some(b'T' | 1 | 2), ..) => Expect::Line(Vec::new()),
            _ => Expect::Lost,
        }
    }

    fn receiver(&mut self, data: &[u8]) -> Vec<Evidence> {
        let mut found = Vec::new();
        for byte in data {
            match (&self.answer, byte) {
                (Answer::Sentence, b'\n') => self.answer = Answer::Byte,
                (Answer::Sentence, _) => {}
                (Answer::Byte, 0) => found.extend(self.answered(0)),
                (Answer::Byte, code) => {
                    self.answer = Answer::Sentence;
                    found.extend(self.answered(u64::from(*code)));
                }
            }
        }
        found
    }

    fn answered(&mut self, status: u64) -> Option<Evidence> {
        match std::mem::replace(&mut self.state, Expect::Lost) {
            Expect::Answer { file, sent_whole } => {
                self.state = Expect::Line(Vec::new());
                Some(self.transfer(file, sent_whole && status == 0, status))
            }
            // Refused before its first byte: the sender goes on with the next line.
            Expect::Bytes { file, .. } | Expect::Verdict(file)
                if status != 0 && file.bytes == 0 =>
            {
                self.state = Expect::Line(Vec::new());
                Some(self.transfer(file, false, status))
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The VM's path of a file, as far as the protocol tells: whether an upload's target is a
    /// folder, only the VM knows, and `target[/name]` says so.
    fn path(&self, name: &str) -> String {
        let inside = self.folders.iter().map(String::as_str).chain([name]).collect::<Vec<_>>();
        let inside = inside.join("/");
        let target = self.target.trim_end_matches('/');
        match self.direction {
            Direction::Download => match target.rsplit_once('/') {
                Some((parent, _)) => format!("{parent}/{inside}"),
                None => inside,
            },
            Direction::Upload if self.into_folder || target.len() < self.target.len() => {
                format!("{target}/{inside}")
            }
            Direction::Upload if target.rsplit('/').next() == Some(name) => target.to_owned(),
            Direction::Upload => format!("{target}[/{inside}]"),
        }
    }

    fn transfer(&self, file: File, complete: bool, status: u64) -> Evidence {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(file.sha.finish().as_ref());
        Evidence::Transferred(Transfer {
            path: file.path,
            direction: self.direction,
            bytes: file.bytes,
            sha256: Hash(sha256),
            offset: 0,
            complete,
            status,
        })
    }
}

fn after_bytes(file: File, left: u64) -> Expect {
    if left == 0 { Expect::Verdict(file) } else { Expect::Bytes { file, left } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(evidence: &[Evidence]) -> Vec<(&str, u64, bool, u64)> {
        let row = |evidence: &'_ Evidence| match evidence {
            Evidence::Transferred(_) => true,
            other => panic!("{other:?}"),
        };
        assert!(evidence.iter().all(row));
        evidence
            .iter()
            .filter_map(|evidence| match evidence {
                Evidence::Transferred(t) => Some((t.path.as_str(), t.bytes, t.complete, t.status)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn only_an_end_of_scp_is_followed() {
        for command in ["scp -t /tmp", "scp -r -f -- '/a b'", "/usr/bin/scp -v -t x"] {
            assert!(Observer::of(command.as_bytes()).is_some(), "{command}");
        }
        for command in ["scp a b", "scp", "rsync --server", "scpx -t a", "scp -S -tf a"] {
            assert!(Observer::of(command.as_bytes()).is_none(), "{command}");
        }
    }

    #[test]
    fn files_and_folders_go_up_with_their_answers() {
        let mut scp = Observer::of(b"scp -r -t /srv").unwrap();
        let mut found = scp.vm_sent(b"\0");
        for (sent, answer) in [
            (&b"T1 0 1 0\n"[..], &b"\0"[..]),
            (b"D0755 0 d\n", b"\0"),
            (b"C0644 3 a\n", b"\0"),
            (b"abc\0", b"\0"),
            (b"C0644 0 empty\n", b"\0"),
            (b"\0", b"\0"),
            (b"C0644 5 no\n", b"\x01scp: no: Permission denied\n"),
            (b"E\n", b"\0"),
            (b"C0644 2 b\n", b"\0"),
            (b"xy\0", b"\x01disk full\n"),
        ] {
            for byte in sent {
                found.extend(scp.operator_sent(&[*byte]));
            }
            found.extend(scp.vm_sent(answer));
        }
        found.extend(scp.finish());
        let expected = [
            ("/srv/d/a", 3, true, 0),
            ("/srv/d/empty", 0, true, 0),
            ("/srv/d/no", 0, false, 1),
            ("/srv/b", 2, false, 1),
        ];
        assert_eq!(seen(&found), expected);
    }

    #[test]
    fn a_download_that_is_cut_is_not_complete() {
        let mut scp = Observer::of(b"scp -f /var/log/syslog").unwrap();
        scp.operator_sent(b"\0");
        scp.vm_sent(b"C0644 10 syslog\n");
        scp.operator_sent(b"\0");
        scp.vm_sent(b"12345");
        assert_eq!(seen(&scp.finish()), [("/var/log/syslog", 5, false, 0)]);
    }
}
