//! Certificates: ours as OpenSSH reads them, and those of VMs and operators as OpenSSH makes them.
#![allow(clippy::unwrap_used)] // a panic is how a test fails
#![allow(clippy::disallowed_methods)] // ssh-keygen works on files

mod keygen;
mod world;

use audit_schema::{event::ChannelKind, hash::Hash, time::Timestamp};
use bastion_core::{
    cert::{CertContent, CertError, CertTerms, Draft},
    hostcert::{self, BadCertificate, HostCheck},
    id::InstanceId,
    operator_cert::{self, OperatorCheck},
};
use keygen::{Folder, RealKey, keygen, printed};
use ssh_key::{Certificate, public::KeyData};
use std::fs;
use world::*;

// ---- the certificate of a lease -------------------------------------------------------------

fn content(account: &str, kind: ChannelKind) -> CertContent {
    let policy = policy();
    let grant = granted(&request(account, kind), &facts(&policy), &policy);
    let egress = ["192.0.2.1/32".parse().unwrap(), "2001:db8::/64".parse().unwrap()];
    CertContent::of(&grant, &CertTerms { serial: 41, now: at(0), egress: &egress }).unwrap()
}

fn public(seed: u8) -> KeyData {
    key(seed).public_key().key_data().clone()
}

fn draft(account: &str, kind: ChannelKind) -> Draft {
    content(account, kind).draft(&public(10), &public(11), [9; 32]).unwrap()
}

#[test]
fn openssh_reads_what_the_grant_says() {
    let late = [("receipt@bastion.example".to_owned(), "seq=41".to_owned())];
    let certificate = draft("dba", ChannelKind::Shell).sign(&key(11), &late).unwrap();
    let folder = Folder::new();
    let file = folder.path("key-cert.pub");
    fs::write(&file, certificate.to_openssh().unwrap()).unwrap();
    let text = printed(&["-L", "-f", file.to_str().unwrap()]);
    for line in [
        "Type: ssh-ed25519-cert-v01@openssh.com user certificate",
        "Key ID: \"acme/acme-pg/i-acme1/t-1042/l-1\"",
        "Serial: 41",
        "data:dba@i-acme1",
        "source-address 192.0.2.1/32,2001:db8::/64",
        "permit-pty",
        "receipt@bastion.example UNKNOWN OPTION",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    for absent in ["force-command", "permit-port-forwarding", "permit-agent", "permit-X11"] {
        assert!(!text.contains(absent), "{absent}\n{text}");
    }
}

#[test]
fn a_certificate_permits_what_its_channel_needs_and_no_more() {
    let table = [
        ("ops", ChannelKind::Shell, true, None),
        ("ops", ChannelKind::Exec, false, None),
        ("ops", ChannelKind::Sftp, false, Some("internal-sftp")),
        ("dba", ChannelKind::Sftp, false, Some("internal-sftp")),
    ];
    for (account, kind, pty, command) in table {
        let content = content(account, kind);
        assert_eq!(content.permit_pty, pty, "{account} {kind:?}");
        assert_eq!(content.force_command.as_deref(), command, "{account} {kind:?}");
        let certificate = draft(account, kind).sign(&key(11), &[]).unwrap();
        assert_eq!(certificate.valid_principals().len(), 1);
        let names: Vec<_> = certificate.extensions().keys().cloned().collect();
        assert_eq!(names, if pty { vec!["permit-pty"] } else { vec![] }, "{account} {kind:?}");
    }
    assert_eq!(content("ops", ChannelKind::Exec).key_id, "acme/acme-pg/i-acme1/-/l-1");
    assert_eq!(content("ops", ChannelKind::Exec).principal, "troubleshoot:ops@i-acme1");
}

#[test]
fn validity_is_one_login_and_never_beyond_the_deadline() {
    let long = content("dba", ChannelKind::Exec);
    assert_eq!((long.valid_after, long.valid_before), (at(-120), at(300)));

    let policy = policy();
    let mut terms = terms();
    terms.not_after = at(100);
    let mut facts = facts(&policy);
    facts.consents = vec![consent(&statement(&ticket(terms), &policy))];
    let grant = granted(&request("dba", ChannelKind::Exec), &facts, &policy);
    let egress = ["192.0.2.1/32".parse().unwrap()];
    let of = |serial, now, egress| CertContent::of(&grant, &CertTerms { serial, now, egress });
    assert_eq!(of(7, at(0), &egress).unwrap().valid_before, at(100));
    assert_eq!(of(7, at(100), &egress), Err(CertError::Over));
    assert_eq!(of(0, at(0), &egress), Err(CertError::Serial));
    assert_eq!(of(7, at(0), &[]), Err(CertError::NoEgress));
}

#[test]
fn the_hashed_bytes_are_the_certificate_without_signature_and_late_extensions() {
    let draft = draft("dba", ChannelKind::Shell);
    let plain = draft.sign(&key(11), &[]).unwrap();
    let blob = plain.to_bytes().unwrap();
    assert!(blob.starts_with(draft.bytes()));
    assert_eq!(blob.len() - draft.bytes().len(), 4 + 4 + 11 + 4 + 64, "only the signature follows");
    assert_eq!(draft.digest(), Hash::of(draft.bytes()));

    // From a certificate found on a VM: take the late extensions out, and the digest is there.
    let late = [("receipt@bastion.example".to_owned(), "x".to_owned())];
    let full = draft.sign(&key(11), &late).unwrap();
    assert!(!full.to_bytes().unwrap().starts_with(draft.bytes()));
    let again = CertContent {
        serial: full.serial(),
        key_id: full.key_id().into(),
        principal: full.valid_principals()[0].clone(),
        valid_after: Timestamp::from_seconds(i64::try_from(full.valid_after()).unwrap()),
        valid_before: Timestamp::from_seconds(i64::try_from(full.valid_before()).unwrap()),
        source_address: full.critical_options()["source-address"].clone(),
        force_command: full.critical_options().get("force-command").cloned(),
        permit_pty: full.extensions().contains_key("permit-pty"),
        permit_port_forwarding: false,
        permit_agent_forwarding: false,
        permit_x11_forwarding: false,
    };
    let nonce = full.nonce().try_into().unwrap();
    let again = again.draft(full.public_key(), full.signature_key(), nonce).unwrap();
    assert_eq!(again.digest(), draft.digest());
}

#[test]
fn only_the_ca_of_the_draft_signs_and_only_what_sshd_takes() {
    let draft = draft("dba", ChannelKind::Exec);
    assert_eq!(draft.sign(&key(12), &[]), Err(CertError::OtherAuthority));
    let long = [("consent@x".to_owned(), "y".repeat(16 * 1024))];
    assert_eq!(draft.sign(&key(11), &long), Err(CertError::Extensions));
    let bare = [("permit-port-forwarding".to_owned(), String::new())];
    assert_eq!(draft.sign(&key(11), &bare), Err(CertError::Extensions));
}

// ---- certificates of others -----------------------------------------------------------------

/// A key certified by a CA with ssh-keygen's own options.
fn certified(ca: &RealKey, kind: &[&str], options: &[&str]) -> Certificate {
    let key = RealKey::new(kind);
    let (ca, public) = (ca.folder.path("key"), key.folder.path("key.pub"));
    let base = ["-q", "-s", ca.to_str().unwrap(), "-I", "id"];
    keygen(&[&base, options, &[public.to_str().unwrap()]].concat(), None);
    let text = fs::read_to_string(key.folder.path("key-cert.pub")).unwrap();
    Certificate::from_openssh(&text).unwrap()
}

const VALID: &str = "20260101000000Z:20280101000000Z";

fn host(certificate: &Certificate, ca: &RealKey) -> Result<hostcert::HostIdentity, BadCertificate> {
    let instance: InstanceId = "i-acme1".parse().unwrap();
    let authorities = [ca.data()];
    let now = at(0);
    hostcert::check(&HostCheck { certificate, authorities: &authorities, instance: &instance, now })
}

#[test]
fn a_vm_proves_which_instance_it_is() {
    let ca = RealKey::new(&["ed25519"]);
    for kind in [&["ed25519"][..], &["ecdsa", "-b", "384"], &["rsa", "-b", "3072"]] {
        let names = ["-h", "-n", "i-acme1,pg-1.acme", "-V", VALID, "-z", "9"];
        let identity = host(&certified(&ca, kind, &names), &ca).unwrap();
        assert_eq!(identity.serial, 9);
        assert!(identity.fingerprint.starts_with("SHA256:"));
    }
    let ca = RealKey::new(&["rsa", "-b", "3072"]);
    assert!(
        host(&certified(&ca, &["ed25519"], &["-h", "-n", "i-acme1", "-V", VALID]), &ca).is_ok()
    );
}

#[test]
fn a_vm_that_proves_anything_else_is_refused() {
    use BadCertificate as B;
    let ca = RealKey::new(&["ed25519"]);
    let other = RealKey::new(&["ed25519"]);
    let weak = RealKey::new(&["rsa", "-b", "2048"]);
    let one = |options: &[&str]| host(&certified(&ca, &["ed25519"], options), &ca);
    let refused = |what: Result<_, B>, right: fn(&B) -> bool, name: &str| {
        assert!(what.as_ref().is_err_and(right), "{name}: {what:?}");
    };
    let names = ["-h", "-n", "i-acme1", "-V", VALID];
    refused(one(&["-n", "i-acme1", "-V", VALID]), |e| matches!(e, B::Type { .. }), "a user's");
    refused(one(&["-h", "-V", VALID]), |e| *e == B::NoPrincipal, "for everybody");
    refused(
        one(&["-h", "-n", "pg-1.acme", "-V", VALID]),
        |e| matches!(e, B::Principal(_)),
        "by name",
    );
    refused(
        one(&["-h", "-n", "i-acme", "-V", VALID]),
        |e| matches!(e, B::Principal(_)),
        "a prefix",
    );
    refused(
        one(&["-h", "-n", "i-acme2", "-V", VALID]),
        |e| matches!(e, B::Principal(_)),
        "another",
    );
    let past = ["-h", "-n", "i-acme1", "-V", "20250101:20260101"];
    refused(one(&past), |e| *e == B::Over, "over");
    let future = ["-h", "-n", "i-acme1", "-V", "20270101:20280101"];
    refused(one(&future), |e| *e == B::NotYet, "not yet");
    let critical = [&names[..], &["-O", "critical:x@example.com=1"]].concat();
    refused(one(&critical), |e| matches!(e, B::CriticalOption(_)), "a critical option");
    let foreign = certified(&other, &["ed25519"], &names);
    refused(host(&foreign, &ca), |e| matches!(e, B::Authority(_)), "another CA");
    let small = certified(&ca, &["rsa", "-b", "2048"], &names);
    refused(host(&small, &ca), |e| matches!(e, B::Weak(_)), "a weak host key");
    let by_weak = certified(&weak, &["ed25519"], &names);
    refused(host(&by_weak, &weak), |e| matches!(e, B::Weak(_)), "a weak CA");
    let sha1 = [&["-t", "ssh-rsa"], &names[..]].concat();
    let strong = RealKey::new(&["rsa", "-b", "3072"]);
    let by_sha1 = certified(&strong, &["ed25519"], &sha1);
    refused(host(&by_sha1, &strong), |e| matches!(e, B::Weak(_)), "a CA's SHA-1");
}

#[test]
fn every_altered_byte_of_a_host_certificate_is_found() {
    let ca = RealKey::new(&["ed25519"]);
    let good = certified(&ca, &["ed25519"], &["-h", "-n", "i-acme1", "-V", VALID]);
    assert!(host(&good, &ca).is_ok());
    let blob = good.to_bytes().unwrap();
    for index in 0..blob.len() {
        let mut altered = blob.clone();
        altered[index] ^= 1;
        if let Ok(certificate) = Certificate::from_bytes(&altered) {
            assert!(host(&certificate, &ca).is_err(), "byte {index}");
        }
    }
}

fn operator(
    certificate: &Certificate,
    ca: &RealKey,
    source: &str,
) -> Result<operator_cert::OperatorIdentity, BadCertificate> {
    operator_cert::check(&OperatorCheck {
        certificate,
        authorities: &[ca.data()],
        names: &["olga", "op-olga"],
        source: source.parse().unwrap(),
        now: at(0),
    })
}

#[test]
fn an_operator_certificate_settles_who_it_names_from_where_it_says() {
    let ca = RealKey::new(&["ed25519"]);
    let one = |options: &[&str]| {
        let options = [options, &["-V", VALID]].concat();
        certified(&ca, &["ed25519"], &options)
    };
    let plain = one(&["-n", "olga,dba"]);
    assert_eq!(operator(&plain, &ca, "198.51.100.7").unwrap().name, "olga");
    assert_eq!(operator(&one(&["-n", "op-olga"]), &ca, "::1").unwrap().name, "op-olga");
    let bound = one(&["-n", "olga", "-O", "source-address=198.51.100.0/24,2001:db8::1/128"]);
    for (source, allowed) in [
        ("198.51.100.7", true),
        ("::ffff:198.51.100.7", true),
        ("2001:db8::1", true),
        ("198.51.101.7", false),
        ("2001:db8::2", false),
    ] {
        let verdict = operator(&bound, &ca, source);
        assert_eq!(verdict.is_ok(), allowed, "{source}: {verdict:?}");
    }
}

#[test]
fn an_operator_certificate_of_any_other_shape_is_refused() {
    use BadCertificate as B;
    let ca = RealKey::new(&["ed25519"]);
    let one = |options: &[&str]| {
        let options = [options, &["-V", VALID]].concat();
        operator(&certified(&ca, &["ed25519"], &options), &ca, "198.51.100.7")
    };
    type Case = (&'static str, &'static [&'static str], fn(&B) -> bool);
    let table: [Case; 6] = [
        ("a host's", &["-h", "-n", "olga"], |e| matches!(e, B::Type { .. })),
        ("for everybody", &[], |e| *e == B::NoPrincipal),
        ("somebody else's", &["-n", "otto"], |e| matches!(e, B::Principal(_))),
        ("a forced command", &["-n", "olga", "-O", "force-command=/bin/date"], |e| {
            matches!(e, B::CriticalOption(_))
        }),
        ("verification required", &["-n", "olga", "-O", "verify-required"], |e| {
            matches!(e, B::CriticalOption(_))
        }),
        ("an unknown one", &["-n", "olga", "-O", "critical:x@y=1"], |e| {
            matches!(e, B::CriticalOption(_))
        }),
    ];
    for (name, options, right) in table {
        let verdict = one(options);
        assert!(verdict.as_ref().is_err_and(right), "{name}: {verdict:?}");
    }
    let other = RealKey::new(&["ed25519"]);
    let foreign = certified(&other, &["ed25519"], &["-n", "olga", "-V", VALID]);
    let verdict = operator(&foreign, &ca, "198.51.100.7");
    assert!(matches!(verdict, Err(B::Authority(_))), "{verdict:?}");
    let over = certified(&ca, &["ed25519"], &["-n", "olga", "-V", "20250101:20260101"]);
    assert_eq!(operator(&over, &ca, "198.51.100.7"), Err(B::Over));
}

#[test]
fn a_source_address_that_we_cannot_read_refuses() {
    let ca = key(11);
    for list in ["10.0.0.0/8,!10.1.0.0/16", "10.0.*", "", "10.0.0.0/8, 10.0.0.1", "10.0.0.0/33"] {
        let mut builder =
            ssh_key::certificate::Builder::new([1; 32], public(10), 0, u64::MAX - 1).unwrap();
        builder.cert_type(ssh_key::certificate::CertType::User).unwrap();
        builder.valid_principal("olga").unwrap();
        builder.critical_option("source-address", list).unwrap();
        let verdict = operator_cert::check(&OperatorCheck {
            certificate: &builder.sign(&ca).unwrap(),
            authorities: &[public(11)],
            names: &["olga"],
            source: "10.0.0.1".parse().unwrap(),
            now: at(0),
        });
        assert_eq!(verdict, Err(BadCertificate::SourceUnreadable), "{list:?}");
    }
}
