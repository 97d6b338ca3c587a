//! The tree against published vectors, and against a tree written straight from the RFC.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use audit_schema::{
    hash::Hash,
    merkle::{
        BadProof, Frontier, TreeHead, consistency_proof, inclusion_proof, leaf_hash, node_hash,
        root, verify_consistency, verify_inclusion,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};

const SIZES: usize = 65;

/// The leaves of the test vectors of certificate-transparency's Merkle tree.
fn vector_leaves() -> Vec<Hash> {
    let leaves: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    leaves.map(leaf_hash).to_vec()
}

const VECTOR_ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hashes(texts: &[&str]) -> Vec<Hash> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn roots_are_those_of_the_rfc_6962_vectors() {
    for (size, expected) in VECTOR_ROOTS.iter().enumerate() {
        assert_eq!(root(&vector_leaves()[..size]).to_string(), *expected, "size {size}");
    }
}

#[test]
fn proofs_are_those_of_the_rfc_6962_vectors() {
    let leaves = vector_leaves();
    let three = hashes(&[
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]);
    assert_eq!(inclusion_proof(&leaves, 0).unwrap(), three);
    assert_eq!(consistency_proof(&leaves, 1).unwrap(), three);
    let six = hashes(&[
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]);
    assert_eq!(consistency_proof(&leaves, 6).unwrap(), six);
    let two = hashes(&[
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ]);
    assert_eq!(consistency_proof(&leaves[..5], 2).unwrap(), two);
}

/// An entry of Sigstore's public log log2025-1.rekor.sigstore.dev, with its proof.
#[test]
fn a_proof_of_a_public_log_holds() {
    let hash = |text: &str| Hash::from_slice(&STANDARD.decode(text).unwrap()).unwrap();
    let body = concat!(
        "eyJhcGlWZXJzaW9uIjoiMC4wLjIiLCJraW5kIjoiaGFzaGVkcmVrb3JkIiwic3BlYyI6eyJoYXNoZWRSZWtvcm",
        "RWMDAyIjp7ImRhdGEiOnsiYWxnb3JpdGhtIjoiU0hBMl8yNTYiLCJkaWdlc3QiOiI1ZEoyU2FrVWVPWFk0dXQx",
        "aEJIUG9teitoVG42dGMwS1R6Y0dvc0ErZXBFPSJ9LCJzaWduYXR1cmUiOnsiY29udGVudCI6Ik1FWUNJUURjSk",
        "84Mm56MXJydHUxRHhTcHJ1WDFvZ0p1bThkbDRJaUdCTVB6M2pZY2JnSWhBS3dROHdOdTFPbjhwWWZoQUpDSzhP",
        "cVQwT09HVGgveUFRK0FuL2UzZC9kVSIsInZlcmlmaWVyIjp7ImtleURldGFpbHMiOiJQS0lYX0VDRFNBX1AyNT",
        "ZfU0hBXzI1NiIsInB1YmxpY0tleSI6eyJyYXdCeXRlcyI6Ik1Ga3dFd1lIS29aSXpqMENBUVlJS29aSXpqMERB",
        "UWNEUWdBRTBxOVErdGRHMTk1Q1hLZm1VeDFZYXR2Wi9tTjNyaGpwT2ZtMWx2c2tXcHJIOVB4cGU5WGM2TGpFSm",
        "JCY1ZQaHV0a2ZVdkJCOVJEays0MlNORTYvNXhnPT0ifX19fX19",
    );
    let proof = [
        "KIoYVJ0TqmaEkFboP7YWTjSh8vFjVECmokcTOAByfIM=",
        "Umf0h0cK2hegTzNnSgsXszyiA4bp5OvEvP+GrWq3C8w=",
        "vNQeSNBfepYZI2Ez3ViKdCft0JH87ZS8IGKwixxUVjc=",
        "JBAugd5awOqmHXIKgz1MOjlR5f37VqmP0bWoRVcHX5M=",
        "xYH2mAxGxfOgvSOLnItT2LsJt+Z2a2egjf8QJFwK7jA=",
        "PbZWM3NitzChx9A22m/kddDtzh2bAKX5Fy7j76l3z2k=",
        "sKX9Sbsahvw5DiC2oP6pbZsDi1NzuNS1nIULXkCC57o=",
        "pfTCxXHnCM253jwYxVJcuUhmoTTtDxznn92QhN0M4Ws=",
        "cJ8uk2ZvZyfg+HRILKOHcyHu2pvI8Fz3R1MyMvyzWtA=",
    ]
    .map(hash);
    let root = hash("+8vUkEgBK/ansexBUomzocaWoPEmPIzxJC/y+xNMQN4=");
    let leaf = leaf_hash(&STANDARD.decode(body).unwrap());
    let head = TreeHead { size: 412_115, root };
    assert_eq!(verify_inclusion(&leaf, 412_114, &proof, &head), Ok(()));
    let moved = verify_inclusion(&leaf, 412_113, &proof, &head);
    assert!(moved.is_err());
}

/// RFC 6962 §2.1, word for word.
fn naive(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(b""),
        [leaf] => *leaf,
        _ => {
            let k = (1..leaves.len()).rfind(|k| k.is_power_of_two()).unwrap();
            node_hash(&naive(&leaves[..k]), &naive(&leaves[k..]))
        }
    }
}

/// RFC 6962 §2.1.1.
fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = (1..leaves.len()).rfind(|k| k.is_power_of_two()).unwrap();
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if index < k {
        (naive_path(index, left), naive(right))
    } else {
        (naive_path(index - k, right), naive(left))
    };
    path.push(sibling);
    path
}

/// RFC 6962 §2.1.2: SUBPROOF.
fn naive_subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![naive(leaves)] };
    }
    let k = (1..leaves.len()).rfind(|k| k.is_power_of_two()).unwrap();
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) = if old <= k {
        (naive_subproof(old, left, whole), naive(right))
    } else {
        (naive_subproof(old - k, right, false), naive(left))
    };
    proof.push(sibling);
    proof
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

#[test]
fn every_size_has_the_root_and_the_edge_of_the_rfc() {
    let all = leaves(SIZES);
    let mut frontier = Frontier::new();
    for size in 0..=SIZES {
        assert_eq!(frontier.root(), naive(&all[..size]), "size {size}");
        assert_eq!(frontier.size(), size as u64);
        let bytes = frontier.encode();
        assert_eq!(Frontier::decode(&bytes).unwrap(), frontier);
        for cut in 0..bytes.len() {
            let cut_off = Frontier::decode(&bytes[..cut]);
            assert!(cut_off.is_err(), "size {size} cut at {cut}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Frontier::decode(&longer).is_err());
        if let Some(leaf) = all.get(size) {
            frontier.push(*leaf);
        }
    }
    let too_large = [&(1_u64 << 54).to_be_bytes()[..], &[0; 32]].concat();
    assert!(Frontier::decode(&too_large).is_err());
}

#[test]
fn every_inclusion_proof_is_the_one_of_the_rfc_and_proves_nothing_else() {
    let all = leaves(SIZES);
    for size in 1..=SIZES {
        let tree = &all[..size];
        let head = TreeHead { size: size as u64, root: naive(tree) };
        for index in 0..size {
            let proof = inclusion_proof(tree, index as u64).unwrap();
            assert_eq!(proof, naive_path(index, tree), "{index} of {size}");
            let check = |leaf: usize, index: usize, proof: &[Hash], head: &TreeHead| {
                verify_inclusion(&all[leaf], index as u64, proof, head)
            };
            assert_eq!(check(index, index, &proof, &head), Ok(()));
            for other in (0..size).filter(|other| *other != index) {
                assert!(check(other, index, &proof, &head).is_err());
                assert!(check(index, other, &proof, &head).is_err());
            }
            damage(&proof, |bad| assert!(check(index, index, bad, &head).is_err()));
            let other_root = TreeHead { root: all[0], ..head };
            assert!(size == 1 || check(index, index, &proof, &other_root).is_err());
        }
        assert_eq!(inclusion_proof(tree, size as u64), None);
        let outside = verify_inclusion(&all[0], size as u64, &[], &head);
        assert_eq!(outside, Err(BadProof::Position));
    }
}

#[test]
fn every_consistency_proof_is_the_one_of_the_rfc_and_proves_nothing_else() {
    let all = leaves(SIZES);
    let head = |size: usize| TreeHead { size: size as u64, root: naive(&all[..size]) };
    for size in 0..=SIZES {
        for old in 0..=size {
            let proof = consistency_proof(&all[..size], old as u64).unwrap();
            if old > 0 {
                assert_eq!(proof, naive_subproof(old, &all[..size], true), "{old} of {size}");
            }
            let (before, after) = (head(old), head(size));
            assert_eq!(verify_consistency(&before, &after, &proof), Ok(()), "{old} of {size}");
            damage(&proof, |bad| {
                assert!(verify_consistency(&before, &after, bad).is_err());
            });
            for wrong in [Hash::ZERO, leaf_hash(b"x")] {
                let wrong_before = TreeHead { root: wrong, ..before };
                assert!(verify_consistency(&wrong_before, &after, &proof).is_err());
                let wrong_after = TreeHead { root: wrong, ..after };
                let extends_nothing = old == 0 && size > 0;
                let accepted = verify_consistency(&before, &wrong_after, &proof).is_ok();
                assert_eq!(accepted, extends_nothing, "{old} of {size}");
            }
        }
        assert_eq!(consistency_proof(&all[..size], size as u64 + 1), None);
        assert!(
            verify_consistency(&head(size), &head(size.saturating_sub(1)), &[]).is_err()
                || size == 0
        );
    }
}

/// Proofs with a hash changed, gone, doubled or swapped with the next.
fn damage(proof: &[Hash], refused: impl Fn(&[Hash])) {
    refused(&[proof, &[Hash::ZERO]].concat());
    for at in 0..proof.len() {
        let mut bad = proof.to_vec();
        bad[at].0[at % 32] ^= 1;
        refused(&bad);
        bad = proof.to_vec();
        bad.remove(at);
        refused(&bad);
        bad = proof.to_vec();
        bad.insert(at, proof[at]);
        refused(&bad);
        if at + 1 < proof.len() {
            bad = proof.to_vec();
            bad.swap(at, at + 1);
            refused(&bad);
        }
    }
}

#[test]
fn positions_at_the_edge_of_numbers_are_refused_without_panic() {
    let numbers = [0, 1, 2, 1 << 52, (1 << 53) - 1, 1 << 53, (1 << 53) + 1, 1 << 63, u64::MAX];
    let proof = vec![Hash::ZERO; 53];
    for size in numbers {
        let head = TreeHead { size, root: Hash::ZERO };
        for index in numbers {
            for length in [0, 1, 52, 53] {
                let proof = &proof[..length];
                let leaf = Hash::of(b"leaf");
                assert!(verify_inclusion(&leaf, index, proof, &head).is_err());
                let old = TreeHead { size: index, root: Hash::ZERO };
                let same = size == index && size <= 1 << 53 && size > 0 && length == 0;
                assert_eq!(verify_consistency(&old, &head, proof).is_ok(), same);
            }
        }
    }
}
