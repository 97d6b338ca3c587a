//! The RFC 6962 tree over the lines: leaf and node hashes, the right edge, proofs.

use crate::hash::Hash;
use sha2::{Digest, Sha256};

/// RFC 6962 §2.1: SHA-256 of a zero byte and the leaf.
pub fn leaf_hash(line: &[u8]) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([0])
            .chain_update(line)
            .finalize()
            .into(),
    )
}

/// RFC 6962 §2.1: SHA-256 of a one byte and the two children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([1])
            .chain_update(left.0)
            .chain_update(right.0)
            .finalize()
            .into(),
    )
}
