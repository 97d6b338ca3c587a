//! Packets in a byte stream: heads gathered, bodies passed through.
//!
//! Only the head of a packet is kept, since the data of a file is most of the stream and is hashed
//! as it passes. A packet that claims to be larger than anything we follow is skipped by counting.

use super::packet::{DATA, WRITE};
use bastion_core::limits::{SFTP_HANDLE_BYTES_MAX, SFTP_PACKET_BYTES_MAX};

/// A piece of the stream.
pub(super) enum Part<'a> {
    /// The head of a packet: all of it, or for `WRITE` and `DATA` what comes before the data.
    Head(&'a [u8]),
    /// Data of the packet whose head came last.
    Body(&'a [u8]),
    /// That packet is over.
    End,
    /// A packet that is not followed.
    Skipped,
}

/// Where in the stream we are.
#[derive(Default)]
pub(super) struct Framer {
    /// The length, then the head, of the packet at hand.
    held: Vec<u8>,
    /// The packet's length, once known.
    length: Option<usize>,
    /// Bytes of the packet after its head that still have to pass.
    body_left: Option<usize>,
    is_skipping: bool,
}

impl Framer {
    pub(super) fn feed(&mut self, mut data: &[u8], see: &mut impl FnMut(Part<'_>)) {
        while !data.is_empty() {
            data = match (self.length, self.body_left) {
                (None, _) => self.feed_length(data),
                (Some(length), None) => self.feed_head(data, length, see),
                (Some(_), Some(left)) => self.feed_body(data, left, see),
            };
        }
    }

    fn hold<'a>(&mut self, data: &'a [u8], until: usize) -> &'a [u8] {
        let take = until.saturating_sub(self.held.len()).min(data.len());
        self.held.extend_from_slice(&data[..take]);
        &data[take..]
    }

    fn feed_length<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let rest = self.hold(data, 4);
        if let Ok(bytes) = <[u8; 4]>::try_from(self.held.as_slice()) {
            self.held.clear();
            // An empty packet is nothing; the next length follows.
            self.length = usize::try_from(u32::from_be_bytes(bytes)).ok().filter(|n| *n > 0);
        }
        rest
    }

    fn feed_head<'a>(
        &mut self,
        data: &'a [u8],
        length: usize,
        see: &mut impl FnMut(Part<'_>),
    ) -> &'a [u8] {
        let rest = self.hold(data, wanted(&self.held, length).min(length));
        let wanted = wanted(&self.held, length);
        if wanted > SFTP_PACKET_BYTES_MAX {
            self.skip(length, see);
        } else if self.held.len() >= wanted.min(length) {
            see(Part::Head(&self.held));
            self.begin_body(length, see);
        }
        rest
    }

    fn begin_body(&mut self, length: usize, see: &mut impl FnMut(Part<'_>)) {
        let left = length - self.held.len();
        self.held.clear();
        self.body_left = Some(left);
        if left == 0 {
            self.end(see);
        }
    }

    fn skip(&mut self, length: usize, see: &mut impl FnMut(Part<'_>)) {
        self.is_skipping = true;
        see(Part::Skipped);
        self.begin_body(length, see);
    }

    fn feed_body<'a>(
        &mut self,
        data: &'a [u8],
        left: usize,
        see: &mut impl FnMut(Part<'_>),
    ) -> &'a [u8] {
        let (body, rest) = data.split_at(left.min(data.len()));
        if !self.is_skipping {
            see(Part::Body(body));
        }
        self.body_left = Some(left - body.len());
        if left == body.len() {
            self.end(see);
        }
        rest
    }

    fn end(&mut self, see: &mut impl FnMut(Part<'_>)) {
        if !self.is_skipping {
            see(Part::End);
        }
        *self = Self { held: std::mem::take(&mut self.held), ..Self::default() };
    }
}

/// How many bytes of the packet make its head, as far as what is there can tell.
fn wanted(held: &[u8], length: usize) -> usize {
    match held.first() {
        None => 1,
        Some(&DATA) => 9,
        Some(&WRITE) => match held.get(5..9).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()) {
            None => 9,
            Some(bytes) => match usize::try_from(u32::from_be_bytes(bytes)) {
                Ok(handle) if handle <= SFTP_HANDLE_BYTES_MAX => 9 + handle + 12,
                _ => usize::MAX,
            },
        },
        Some(_) => length,
    }
}
