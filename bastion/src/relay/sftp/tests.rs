//! The observer against packets made by hand; real sftp clients are in the workspace's tests.

use super::*;
use crate::relay::closing::Evidence;
use bastion_core::file_rule::{FileRule, Ways};

struct Session(Observer, Vec<Evidence>);

fn packet(kind: u8, id: u32, fields: &[&[u8]]) -> Vec<u8> {
    let body: Vec<u8> =
        [&[kind][..], &id.to_be_bytes()].concat().into_iter().chain(fields.concat()).collect();
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes()[..], text].concat()
}

impl Session {
    fn new() -> Self {
        Self(Observer::default(), Vec::new())
    }
    /// Fed in pieces of three bytes, as no network would, to cross every boundary.
    fn ask(&mut self, kind: u8, id: u32, fields: &[&[u8]]) {
        for piece in packet(kind, id, fields).chunks(3) {
            self.1.extend(self.0.operator_sent(piece));
        }
    }
    fn answer(&mut self, kind: u8, id: u32, fields: &[&[u8]]) {
        for piece in packet(kind, id, fields).chunks(3) {
            self.1.extend(self.0.vm_sent(piece));
        }
    }
    fn status(&mut self, id: u32, code: u32) {
        self.answer(101, id, &[&code.to_be_bytes(), &string(b""), &string(b"")]);
    }
    fn open(&mut self, path: &[u8], flags: u32) {
        self.ask(3, 1, &[&string(path), &flags.to_be_bytes(), &[0; 4]]);
        self.answer(102, 1, &[&string(b"h")]);
    }
    fn write(&mut self, offset: u64, data: &[u8], code: u32) {
        self.ask(6, 2, &[&string(b"h"), &offset.to_be_bytes(), &string(data)]);
        self.status(2, code);
    }
    fn read(&mut self, offset: u64, data: Option<&[u8]>) {
        self.ask(5, 3, &[&string(b"h"), &offset.to_be_bytes(), &[0, 0, 128, 0]]);
        match data {
            Some(data) => self.answer(103, 3, &[&string(data)]),
            None => self.status(3, 1),
        }
    }
    fn close(mut self) -> Transfer {
        self.ask(4, 4, &[&string(b"h")]);
        self.status(4, 0);
        match self.1.pop() {
            Some(Evidence::Transferred(transfer)) => transfer,
            other => panic!("{other:?}"),
        }
    }
}

const PUT: u32 = 0x1a;

#[test]
fn an_upload_from_the_first_to_the_last_byte_is_complete() {
    let mut session = Session::new();
    session.open(b"/tmp/a", PUT);
    session.write(0, b"hello ", 0);
    session.write(6, b"world", 0);
    let seen = session.close();
    assert_eq!((seen.path.as_str(), seen.bytes, seen.complete), ("/tmp/a", 11, true));
    assert_eq!(seen.sha256, Hash::of(b"hello world"));
    assert_eq!(seen.direction, Direction::Upload);
}

#[test]
fn an_upload_with_a_hole_a_failure_or_an_old_tail_is_not() {
    let cases = [
        ("hole", PUT, &[(0, 0), (9, 0)][..]),
        ("failed", PUT, &[(0, 0), (1, 4)]),
        ("resumed", PUT, &[(5, 0)]),
        ("not truncated", 0x0a, &[(0, 0)]),
    ];
    for (name, flags, writes) in cases {
        let mut session = Session::new();
        session.open(b"f", flags);
        for (offset, code) in writes {
            session.write(*offset, b"x", *code);
        }
        assert!(!session.close().complete, "{name}");
    }
}

#[test]
fn an_upload_over_an_old_file_is_complete_when_it_is_cut_at_its_end() {
    for (cut, complete) in [(1, true), (2, false)] {
        let mut session = Session::new();
        session.open(b"f", 0x0a);
        session.write(0, b"x", 0);
        session.ask(10, 5, &[&string(b"h"), &[0, 0, 0, 1], &u64::to_be_bytes(cut)]);
        session.status(5, 0);
        assert_eq!(session.close().complete, complete, "cut at {cut}");
    }
}

#[test]
fn a_download_is_complete_when_the_end_was_seen_or_the_size_fits() {
    let mut session = Session::new();
    session.open(b"f", 1);
    session.read(0, Some(b"abc"));
    session.read(3, None);
    let seen = session.close();
    assert_eq!((seen.bytes, seen.complete, seen.sha256), (3, true, Hash::of(b"abc")));

    let mut session = Session::new();
    session.ask(17, 9, &[&string(b"f")]);
    session.answer(105, 9, &[&[0, 0, 0, 1], &3_u64.to_be_bytes()]);
    session.open(b"f", 1);
    session.read(0, Some(b"abc"));
    assert!(session.close().complete);

    let mut session = Session::new();
    session.open(b"f", 1);
    session.read(0, Some(b"abc"));
    assert!(!session.close().complete, "neither end nor size");
}

#[test]
fn empty_files_are_transfers_too() {
    let mut session = Session::new();
    session.open(b"f", PUT);
    let seen = session.close();
    assert_eq!((seen.bytes, seen.complete, seen.sha256), (0, true, Hash::of(b"")));
}

#[test]
fn changes_carry_the_answer() {
    let mut session = Session::new();
    session.ask(18, 7, &[&string(b"a"), &string(b"b")]);
    session.status(7, 3);
    session.ask(200, 8, &[&string(b"posix-rename@openssh.com"), &string(b"c"), &string(b"d")]);
    session.status(8, 0);
    session.ask(3, 9, &[&string(b"/etc/shadow"), &1_u32.to_be_bytes(), &[0; 4]]);
    session.status(9, 3);
    let seen = session.1.iter().map(|evidence| match evidence {
        Evidence::Changed(c) => (c.operation, c.path.as_str(), c.target.as_deref(), c.status),
        other => panic!("{other:?}"),
    });
    let seen = seen.collect::<Vec<_>>();
    let expected = [
        ("rename", "a", Some("b"), 3),
        ("rename", "c", Some("d"), 0),
        ("open", "/etc/shadow", None, 3),
    ];
    assert_eq!(seen, expected);
}

fn rule(ways: Ways) -> FileRule {
    FileRule { ways, policies: vec!["channels.files".into()] }
}

/// What a filter makes of a stream from each side, fed in pieces of this size: what went to the
/// VM, what went to the operator, and what was refused.
fn filtered(ways: Ways, up: &[u8], down: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>, Vec<Refused>) {
    let mut filter = Filter::new(rule(ways));
    let (mut passed, mut told, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for piece in up.chunks(piece) {
        let (more, found) = filter.operator_sent(piece).unwrap();
        passed.extend(more);
        refused.extend(found);
    }
    for piece in down.chunks(piece) {
        told.extend(filter.vm_sent(piece).unwrap());
    }
    told.extend(filter.due());
    (passed, told, refused)
}

#[test]
fn a_filter_says_the_same_however_the_bytes_are_cut() {
    let init = [0, 0, 0, 5, 1, 0, 0, 0, 3];
    let offset = 0_u64.to_be_bytes();
    let open = |id, flags: u32| packet(3, id, &[&string(b"/f"), &flags.to_be_bytes(), &[0; 4]]);
    let read = packet(5, 2, &[&string(b"h"), &offset, &[0, 0, 0, 9]]);
    let write = packet(6, 3, &[&string(b"h"), &offset, &string(&[7; 1000])]);
    let remove = packet(13, 4, &[&string(b"/f")]);
    let stat = packet(17, 5, &[&string(b"/f")]);
    let up = [&init[..], &open(1, 1), &read, &write, &remove, &stat, &open(6, 2)].concat();
    let version = [0, 0, 0, 5, 2, 0, 0, 0, 3];
    let handle = packet(102, 1, &[&string(b"h")]);
    let data = packet(103, 2, &[&string(&[9; 500])]);
    let attributes = packet(105, 5, &[&[0; 4]]);
    let down = [&version[..], &handle, &data, &attributes].concat();
    let denied = |id: u32, operation: &str| {
        let sentence = rule(Ways::Download).sentence(operation);
        let code = 3_u32.to_be_bytes();
        packet(101, id, &[&code, &string(sentence.as_bytes()), &string(b"en")])
    };
    let passed = [&init[..], &open(1, 1), &read, &stat].concat();
    let told = [
        &version[..],
        &handle,
        &data,
        &denied(3, "upload"),
        &denied(4, "remove"),
        &attributes,
        &denied(6, "upload"),
    ]
    .concat();
    for piece in [1, 2, 3, 7, 64, 1 << 20] {
        let (to_vm, to_operator, refused) = filtered(Ways::Download, &up, &down, piece);
        assert!(to_vm == passed, "pieces of {piece}");
        assert!(to_operator == told, "pieces of {piece}");
        let operations: Vec<_> = refused.iter().map(|refused| refused.operation).collect();
        assert_eq!(operations, ["upload", "remove", "upload"]);
    }
    let (to_vm, _, refused) = filtered(Ways::List, &up, &down, 5);
    assert!(to_vm == [&init[..], &stat].concat());
    assert_eq!(refused.len(), 5);
}

#[test]
fn a_filter_lets_nothing_through_that_it_cannot_frame() {
    let mut cases = vec![
        ("an empty packet", vec![0; 4]),
        ("a length past the bound", [&[0, 4, 0, 1, 6][..], &[0; 20]].concat()),
        ("no number", vec![0, 0, 0, 1, 13]),
        ("a handle past the bound", packet(6, 1, &[&string(&[1; 257]), &[0; 12]])),
    ];
    let whole = packet(18, 1, &[&string(b"a"), &string(b"b")]);
    for end in 5..whole.len() {
        let mut cut = whole[..end].to_vec();
        cut[..4].copy_from_slice(&(end as u32 - 4).to_be_bytes());
        cases.push(("a rename that goes on behind its end", cut));
    }
    for (name, bytes) in cases {
        let lost = Filter::new(rule(Ways::Upload)).operator_sent(&bytes).map(|(passed, _)| passed);
        assert_eq!(lost, Err(Lost::Framing), "{name} {bytes:?}");
    }
    let mut filter = Filter::new(rule(Ways::List));
    assert_eq!(filter.vm_sent(&[0, 0, 0, 0]), Err(Lost::Framing));
    // Refusals that wait for a VM which answers nothing are bounded, too.
    let mut filter = Filter::new(rule(Ways::List));
    filter.operator_sent(&packet(17, 0, &[&string(b"/f")])).unwrap();
    let remove = packet(13, 1, &[&string(b"/f")]);
    let many = (0..2000).take_while(|_| filter.operator_sent(&remove).is_ok()).count();
    assert_eq!(many, bastion_core::limits::SFTP_REFUSALS_MAX);
    assert!(filter.due().is_empty(), "none before the VM has answered what came before");
}

#[test]
fn a_filter_survives_noise() {
    let mut seed = 88_172_645_463_325_252_u64;
    for ways in Ways::ALL {
        for _ in 0..300 {
            let mut filter = Filter::new(rule(*ways));
            let mut noise = vec![0_u8; 3000];
            for byte in &mut noise {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                *byte = seed as u8 & if seed & 0x300 == 0 { 0xff } else { 7 };
            }
            for piece in noise.chunks(97) {
                let up = filter.operator_sent(piece);
                let down = filter.vm_sent(piece);
                if up.is_err() || down.is_err() {
                    break;
                }
            }
        }
    }
}

#[test]
fn whatever_a_peer_sends_memory_is_bounded_and_nothing_panics() {
    let mut session = Session::new();
    for id in 0..100_000_u32 {
        session.1.extend(session.0.operator_sent(&packet(3, id, &[&string(b"f"), &[0; 8]])));
    }
    assert_eq!(session.1.len(), 1, "told once that not all is followed");
    // A xorshift stream of bytes, from both sides, with lengths of all sizes.
    let mut seed = 88_172_645_463_325_252_u64;
    let mut noise = vec![0_u8; 1 << 20];
    for byte in &mut noise {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        *byte = seed as u8 & if seed & 0x300 == 0 { 0xff } else { 7 };
    }
    for piece in noise.chunks(4093) {
        session.0.operator_sent(piece);
        session.0.vm_sent(piece);
    }
    session.0.finish();
}
