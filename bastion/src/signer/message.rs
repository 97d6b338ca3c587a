//! What the gateway and its signer say to each other: a length, then JSON.
//!
//! One request is answered by one answer, in order. Both sides bound what they read.

use crate::ledger::signer::HeadToSign;
use audit_schema::{hash::Hash, merkle::TreeHead};
use bastion_core::{
    cert::CertContent,
    id::{ApproverId, CustomerId},
    limits::SIGNER_MESSAGE_BYTES_MAX,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Who are you?
    Hello,
    /// Sign this head.
    Head(Head),
    /// Sign this certificate.
    Certificate(Box<Order>),
    /// Sign this revocation list.
    Revocations(String),
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Who it is.
    Hello(Box<Hello>),
    /// A signed note.
    Note(String),
    /// A certificate in OpenSSH's form.
    Certificate(String),
    /// The proof does not begin here.
    Behind(Size),
    /// The head does not extend this.
    Fork(Size),
    /// No, and why.
    Refused(String),
}

/// Who the signer is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The user CA's public key in OpenSSH's form.
    pub user_ca: String,
    /// The log's key, `name+hash+base64`.
    pub vkey: String,
    /// The head that it signed last.
    pub last: Size,
    /// What holds it back, in words.
    pub confined: String,
}

/// Size and root.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Size {
    size: u64,
    root: Hash,
}

/// A head with the proof that it extends the last one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    head: Size,
    /// The size from which the proof leads.
    pub from: u64,
    /// The proof.
    pub proof: Vec<Hash>,
}

/// A line of the log with its place in the head's tree.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The exact line.
    pub line: String,
    /// Its inclusion proof.
    pub proof: Vec<Hash>,
}

/// Where the checkpoint of a receipt comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Under {
    /// It is signed for this certificate.
    Head(Head),
    /// It was signed before, and witnesses have cosigned it since.
    Cosigned(String),
}

/// An order for a certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// What it says.
    pub content: CertContent,
    /// The key that it certifies, in OpenSSH's form.
    pub subject: String,
    /// Its nonce.
    pub nonce: Hash,
    /// The checkpoint that goes into the receipt.
    pub under: Under,
    /// The grant.
    pub granted: Line,
    /// The issuance.
    pub issued: Line,
    /// The consent as a certificate carries it, for a data account.
    pub consent: Option<String>,
    /// Those whose signatures count.
    pub approvers: Vec<(ApproverId, CustomerId, String)>,
}

impl Head {
    /// Size and root.
    pub fn head(&self) -> TreeHead {
        self.head.into()
    }
}

impl From<Size> for TreeHead {
    fn from(Size { size, root }: Size) -> Self {
        Self { size, root }
    }
}

impl From<TreeHead> for Size {
    fn from(TreeHead { size, root }: TreeHead) -> Self {
        Self { size, root }
    }
}

impl From<HeadToSign> for Head {
    fn from(HeadToSign { head, from, proof }: HeadToSign) -> Self {
        Self { head: head.into(), from, proof }
    }
}

/// One message, with its length before it.
fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    let short = u32::try_from(length).ok().filter(|_| length <= SIGNER_MESSAGE_BYTES_MAX);
    let length = short.ok_or_else(|| io::Error::other("a message is too long"))?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

fn bounded(length: [u8; 4]) -> io::Result<Vec<u8>> {
    let length = u32::from_be_bytes(length) as usize;
    if length > SIGNER_MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message is too long"));
    }
    Ok(vec![0; length])
}

/// Sends one message.
pub(super) async fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    stream.write_all(&encode(message)?).await
}

/// Receives one message.
pub(super) async fn receive<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let mut bytes = bounded(length)?;
    stream.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// [`send`], for the side without a runtime.
pub(super) fn put(stream: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    stream.write_all(&encode(message)?)
}

/// [`receive`], for the side without a runtime; nothing at the orderly end.
pub(super) fn take<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let mut bytes = bounded(length)?;
    stream.read_exact(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}
