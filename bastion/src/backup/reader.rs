//! A backup being read: its parts, its signature, and the lines under its seals.

use super::{
    BackupError, Header, MAGIC,
    body::{Lines, bad},
    file::{SIGNED, SIGNED_LINE_BYTES, signed_text},
    io_error,
};
use crate::relay::recording::{self, ContainerKey, Section};
use audit_schema::hash::Hash;
use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bastion_core::limits::{BACKUP_HEADER_BYTES_MAX, BACKUP_KEY_LINE_BYTES_MAX};
use ed25519_dalek::{Signature, VerifyingKey};
use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};

/// A backup's file, and where its parts are.
pub(super) struct Sealed {
    path: PathBuf,
    pub header: Header,
    first_line: Vec<u8>,
    container: Range<u64>,
}

/// The wrapped key of a recording, or what an erasure left of it.
pub(super) struct KeyLine {
    pub recording: String,
    pub wrapped: String,
    /// Where `wrapped` begins in the file.
    pub at: u64,
}

/// How such a line is written.
pub(super) fn key_line(recording: &str, wrapped: &str) -> String {
    format!("K {recording} {wrapped}\n")
}

impl Sealed {
    /// Looks at a file's parts; nothing is believed of it yet.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let failed = |why| io_error(path, why);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut reader = BufReader::new(file);
        let first_line =
            line(&mut reader, BACKUP_HEADER_BYTES_MAX + MAGIC.len()).map_err(failed)?;
        let header = Header::parse(&first_line)?;
        let mut at = first_line.len() as u64;
        for _ in 0..header.recordings {
            let line = line(&mut reader, BACKUP_KEY_LINE_BYTES_MAX).map_err(failed)?;
            if !line.starts_with(b"K ") || line.last() != Some(&b'\n') {
                return Err(bad("the key of a recording is missing, or its line was changed"));
            }
            at += line.len() as u64;
        }
        let end = length.checked_sub(SIGNED_LINE_BYTES).filter(|end| *end > at);
        let end = end.ok_or_else(|| bad("it was cut off"))?;
        Ok(Self { path: path.to_owned(), header, first_line, container: at..end })
    }

    /// The lines of the recordings' keys.
    pub fn keys(&self) -> Result<Keys, BackupError> {
        let mut file = File::open(&self.path).map_err(|why| io_error(&self.path, why))?;
        let at = self.first_line.len() as u64;
        file.seek(SeekFrom::Start(at)).map_err(|why| io_error(&self.path, why))?;
        let reader = BufReader::with_capacity(256 << 10, file);
        Ok(Keys { path: self.path.clone(), reader, at, left: self.header.recordings })
    }

    /// SHA-256 of the first line and the container, which the signature is over.
    pub fn digest(&self) -> Result<Hash, BackupError> {
        let mut sha = Context::new(&SHA256);
        sha.update(&self.first_line);
        let mut section = self.section()?;
        let mut piece = vec![0; 256 << 10];
        loop {
            match section.read(&mut piece).map_err(|why| io_error(&self.path, why))? {
                0 => break,
                read => sha.update(&piece[..read]),
            }
        }
        let digest = Hash::from_slice(sha.finish().as_ref());
        digest.map_err(|_| bad("its digest cannot be computed"))
    }

    /// Whether its last line is this key's signature; answers what it is over.
    pub fn check_signature(&self, key: &VerifyingKey) -> Result<Hash, BackupError> {
        let digest = self.digest()?;
        let mut file = File::open(&self.path).map_err(|why| io_error(&self.path, why))?;
        let mut last = Vec::new();
        file.seek(SeekFrom::Start(self.container.end))
            .and_then(|_| file.read_to_end(&mut last))
            .map_err(|why| io_error(&self.path, why))?;
        let text = last.strip_prefix(SIGNED.as_bytes()).and_then(|text| text.strip_suffix(b"\n"));
        let signature = text.and_then(|text| BASE64_STANDARD.decode(text).ok());
        let signature = signature.and_then(|bytes| Signature::from_slice(&bytes).ok());
        let signature = signature.ok_or_else(|| bad("its last line is no signature"))?;
        key.verify_strict(signed_text(&digest).as_bytes(), &signature)
            .map(|()| digest)
            .map_err(|_| BackupError::Signature)
    }

    /// Every line of the text, once every seal of the whole container was checked.
    pub fn lines(
        &self,
        key: &ContainerKey,
        each: impl FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let mut lines = Lines::new(each);
        let opened = recording::open(self.section()?, key, &mut lines);
        let found = match (opened, lines.stopped.take()) {
            (_, Some(why)) => return Err(why),
            (opened, None) => opened?,
        };
        if let Some(fault) = found.fault {
            return Err(BackupError::Bad(fault));
        }
        lines.finish()
    }

    fn section(&self) -> Result<Section, BackupError> {
        let file = File::open(&self.path).map_err(|why| io_error(&self.path, why))?;
        Section::of(file, self.container.clone()).map_err(|why| io_error(&self.path, why))
    }
}

fn line(reader: &mut impl io::BufRead, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.take(bytes_max as u64).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// The lines of the recordings' keys, in order.
pub(super) struct Keys {
    path: PathBuf,
    reader: BufReader<File>,
    at: u64,
    left: u64,
}

impl Keys {
    pub fn next(&mut self) -> Result<Option<KeyLine>, BackupError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let line = line(&mut self.reader, BACKUP_KEY_LINE_BYTES_MAX);
        let line = line.map_err(|why| io_error(&self.path, why))?;
        let odd = || bad("the key of a recording is missing, or its line was changed");
        let text = std::str::from_utf8(&line).map_err(|_| odd())?;
        let text = text.strip_prefix("K ").and_then(|text| text.strip_suffix('\n'));
        let (recording, wrapped) = text.and_then(|text| text.split_once(' ')).ok_or_else(odd)?;
        let at = self.at + 2 + recording.len() as u64 + 1;
        self.at += line.len() as u64;
        Ok(Some(KeyLine { recording: recording.into(), wrapped: wrapped.into(), at }))
    }
}
