//! The backlog of one direction of a channel: memory first, then a spool.
//!
//! Order is kept because memory always holds the older bytes: once a spool is in use, new bytes go
//! behind it until it is empty again. Small packets are gathered, so that a peer that sends byte by
//! byte cannot make us hold a hundred times what it sent.

use super::{
    quota::Brim,
    spool::{Overrun, Spool, Spools},
};
use bastion_core::limits::{FIFO_CHUNK_BYTES, FIFO_MEMORY_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use std::{collections::VecDeque, sync::Arc};

/// Bytes in, the same bytes out.
pub(crate) struct Fifo {
    memory: VecDeque<Chunk>,
    memory_bytes: usize,
    spool: Option<Spool>,
    spools: Arc<Spools>,
    brim: Arc<Brim>,
}

/// Bytes that lie together.
enum Chunk {
    /// Small packets, and room for the next.
    Gathered(BytesMut),
    /// A large one, as it came.
    Whole(Bytes),
}

impl Chunk {
    /// Takes bytes behind what it has, if they fit.
    fn gather(&mut self, data: &[u8]) -> bool {
        match self {
            Self::Gathered(bytes) if bytes.capacity() - bytes.len() >= data.len() => {
                bytes.extend_from_slice(data);
                true
            }
            Self::Gathered(_) | Self::Whole(_) => false,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Gathered(bytes) => bytes.freeze(),
            Self::Whole(bytes) => bytes,
        }
    }
}

impl Fifo {
    pub(crate) fn new(spools: &Arc<Spools>) -> Self {
        Self {
            memory: VecDeque::new(),
            memory_bytes: 0,
            spool: None,
            spools: Arc::clone(spools),
            brim: Arc::new(Brim::new()),
        }
    }

    /// Says when too much waits for too long.
    pub(crate) fn brim(&self) -> Arc<Brim> {
        Arc::clone(&self.brim)
    }

    /// How many bytes wait, wherever they are.
    pub(crate) fn bytes(&self) -> u64 {
        self.memory_bytes as u64 + self.spool.as_ref().map_or(0, Spool::bytes)
    }

    pub(crate) fn push(&mut self, data: &[u8]) -> Result<(), Overrun> {
        if self.fits_memory(data.len()) {
            self.keep(data);
            return Ok(());
        }
        self.push_behind(data)
    }

    /// The same of bytes that need not be copied.
    pub(crate) fn push_owned(&mut self, data: Bytes) -> Result<(), Overrun> {
        if data.len() < FIFO_CHUNK_BYTES || !self.fits_memory(data.len()) {
            return self.push(&data);
        }
        self.memory_bytes += data.len();
        self.memory.push_back(Chunk::Whole(data));
        Ok(())
    }

    fn fits_memory(&self, more: usize) -> bool {
        let spooling = self.spool.as_ref().is_some_and(|spool| spool.bytes() > 0);
        !spooling && self.memory_bytes + more <= FIFO_MEMORY_BYTES_MAX
    }

    fn push_behind(&mut self, data: &[u8]) -> Result<(), Overrun> {
        let pushed = self.push_to_disk(data);
        if let Err(why) = &pushed {
            self.brim.over(why);
        }
        pushed
    }

    fn push_to_disk(&mut self, data: &[u8]) -> Result<(), Overrun> {
        if self.spool.is_none() {
            self.spool = Some(self.spools.open()?);
        }
        if let Some(spool) = self.spool.as_mut() {
            spool.push(data)?;
            self.brim.note(spool.bytes(), self.spools.quotas());
        }
        Ok(())
    }

    fn keep(&mut self, data: &[u8]) {
        self.memory_bytes += data.len();
        if self.memory.back_mut().is_some_and(|last| last.gather(data)) {
            return;
        }
        let mut chunk = BytesMut::with_capacity(data.len().max(FIFO_CHUNK_BYTES));
        chunk.extend_from_slice(data);
        self.memory.push_back(Chunk::Gathered(chunk));
    }

    /// The next bytes, at most `most` of them; none when there are none.
    pub(crate) fn pop(&mut self, most: usize) -> Result<Option<Bytes>, Overrun> {
        if let Some(chunk) = self.memory.pop_front() {
            let mut bytes = chunk.into_bytes();
            if bytes.len() > most {
                let rest = bytes.split_off(most);
                self.memory.push_front(Chunk::Whole(rest));
            }
            self.memory_bytes -= bytes.len();
            return Ok(Some(bytes));
        }
        let Some(spool) = self.spool.as_mut().filter(|spool| spool.bytes() > 0) else {
            return Ok(None);
        };
        let data = spool.pull(most)?;
        self.brim.note(spool.bytes(), self.spools.quotas());
        Ok(Some(Bytes::from(data)))
    }

    /// Forgets everything: nobody will take it any more.
    pub(crate) fn clear(&mut self) {
        self.memory = VecDeque::new();
        self.memory_bytes = 0;
        self.spool = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_through_memory_and_disk() {
        let spools = Spools::new(&std::env::temp_dir());
        let mut fifo = Fifo::new(&spools);
        let (mut wrote, mut read) = (0_u64, 0_u64);
        // A number per packet, pushed faster than popped, then drained.
        for round in 0..12_000_u64 {
            let mut packet = vec![0; 8 + (round as usize * 37) % 4_000];
            packet.iter_mut().for_each(|byte| {
                *byte = (wrote % 251) as u8;
                wrote += 1;
            });
            fifo.push(&packet).unwrap();
            if round % 8 == 0 {
                read = check(&mut fifo, read);
            }
        }
        assert!(spools.bytes() > 0, "the test must reach the disk");
        assert_eq!(fifo.bytes(), wrote - read);
        while fifo.bytes() > 0 {
            read = check(&mut fifo, read);
        }
        assert_eq!((read, spools.bytes()), (wrote, 0));
    }

    fn check(fifo: &mut Fifo, mut read: u64) -> u64 {
        for byte in fifo.pop(5_000).unwrap().unwrap() {
            assert_eq!(u64::from(byte), read % 251);
            read += 1;
        }
        read
    }

    #[test]
    fn the_quota_holds() {
        let spools = Spools::new(&std::env::temp_dir());
        let mut fifo = Fifo::new(&spools);
        let packet = vec![0; 16 << 20];
        let kept = (0..1_000).take_while(|_| fifo.push(&packet).is_ok()).count() as u64;
        assert_eq!(kept * (16 << 20), bastion_core::limits::SPOOL_BYTES_MAX);
        drop(fifo);
        assert_eq!(spools.bytes(), 0);
    }
}
