//! The observer against packets made by hand; real sftp clients are in the workspace's tests.

use super::*;
use crate::relay::closing::Evidence;

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
