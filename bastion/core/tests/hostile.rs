//! Thousands of broken inputs to every parser of the core: each is an error, none a panic, and
//! none means what the unbroken one meant.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod world;

use bastion_core::{
    authorize::{Facts, Reason},
    consent::{FreeText, Statement},
    id::{Handle, VmName},
    policy::{Policy, test_cases},
};
use ssh_key::Certificate;
use world::*;

/// A small generator (xorshift): the same inputs at every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % sides
    }

    /// The bytes with one thing wrong.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        let at = self.roll(out.len());
        match self.roll(6) {
            0 => out[at] ^= 1 << self.roll(8),
            1 => out.truncate(at),
            2 => out.insert(at, u8::try_from(self.roll(256)).unwrap()),
            3 => drop(out.remove(at)),
            4 => {
                let end = at + self.roll(out.len() - at);
                let part = out[at..end].to_vec();
                out.splice(at..at, part);
            }
            _ => {
                let other = self.roll(out.len());
                out.swap(at, other);
            }
        }
        out
    }
}

#[test]
fn a_damaged_statement_is_no_statement_or_says_what_it_says_in_full() {
    let good = statement(&ticket(terms()), &policy()).compose().unwrap();
    let mut dice = Dice(1);
    let mut accepted = 0;
    for _ in 0..5000 {
        let bad = dice.damage(&good);
        if let Ok(statement) = Statement::parse(&bad) {
            // A changed digit of a digest or the nonce is another statement, spelled rightly.
            assert_eq!(statement.compose().unwrap(), bad);
            accepted += usize::from(bad != good);
        }
    }
    assert!(accepted < 1000, "{accepted}");
}

#[test]
fn a_consent_with_anything_damaged_opens_nothing() {
    let policy = policy();
    let request = request("dba", audit_schema::event::ChannelKind::Exec);
    let good = facts(&policy);
    granted(&request, &good, &policy);
    let mut dice = Dice(2);
    for round in 0..3000 {
        let mut facts: Facts = good.clone();
        let fact = &mut facts.consents[0];
        if round % 2 == 0 {
            let bad = dice.damage(&fact.statement);
            if bad == fact.statement {
                continue;
            }
            fact.statement = bad;
        } else {
            let signature = &mut fact.signatures[0].signature;
            let bad = String::from_utf8_lossy(&dice.damage(signature.as_bytes())).into_owned();
            if bad.trim_end() == signature.trim_end() {
                continue;
            }
            *signature = bad;
        }
        let reason = denied(&request, &facts, &policy).reason();
        let expected = [
            Reason::ConsentUnsigned,
            Reason::ConsentMissing,
            Reason::ConsentRulesChanged,
            Reason::ConsentOtherInstance,
            Reason::ConsentExpired,
            Reason::ConsentNotYet,
        ];
        assert!(expected.contains(&reason), "{reason}");
    }
}

#[test]
fn a_damaged_policy_is_an_error_or_another_digest() {
    let mut dice = Dice(3);
    let good = policy().digest();
    for round in 0..300 {
        let mut files = FILES.map(|(name, text)| (name, text.to_owned()));
        let which = round % files.len();
        let bad = dice.damage(files[which].1.as_bytes());
        let bad = String::from_utf8_lossy(&bad).into_owned();
        let same = bad == files[which].1;
        files[which].1 = bad;
        let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
        match Policy::load(&files, SCHEMA) {
            Ok(policy) => assert!(same || policy.digest() != good),
            Err(errors) => assert!(errors.0.iter().all(|error| !error.is_empty())),
        }
    }
}

#[test]
fn damaged_cases_are_an_error_or_fail() {
    let policy = policy();
    let good = include_str!("../../../policies/cases.json");
    let mut dice = Dice(4);
    for _ in 0..200 {
        let bad = dice.damage(good.as_bytes());
        // Whatever comes out, it comes out as a value.
        drop(test_cases(&policy, &String::from_utf8_lossy(&bad)));
    }
}

#[test]
fn a_damaged_certificate_never_parses_to_the_same_one() {
    let policy = policy();
    let grant =
        granted(&request("dba", audit_schema::event::ChannelKind::Shell), &facts(&policy), &policy);
    let egress = ["192.0.2.1/32".parse().unwrap()];
    let terms = bastion_core::cert::CertTerms { serial: 7, now: at(0), egress: &egress };
    let content = bastion_core::cert::CertContent::of(&grant, &terms).unwrap();
    let data = |seed| key(seed).public_key().key_data().clone();
    let draft = content.draft(&data(10), &data(11), [1; 32]).unwrap();
    let good = draft.sign(&key(11), &[]).unwrap();
    let bytes = good.to_bytes().unwrap();
    let mut dice = Dice(5);
    for _ in 0..3000 {
        let bad = dice.damage(&bytes);
        if let Ok(certificate) = Certificate::from_bytes(&bad) {
            assert!(certificate == good || bad != bytes);
            let fits = certificate.validate_at(
                u64::try_from(at(0).seconds()).unwrap(),
                &[data(11).fingerprint(ssh_key::HashAlg::Sha256)],
            );
            assert!(fits.is_err() || certificate == good);
        }
    }
}

#[test]
fn hostile_names_and_words_are_refused() {
    let corpus = [
        "",
        " ",
        ".",
        "..",
        "-x",
        "a..b",
        "A",
        "ä",
        "a b",
        "a/b",
        "../a",
        "a\0",
        "a\n",
        "$(id)",
        "`id`",
        "'",
        "\"",
        "a;b",
        "a|b",
        "%00",
        "{{7*7}}",
        "<script>",
        "=1+1",
        "@SUM(1)",
        "\u{202e}gpj",
        "\u{feff}",
        "a\u{200b}",
        "x\u{1b}[2J",
        "0x41\u{0}",
    ];
    for text in corpus {
        assert!(text.parse::<VmName>().is_err(), "{text:?}");
        assert!(text.parse::<Handle>().is_err(), "{text:?}");
        // Free text may hold markup: it is escaped where it is shown. It may not hide or move.
        let hidden = text.chars().any(|c| !bastion_core::text::is_plain(c));
        if hidden || text.trim().is_empty() {
            assert!(text.parse::<FreeText>().is_err(), "{text:?}");
        }
    }
    assert!("x".repeat(64).parse::<VmName>().is_err());
}
