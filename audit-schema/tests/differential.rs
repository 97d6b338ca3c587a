//! The tree beside another implementation of it, ct-merkle: roots, proofs from tiles, from the edge
//! and from all leaves, and each one's verifier on the other's proofs, over random sizes.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use audit_schema::{
    hash::Hash,
    merkle::{self, Frontier, TreeHead},
    tile::{Edge, Tile, Tiles},
};
use ct_merkle::{ConsistencyProof, InclusionProof, mem_backed_tree::MemoryBackedTree};
use sha2::Sha256;
use std::collections::BTreeMap;

/// More than two levels of tiles need more than 65,536 leaves; the other tree holds all in memory.
const LEAVES: u64 = 66_000;

type Other = MemoryBackedTree<Sha256, Vec<u8>>;

fn line(n: u64) -> Vec<u8> {
    format!("entry {n}").into_bytes()
}

/// Marsaglia's xorshift64*: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }
    /// Of any order of magnitude, and often beside a power of two.
    fn size(&mut self, most: u64) -> u64 {
        let bits = self.below(u64::from(most.ilog2()) + 1);
        let near = (1_u64 << bits) + self.below(5);
        let any = 1 + self.below(1 << (bits + 1));
        (if self.below(2) == 0 { near.saturating_sub(2).max(1) } else { any }).min(most)
    }
}

fn bytes(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.0).collect()
}

fn theirs(bytes: &[u8]) -> Vec<Hash> {
    bytes.as_chunks::<32>().0.iter().copied().map(Hash).collect()
}

/// The other tree and ours, grown to the same size.
struct Pair {
    other: Other,
    leaves: Vec<Hash>,
    edge: Edge,
    files: BTreeMap<Tile, Vec<u8>>,
}

impl Pair {
    fn new() -> Self {
        let (other, edge) = (Other::new(), Edge::new());
        Self { other, leaves: Vec::new(), edge, files: BTreeMap::new() }
    }

    fn grow(&mut self, size: u64) {
        let from = self.leaves.len() as u64;
        for n in from..size {
            self.other.push(line(n));
            self.leaves.push(merkle::leaf_hash(&line(n)));
        }
        let full = self.edge.append(&self.leaves[from as usize..]).unwrap();
        self.files.retain(|tile, _| tile.is_full());
        self.files.extend(full.into_iter().chain(self.edge.partial()).map(|w| (w.tile, w.bytes)));
    }

    fn check(&self, random: &mut Random) {
        let size = self.leaves.len() as u64;
        let other = self.other.root();
        let head = TreeHead { size, root: Hash(other.as_bytes()[..].try_into().unwrap()) };
        assert_eq!(self.edge.head(), head, "{size}");
        let tiles = Tiles::authenticate(head, self.files.clone()).unwrap();
        for index in [0, size / 2, size - 1, random.below(size)] {
            let ours = tiles.inclusion(index).unwrap();
            let proof = self.other.prove_inclusion(index as usize);
            assert_eq!(bytes(&ours), proof.as_bytes(), "{index} of {size}");
            let leaf = self.leaves[index as usize];
            let taken = theirs(proof.as_bytes());
            assert_eq!(merkle::verify_inclusion(&leaf, index, &taken, &head), Ok(()));
            let given = InclusionProof::<Sha256>::from_bytes(bytes(&ours));
            other.verify_inclusion(&line(index), index, &given).unwrap();
        }
        for old in [1, size / 2, size - 1, 1 + random.below(size)] {
            if old == 0 || old == size {
                continue;
            }
            let ours = tiles.consistency(old).unwrap();
            let proof = self.other.prove_consistency((size - old) as usize);
            assert_eq!(bytes(&ours), proof.as_bytes(), "{old} of {size}");
            let mut before = Frontier::new();
            self.leaves[..old as usize].iter().for_each(|leaf| before.push(*leaf));
            let batch = &self.leaves[old as usize..];
            assert_eq!(before.consistency_of_appended(batch).unwrap(), ours, "{old} of {size}");
            assert_eq!(merkle::verify_consistency(&before.head(), &head, &ours), Ok(()));
            let given = ConsistencyProof::<Sha256>::try_from_bytes(bytes(&ours)).unwrap();
            let old_root = ct_merkle::RootHash::<Sha256>::new(before.root().0.into(), old);
            other.verify_consistency(&old_root, &given).unwrap();
        }
    }
}

#[test]
fn trees_of_every_small_size_agree() {
    let (mut pair, mut random) = (Pair::new(), Random(11));
    for size in 1..=530 {
        pair.grow(size);
        pair.check(&mut random);
    }
}

#[test]
fn large_trees_agree() {
    let (mut pair, mut random) = (Pair::new(), Random(12));
    let mut sizes: Vec<u64> = (0..12).map(|_| random.size(LEAVES)).collect();
    sizes.extend([65_535, 65_536, 65_537, LEAVES]);
    sizes.sort_unstable();
    for size in sizes {
        pair.grow(size);
        pair.check(&mut random);
    }
}
