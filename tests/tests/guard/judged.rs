//! The guard's judgement without sshd: every byte of what a thief can change, and nonsense.

use super::forge::{self, Forge, Wish};
use audit_schema::{event::Level, note, receipt::Receipt, time::Timestamp};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bastion_core::{carried::CarriedConsent, cert_blob, revocation::Revocations};
use bastion_guard::{
    config::{Account, Approver, Config, Pinned},
    judge::{Question, judge},
};
use std::time::Instant;

const NOW: i64 = 1_800_000_000;

fn forge() -> Forge {
    Forge {
        origin: "bastion.example".to_owned(),
        customer: "acme".to_owned(),
        instance: "i-1".to_owned(),
        ca: forge::key("ca"),
        log: bastion::ledger::SigningKey::from_bytes(&[7; 32]),
        approver: forge::key("approver"),
    }
}

fn config(forge: &Forge) -> Config {
    let public = |key: &russh::keys::PrivateKey| key.public_key().to_openssh().unwrap();
    let account = |name: &str, level| Account {
        account: name.parse().unwrap(),
        level,
        unix_user: name.to_owned(),
    };
    let pinned = Pinned {
        origin: forge.origin.clone(),
        log_keys: vec![forge.vkey().to_string()],
        user_cas: vec![public(&forge.ca)],
        customer: forge.customer.parse().unwrap(),
        instance: forge.instance.parse().unwrap(),
        accounts: vec![account("ops", Level::Troubleshoot), account("dba", Level::Data)],
        witnesses: None,
        witnessed: Vec::new(),
        approvers: vec![Approver {
            approver: "ap-1".parse().unwrap(),
            key: public(&forge.approver),
        }],
        signatures_needed: 1,
        checkpoint_seconds_max: None,
        revocations: Some("/nowhere".into()),
        revocations_seconds_max: None,
        syslog: None,
    };
    Config::parse(&serde_json::to_string(&pinned).unwrap()).unwrap()
}

fn list(forge: &Forge) -> String {
    let list = Revocations {
        origin: forge.origin.clone(),
        customer: forge.customer.parse().unwrap(),
        version: 1,
        issued: Timestamp::from_seconds(NOW - 5),
        consents: [("t-other".parse().unwrap(), 1)].into(),
        instances: ["i-0".parse().unwrap()].into(),
    };
    note::sign(&list.to_text().unwrap(), &forge.origin, &forge.log).unwrap()
}

fn blob(forge: &Forge, wish: &Wish) -> Vec<u8> {
    forge.certificate(wish, &forge::key("thief")).to_bytes().unwrap()
}

fn judged(config: &Config, blob: &[u8], list: &str) -> Result<String, String> {
    let certificate = STANDARD.encode(blob);
    let question =
        Question { unix_user: "dba", kind: cert_blob::CERT_TYPE, certificate: &certificate };
    let now = Timestamp::from_seconds(NOW);
    judge(&question, config, || Ok(list.to_owned()), now).map_err(|refused| refused.to_string())
}

#[test]
fn a_changed_byte_of_the_certificate_or_of_the_list_opens_nothing() {
    let forge = forge();
    let (config, list) = (config(&forge), list(&forge));
    let wish = Wish::good(&forge, Timestamp::from_seconds(NOW));
    let good = blob(&forge, &wish);
    assert_eq!(judged(&config, &good, &list).unwrap(), "data:dba@i-1");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(judged(&config, &bad, &list).is_err(), "byte {at} of the certificate");
    }
    for at in 0..list.len() {
        let mut bad = list.clone().into_bytes();
        bad[at] ^= 1 << (at % 7);
        let bad = String::from_utf8_lossy(&bad).into_owned();
        assert!(judged(&config, &good, &bad).is_err(), "byte {at} of the list");
    }
}

#[test]
fn a_receipt_damaged_by_whoever_holds_the_ca_key_opens_nothing() {
    let forge = forge();
    let (config, list) = (config(&forge), list(&forge));
    let good = Wish::good(&forge, Timestamp::from_seconds(NOW));
    // The CA signs the damaged receipt anew each time: only the receipt itself can tell.
    for at in 0..3_000 {
        let wish = Wish { damage: Some(at), ..good.clone() };
        let judged = judged(&config, &blob(&forge, &wish), &list);
        assert!(judged.is_err(), "byte {at} of the receipt");
    }
}

#[test]
fn nonsense_is_refused_without_a_panic() {
    let forge = forge();
    let (config, list) = (config(&forge), list(&forge));
    let wish = Wish::good(&forge, Timestamp::from_seconds(NOW));
    let good = blob(&forge, &wish);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let bad = random.damage(&good);
        assert!(bad == good || judged(&config, &bad, &list).is_err());
        let text = String::from_utf8_lossy(&random.damage(list.as_bytes())).into_owned();
        if let Ok(parsed) = Revocations::parse_text(&text) {
            assert_eq!(parsed.to_text().unwrap(), text);
        }
    }
    let authorities = &config.user_cas;
    let names = ["receipt@bastion.example", "consent@bastion.example"];
    let certificate = cert_blob::read(&good, authorities, &names).unwrap();
    for _ in 0..20_000 {
        let receipt = random.damage(certificate.late[names[0]].as_bytes());
        if let Ok(text) = String::from_utf8(receipt)
            && let Ok(parsed) = Receipt::parse(&text)
        {
            assert_eq!(parsed.to_text().unwrap(), text);
        }
        let consent = random.damage(certificate.late[names[1]].as_bytes());
        if let Ok(text) = String::from_utf8(consent)
            && let Ok(parsed) = CarriedConsent::parse(&text)
        {
            assert_eq!(parsed.to_text().unwrap(), text);
        }
    }
}

/// Measured, not judged: machines differ. What the program takes besides (its start) is in
/// `bastion-guard --check`.
#[test]
fn a_judgement_takes_this_long() {
    let forge = forge();
    let (config, list) = (config(&forge), list(&forge));
    let good = blob(&forge, &Wish::good(&forge, Timestamp::from_seconds(NOW)));
    let began = Instant::now();
    let times = 200;
    for _ in 0..times {
        judged(&config, &good, &list).unwrap();
    }
    println!("one judgement: {} µs", began.elapsed().as_micros() / times);
}

/// Marsaglia's xorshift64*, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// One to four small injuries.
    fn damage(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bad = good.to_vec();
        for _ in 0..=self.below(4) {
            let (at, to) = (self.below(bad.len() + 1), self.below(bad.len() + 1));
            match self.below(6) {
                0 => bad.insert(at, self.below(256) as u8),
                1 if at < bad.len() => drop(bad.remove(at)),
                2 if at < bad.len() => bad[at] ^= 1 << self.below(8),
                3 if at < bad.len() && to < bad.len() => bad.swap(at, to),
                4 => bad.truncate(at.max(bad.len().saturating_sub(40))),
                _ if at < to => {
                    let copy = bad[at..to.min(at + 30)].to_vec();
                    bad.splice(to..to, copy);
                }
                _ => {}
            }
        }
        bad
    }
}
