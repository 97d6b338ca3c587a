//! The fields of SFTP version 3 packets, as OpenSSH speaks it.

/// `SSH_FXP_INIT` and the requests, by number.
pub(super) const INIT: u8 = 1;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const SETSTAT: u8 = 9;
pub(super) const FSETSTAT: u8 = 10;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const RMDIR: u8 = 15;
pub(super) const REALPATH: u8 = 16;
pub(super) const STAT: u8 = 17;
pub(super) const RENAME: u8 = 18;
pub(super) const READLINK: u8 = 19;
pub(super) const SYMLINK: u8 = 20;
pub(super) const EXTENDED: u8 = 200;

/// `SSH_FXP_STATUS` and the other answers that matter here.
pub(super) const STATUS: u8 = 101;
pub(super) const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
pub(super) const NAME: u8 = 104;
pub(super) const ATTRS: u8 = 105;
pub(super) const EXTENDED_REPLY: u8 = 201;

/// `SSH_FX_EOF`, `SSH_FX_PERMISSION_DENIED`.
pub(super) const EOF: u32 = 1;
pub(super) const PERMISSION_DENIED: u32 = 3;

/// `SSH_FXF_READ`, `SSH_FXF_WRITE`, `SSH_FXF_APPEND`, `SSH_FXF_CREAT`, `SSH_FXF_TRUNC`,
/// `SSH_FXF_EXCL`.
pub(super) const FLAG_READ: u32 = 0x01;
pub(super) const FLAG_WRITE: u32 = 0x02;
pub(super) const FLAG_APPEND: u32 = 0x04;
pub(super) const FLAG_CREATE: u32 = 0x08;
pub(super) const FLAG_TRUNCATE: u32 = 0x10;
pub(super) const FLAG_EXCLUSIVE: u32 = 0x20;

/// `SSH_FILEXFER_ATTR_*`.
const ATTR_SIZE: u32 = 0x01;
const ATTR_OWNERS: u32 = 0x02;
const ATTR_PERMISSIONS: u32 = 0x04;
const ATTR_TIMES: u32 = 0x08;
const ATTR_EXTENDED: u32 = 0x8000_0000;

/// What an operator asks, with the fields that matter here. Paths are bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask<'a> {
    /// Version 3 begins; the number is no request's.
    Init,
    Open {
        path: &'a [u8],
        flags: u32,
    },
    Close(&'a [u8]),
    Read {
        handle: &'a [u8],
        offset: u64,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
        length: usize,
    },
    Stat(&'a [u8]),
    Fstat(&'a [u8]),
    Fsetstat {
        handle: &'a [u8],
        size: Option<u64>,
    },
    Copy {
        from: &'a [u8],
        to: &'a [u8],
    },
    Fsync(&'a [u8]),
    /// What changes a path, or links two.
    Change {
        operation: &'static str,
        path: &'a [u8],
        target: Option<&'a [u8]>,
    },
    /// What shows names and attributes and no file's contents.
    Look,
    /// What we do not know: a number, or an extension's name.
    Unknown(&'a [u8]),
}

/// Reads a request: its number and what it asks. `length` is that of its packet, of which `head`
/// may leave out the data. `None` if its fields go on behind its end.
pub(super) fn request(length: usize, head: &[u8]) -> Option<(u32, Ask<'_>)> {
    let mut f = Fields(head);
    let (kind, id) = (f.byte()?, f.number()?);
    let change = |operation, path, target| Ask::Change { operation, path, target };
    let ask = match kind {
        INIT => Ask::Init,
        OPEN => {
            let (path, flags) = (f.string()?, f.number()?);
            f.attributes()?;
            Ask::Open { path, flags }
        }
        CLOSE => Ask::Close(f.string()?),
        READ => {
            let (handle, offset) = (f.string()?, f.long()?);
            f.number()?;
            Ask::Read { handle, offset }
        }
        WRITE => {
            let (handle, offset) = (f.string()?, f.long()?);
            let data = usize::try_from(f.number()?).ok()?;
            let room = length.checked_sub(head.len() - f.0.len())?;
            Ask::Write { handle, offset, length: Some(data).filter(|data| *data <= room)? }
        }
        STAT => Ask::Stat(f.string()?),
        FSTAT => Ask::Fstat(f.string()?),
        SETSTAT => {
            let path = f.string()?;
            f.attributes()?;
            change("setstat", path, None)
        }
        FSETSTAT => Ask::Fsetstat { handle: f.string()?, size: f.attributes()? },
        REMOVE => change("remove", f.string()?, None),
        MKDIR => {
            let path = f.string()?;
            f.attributes()?;
            change("mkdir", path, None)
        }
        RMDIR => change("rmdir", f.string()?, None),
        RENAME => change("rename", f.string()?, Some(f.string()?)),
        // OpenSSH has these two the other way round than the draft: target, then link.
        SYMLINK => {
            let target = f.string()?;
            change("symlink", f.string()?, Some(target))
        }
        LSTAT | OPENDIR | READDIR | REALPATH | READLINK => {
            f.string()?;
            Ask::Look
        }
        EXTENDED => extended(f)?,
        _ => Ask::Unknown(head.get(..1)?),
    };
    Some((id, ask))
}

/// OpenSSH's extensions.
fn extended(mut f: Fields<'_>) -> Option<Ask<'_>> {
    let change = |operation, path, target| Ask::Change { operation, path, target };
    let name = f.string()?;
    Some(match name {
        b"posix-rename@openssh.com" => change("rename", f.string()?, Some(f.string()?)),
        b"hardlink@openssh.com" => change("hardlink", f.string()?, Some(f.string()?)),
        b"lsetstat@openssh.com" => {
            let path = f.string()?;
            f.attributes()?;
            change("setstat", path, None)
        }
        b"fsync@openssh.com" => Ask::Fsync(f.string()?),
        b"copy-data" => {
            let from = f.string()?;
            f.long()?;
            f.long()?;
            let to = f.string()?;
            f.long()?;
            Ask::Copy { from, to }
        }
        b"limits@openssh.com" => Ask::Look,
        b"statvfs@openssh.com"
        | b"fstatvfs@openssh.com"
        | b"expand-path@openssh.com"
        | b"home-directory" => {
            f.string()?;
            Ask::Look
        }
        b"users-groups-by-id@openssh.com" => {
            f.string()?;
            f.string()?;
            Ask::Look
        }
        unknown => Ask::Unknown(unknown),
    })
}

/// The answer to a request that the gateway refuses itself.
pub(super) fn denied(id: u32, sentence: &str) -> Vec<u8> {
    let text = |text: &str| [&length_of(text.as_bytes())[..], text.as_bytes()].concat();
    let status = PERMISSION_DENIED.to_be_bytes();
    let fields = [&[STATUS][..], &id.to_be_bytes(), &status, &text(sentence), &text("en")].concat();
    [&length_of(&fields)[..], &fields].concat()
}

/// Sentences are ours, and short.
fn length_of(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Reads fields from a packet's head; a packet that is too short has none.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn long(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    /// File attributes: the size, if it is there.
    pub(super) fn attributes(&mut self) -> Option<Option<u64>> {
        let flags = self.number()?;
        let size = if flags & ATTR_SIZE == 0 { None } else { Some(self.long()?) };
        let fixed = [(ATTR_OWNERS, 8), (ATTR_PERMISSIONS, 4), (ATTR_TIMES, 8)];
        let here = fixed.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, bytes)| bytes);
        self.take(here.sum())?;
        if flags & ATTR_EXTENDED != 0 {
            for _ in 0..self.number()? {
                self.string()?;
                self.string()?;
            }
        }
        Some(size)
    }
}
