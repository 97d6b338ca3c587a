//! The fields of SFTP version 3 packets, as OpenSSH speaks it.

/// `SSH_FXP_OPEN` and the other requests that matter here.
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const FSTAT: u8 = 8;
pub(super) const SETSTAT: u8 = 9;
pub(super) const FSETSTAT: u8 = 10;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const RMDIR: u8 = 15;
pub(super) const STAT: u8 = 17;
pub(super) const RENAME: u8 = 18;
pub(super) const SYMLINK: u8 = 20;
pub(super) const EXTENDED: u8 = 200;

/// `SSH_FXP_STATUS` and the other answers that matter here.
pub(super) const STATUS: u8 = 101;
pub(super) const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
pub(super) const ATTRS: u8 = 105;

/// `SSH_FX_EOF`.
pub(super) const EOF: u32 = 1;

/// `SSH_FXF_WRITE`, `SSH_FXF_CREAT`, `SSH_FXF_TRUNC`, `SSH_FXF_EXCL`.
pub(super) const FLAG_WRITE: u32 = 0x02;
pub(super) const FLAG_CREATE: u32 = 0x08;
pub(super) const FLAG_TRUNCATE: u32 = 0x10;
pub(super) const FLAG_EXCLUSIVE: u32 = 0x20;

/// `SSH_FILEXFER_ATTR_SIZE`.
const ATTR_SIZE: u32 = 0x01;

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

    /// The size in file attributes, if it is there.
    pub(super) fn size(&mut self) -> Option<u64> {
        let flags = self.number()?;
        if flags & ATTR_SIZE == 0 { None } else { self.long() }
    }
}
