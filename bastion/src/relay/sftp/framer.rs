//! Packets in a byte stream: heads gathered, bodies passed through.
//!
//! Only the head of a packet is kept, since the data of a file is most of the stream and is hashed
//! as it passes. A packet that claims to be larger than anything we follow is skipped by counting.
//!
//! OpenSSH's server reads the fields of a request from the stream, not from the packet: a packet
//! without a byte, or one whose fields go on behind its end, makes it act on bytes of the next one
//! (and then give up). So such packets are told as what they are, never taken for empty.

use super::packet::{DATA, EXTENDED_REPLY, NAME, WRITE};
use bastion_core::limits::{SFTP_HANDLE_BYTES_MAX, SFTP_PACKET_BYTES_MAX};

/// A piece of the stream.
pub(super) enum Part<'a> {
    /// The head of a packet of this length: all of it, or for `WRITE` and `DATA` what comes before
    /// the data, and for listings their number.
    Head(usize, &'a [u8]),
    /// What follows the head.
    Body(&'a [u8]),
    /// That packet is over.
    End,
    /// A packet that is not followed, or the length of one that has no byte.
    Skipped,
}

/// Which side speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Operator,
    Vm,
}

/// Where in the stream we are.
pub(super) struct Framer {
    side: Side,
    /// The length, then the head, of the packet at hand.
    held: Vec<u8>,
    /// The packet's length, once known.
    length: Option<usize>,
    /// Bytes of the packet after its head that still have to pass.
    body_left: Option<usize>,
    is_skipping: bool,
}

impl Framer {
    pub(super) fn of(side: Side) -> Self {
        Self { side, held: Vec::new(), length: None, body_left: None, is_skipping: false }
    }

    pub(super) fn feed(&mut self, mut data: &[u8], see: &mut impl FnMut(Part<'_>)) {
        while !data.is_empty() {
            data = match (self.length, self.body_left) {
                (None, _) => self.feed_length(data, see),
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

    fn feed_length<'a>(&mut self, data: &'a [u8], see: &mut impl FnMut(Part<'_>)) -> &'a [u8] {
        let rest = self.hold(data, 4);
        if let Ok(bytes) = <[u8; 4]>::try_from(self.held.as_slice()) {
            self.held.clear();
            self.length = usize::try_from(u32::from_be_bytes(bytes)).ok().filter(|n| *n > 0);
            if self.length.is_none() {
                see(Part::Skipped);
            }
        }
        rest
    }

    fn feed_head<'a>(
        &mut self,
        data: &'a [u8],
        length: usize,
        see: &mut impl FnMut(Part<'_>),
    ) -> &'a [u8] {
        let rest = self.hold(data, self.wanted(length).min(length));
        let wanted = self.wanted(length);
        if wanted > SFTP_PACKET_BYTES_MAX {
            self.skip(length, see);
        } else if self.held.len() >= wanted.min(length) {
            see(Part::Head(length, &self.held));
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
        *self = Self { held: std::mem::take(&mut self.held), ..Self::of(self.side) };
    }

    /// How many bytes of the packet make its head, as far as what is there can tell.
    fn wanted(&self, length: usize) -> usize {
        match (self.side, self.held.first()) {
            (_, None) => 1,
            (Side::Vm, Some(&DATA)) => 9,
            // Listings may be as long as a packet can be, and nothing in them is looked at.
            (Side::Vm, Some(&(NAME | EXTENDED_REPLY))) => 5,
            (Side::Operator, Some(&WRITE)) => self.wanted_of_write(),
            (_, Some(_)) => length,
        }
    }

    fn wanted_of_write(&self) -> usize {
        let bytes = self.held.get(5..9).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        match bytes.map(|bytes| usize::try_from(u32::from_be_bytes(bytes))) {
            None => 9,
            Some(Ok(handle)) if handle <= SFTP_HANDLE_BYTES_MAX => 9 + handle + 12,
            Some(_) => usize::MAX,
        }
    }
}
