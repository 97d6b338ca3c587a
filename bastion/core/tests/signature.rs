//! Every way in which a signature can be real and still not count, with signatures made by the
//! real ssh-keygen where it can make them, and by hand where it refuses to.
#![allow(clippy::unwrap_used)] // a panic is how a test fails
#![allow(clippy::disallowed_methods)] // ssh-keygen works on files

mod keygen;
mod world;

use audit_schema::hash::Hash;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bastion_core::{
    algorithm::WeakKey,
    consent::{
        ApproverKey, BadSignature, BadStatement, SignatureCheck, Signed, Statement,
        verify_signature,
    },
    statement::namespace,
};
use ed25519_dalek::Signer as _;
use keygen::{RealKey, armor, blob, keygen, string};
use ssh_key::{
    Algorithm, HashAlg, LineEnding, PrivateKey, Signature, SshSig,
    private::{EcdsaKeypair, KeypairData},
    public::{Ed25519PublicKey, KeyData, SkEcdsaSha2NistP256, SkEd25519},
};
use std::fs;
use world::*;

fn enrolled(key: &RealKey) -> ApproverKey {
    ApproverKey { public_key: key.public.clone(), ..approver_key("ap-anna", 1) }
}

fn bytes() -> Vec<u8> {
    statement(&ticket(terms()), &policy()).compose().unwrap()
}

fn check(statement: &[u8], signature: &str, key: &ApproverKey) -> Result<Signed, BadSignature> {
    verify_signature(&SignatureCheck {
        statement,
        signature,
        origin: ORIGIN,
        customer: &"acme".parse().unwrap(),
        ticket: &"t-1042".parse().unwrap(),
        revision: 1,
        keys: std::slice::from_ref(key),
        decided_at: at(-30),
        signed_already: &[],
    })
}

// ---- what must hold -------------------------------------------------------------------------

#[test]
fn every_algorithm_of_ssh_keygen_that_counts_verifies() {
    for kind in [
        &["ed25519"][..],
        &["ecdsa", "-b", "256"],
        &["ecdsa", "-b", "384"],
        &["ecdsa", "-b", "521"],
        &["rsa", "-b", "3072"],
    ] {
        let key = RealKey::new(kind);
        let statement = bytes();
        for hash in ["hashalg=sha512", "hashalg=sha256"] {
            let signature = key.sign(&statement, &namespace(ORIGIN), &[hash]);
            let signed = check(&statement, &signature, &enrolled(&key));
            let signed = signed.unwrap_or_else(|e| panic!("{kind:?} {hash}: {e}"));
            assert_eq!(signed.approver().as_str(), "ap-anna");
            assert_eq!(signed.statement_digest(), Hash::of(&statement));
            assert_eq!(signed.user_present(), None);
            // The last newline of the file may be lost on the way.
            assert!(check(&statement, signature.trim_end(), &enrolled(&key)).is_ok());
        }
    }
}

#[test]
fn ssh_keygen_verifies_what_we_verify() {
    let key = RealKey::new(&["ed25519"]);
    let statement = bytes();
    key.sign(&statement, &namespace(ORIGIN), &[]);
    let allowed = key.folder.path("allowed");
    let line = format!("anna@acme namespaces=\"{}\" {}", namespace(ORIGIN), key.public);
    fs::write(&allowed, line).unwrap();
    let signature = key.folder.path("statement.json.sig");
    let args = [
        "-Y",
        "verify",
        "-f",
        allowed.to_str().unwrap(),
        "-I",
        "anna@acme",
        "-n",
        &namespace(ORIGIN),
        "-s",
        signature.to_str().unwrap(),
    ];
    keygen(&args, Some(&key.folder.path("statement.json")));
}

// ---- pitfall: canonical bytes ---------------------------------------------------------------

#[test]
fn pitfall_one_newline_more_is_other_bytes() {
    let key = RealKey::new(&["ed25519"]);
    let signature = key.sign(&bytes(), &namespace(ORIGIN), &[]);
    let longer = [bytes(), b"\n".to_vec()].concat();
    assert_eq!(check(&longer, &signature, &enrolled(&key)), Err(BadSignature::Mismatch));
}

#[test]
fn pitfall_every_altered_byte_is_found() {
    let key = approver_key("ap-anna", 1);
    let statement = bytes();
    let signature = sign(&statement, 1);
    for index in 0..statement.len() {
        let mut altered = statement.clone();
        altered[index] ^= 1;
        let verdict = check(&altered, &signature, &key);
        assert_eq!(verdict, Err(BadSignature::Mismatch), "byte {index}");
    }
}

#[test]
fn pitfall_another_spelling_of_the_same_fields_is_no_statement_even_when_signed() {
    let text = String::from_utf8(bytes()).unwrap();
    let spellings = [
        ("white space", text.replacen(':', ": ", 1)),
        ("a newline after it", format!("{text}\n")),
        ("a duplicate key", text.replacen('{', "{\"account\":\"root\",", 1)),
        ("an unknown field", text.replacen("\"case\"", "\"aa\":1,\"case\"", 1)),
        ("an unknown field within", text.replacen("{\"instance\"", "{\"a\":1,\"instance\"", 1)),
        ("a float", text.replacen("\"sessions_max\":2", "\"sessions_max\":2.0", 1)),
        ("an exponent", text.replacen("\"sessions_max\":2", "\"sessions_max\":2e0", 1)),
        ("an integer of 2^53", text.replacen("\"revision\":1", "\"revision\":9007199254740992", 1)),
        ("a null", text.replacen("\"case\":\"ZD-1042\"", "\"case\":null", 1)),
        ("an escape", text.replacen("ZD-1042", "\\u005aD-1042", 1)),
        ("not NFC", text.replacen("ZD-1042", "e\u{301}", 1)),
        ("a bidirectional override", text.replacen("ZD-1042", "ZD\u{202e}1042", 1)),
        ("a control character", text.replacen("ZD-1042", "ZD\\u001b[2J", 1)),
        ("a byte order mark", format!("\u{feff}{text}")),
        ("another decision", text.replacen("\"grant\"", "\"refuse\"", 1)),
        ("another schema", text.replacen("operator-consent/v1", "operator-consent/v2", 1)),
        (
            "operators out of order",
            text.replacen(
                "\"operators\":[",
                "\"operators\":[{\"handle\":\"zoe\",\"id\":\"op-zoe\"},",
                1,
            ),
        ),
        ("a window of two days", text.replace("2026-11-18T12", "2026-11-20T12")),
    ];
    for (name, spelled) in spellings {
        assert_ne!(spelled, text, "{name}: the test replaces nothing");
        let signature = sign(spelled.as_bytes(), 1);
        let verdict = check(spelled.as_bytes(), &signature, &approver_key("ap-anna", 1));
        assert!(matches!(verdict, Err(BadSignature::Statement(_))), "{name}: {verdict:?}");
    }
}

// ---- pitfall: what is signed ----------------------------------------------------------------

#[test]
fn pitfall_the_whole_statement_is_signed_and_says_where_it_holds() {
    let value: serde_json::Value = serde_json::from_slice(&bytes()).unwrap();
    for field in [
        "account",
        "case",
        "channel_rules",
        "customer",
        "decision",
        "instances",
        "justification",
        "level",
        "nonce",
        "not_after",
        "not_before",
        "opened_by",
        "operators",
        "origin",
        "policy",
        "reason",
        "recording",
        "recording_access",
        "revision",
        "schema",
        "sessions_max",
        "signatures_needed",
        "summary",
        "ticket",
    ] {
        assert!(value.get(field).is_some(), "{field}");
    }
    assert_eq!(Statement::parse(&bytes()).unwrap().compose().unwrap(), bytes());
}

#[test]
fn pitfall_a_bare_yes_is_no_statement() {
    let signature = sign(b"approve t-1042\n", 1);
    let verdict = check(b"approve t-1042\n", &signature, &approver_key("ap-anna", 1));
    assert!(matches!(verdict, Err(BadSignature::Statement(_))), "{verdict:?}");
}

// ---- pitfall: replay ------------------------------------------------------------------------

#[test]
fn pitfall_a_statement_of_another_ticket_does_not_count() {
    let mut other = ticket(terms());
    other.id = "t-2000".parse().unwrap();
    let statement = statement(&other, &policy()).compose().unwrap();
    let verdict = check(&statement, &sign(&statement, 1), &approver_key("ap-anna", 1));
    assert_eq!(verdict, Err(BadSignature::OtherTicket("t-2000".parse().unwrap())));
}

#[test]
fn pitfall_an_old_revision_does_not_count() {
    let statement = bytes();
    let key = approver_key("ap-anna", 1);
    let verdict = verify_signature(&SignatureCheck {
        statement: &statement,
        signature: &sign(&statement, 1),
        origin: ORIGIN,
        customer: &"acme".parse().unwrap(),
        ticket: &"t-1042".parse().unwrap(),
        revision: 2,
        keys: &[key],
        decided_at: at(-30),
        signed_already: &[],
    });
    assert_eq!(verdict, Err(BadSignature::OldRevision { found: 1, current: 2 }));
}

#[test]
fn pitfall_one_approver_counts_once_whatever_key_they_use() {
    let statement = bytes();
    let keys = [approver_key("ap-anna", 1), approver_key("ap-anna", 2)];
    let verdict = verify_signature(&SignatureCheck {
        statement: &statement,
        signature: &sign(&statement, 2),
        origin: ORIGIN,
        customer: &"acme".parse().unwrap(),
        ticket: &"t-1042".parse().unwrap(),
        revision: 1,
        keys: &keys,
        decided_at: at(-30),
        signed_already: &["ap-anna".parse().unwrap()],
    });
    assert_eq!(verdict, Err(BadSignature::Repeated));
}

// ---- pitfall: cross-environment, cross-customer ---------------------------------------------

#[test]
fn pitfall_another_namespace_does_not_count() {
    let key = RealKey::new(&["ed25519"]);
    let statement = bytes();
    for wrong in ["file", "git", "operator-consent@other.example", "operator-consent@"] {
        let signature = key.sign(&statement, wrong, &[]);
        let verdict = check(&statement, &signature, &enrolled(&key));
        assert!(matches!(verdict, Err(BadSignature::Namespace { .. })), "{wrong}: {verdict:?}");
    }
}

#[test]
fn pitfall_an_empty_namespace_does_not_parse() {
    let statement = bytes();
    let key = key(1);
    let inner = Signature::new(Algorithm::Ed25519, vec![0; 64]).unwrap();
    let inner: Vec<u8> = inner.try_into().unwrap();
    let forged = armor(&blob(key.public_key().key_data(), "", "sha512", &inner));
    let verdict = check(&statement, &forged, &approver_key("ap-anna", 1));
    assert_eq!(verdict, Err(BadSignature::Armor));
}

#[test]
fn pitfall_another_origin_in_the_statement_does_not_count() {
    let mut statement = statement(&ticket(terms()), &policy());
    statement.origin = "other.example".into();
    let statement = statement.compose().unwrap();
    let verdict = check(&statement, &sign(&statement, 1), &approver_key("ap-anna", 1));
    assert_eq!(verdict, Err(BadSignature::OtherOrigin));
}

#[test]
fn pitfall_another_customer_in_the_statement_does_not_count() {
    let mut ticket = ticket(terms());
    ticket.customer = "globex".parse().unwrap();
    let statement = statement(&ticket, &policy()).compose().unwrap();
    let verdict = check(&statement, &sign(&statement, 1), &approver_key("ap-anna", 1));
    assert_eq!(verdict, Err(BadSignature::OtherCustomer));
}

// ---- pitfall: confused approver -------------------------------------------------------------

#[test]
fn pitfall_a_summary_that_says_something_else_is_refused_even_when_signed() {
    let text = String::from_utf8(bytes()).unwrap();
    let lie = text.replacen("Where: pg-1.acme", "Where: pg-9.acme", 1);
    assert_ne!(lie, text);
    let verdict = check(lie.as_bytes(), &sign(lie.as_bytes(), 1), &approver_key("ap-anna", 1));
    assert_eq!(verdict, Err(BadSignature::Statement(BadStatement::Summary)));
}

// ---- pitfall: key enrolment, revocation -----------------------------------------------------

#[test]
fn pitfall_a_key_counts_from_its_enrolment_to_its_removal() {
    let statement = bytes();
    let signature = sign(&statement, 1);
    let mut key = approver_key("ap-anna", 1);
    key.added_at = at(-29);
    assert!(matches!(check(&statement, &signature, &key), Err(BadSignature::KeyNotInForce(_))));
    key.added_at = at(-30);
    assert!(check(&statement, &signature, &key).is_ok());
    key.removed_at = Some(at(-30));
    assert!(matches!(check(&statement, &signature, &key), Err(BadSignature::KeyNotInForce(_))));
    // Removed after the decision: what was signed before stays verifiable.
    key.removed_at = Some(at(-29));
    assert!(check(&statement, &signature, &key).is_ok());
}

#[test]
fn pitfall_a_key_is_known_by_its_data_not_by_the_name_it_claims() {
    let statement = bytes();
    let mut stranger = approver_key("ap-anna", 1);
    stranger.public_key = format!("{} ap-anna", key(2).public_key().to_openssh().unwrap());
    let verdict = check(&statement, &sign(&statement, 1), &stranger);
    assert!(matches!(verdict, Err(BadSignature::UnknownKey(_))));
}

#[test]
fn pitfall_a_certified_key_is_not_the_enrolled_key() {
    let key = RealKey::new(&["ed25519"]);
    let ca = RealKey::new(&["ed25519"]);
    let public = key.folder.path("key.pub");
    let ca_key = ca.folder.path("key");
    keygen(
        &["-q", "-s", ca_key.to_str().unwrap(), "-I", "x", "-n", "anna", public.to_str().unwrap()],
        None,
    );
    fs::rename(key.folder.path("key-cert.pub"), &public).unwrap();
    let statement = bytes();
    let signature = key.sign(&statement, &namespace(ORIGIN), &[]);
    assert!(check(&statement, &signature, &enrolled(&ca)).is_err());
}

// ---- pitfall: algorithms --------------------------------------------------------------------

#[test]
fn pitfall_rsa_of_2048_bits_does_not_count() {
    let key = RealKey::new(&["rsa", "-b", "2048"]);
    let statement = bytes();
    let signature = key.sign(&statement, &namespace(ORIGIN), &[]);
    let verdict = check(&statement, &signature, &enrolled(&key));
    assert_eq!(verdict, Err(BadSignature::Weak(WeakKey::RsaSize(2048))));
}

#[test]
fn pitfall_rsa_with_sha1_does_not_count() {
    let key = RealKey::new(&["rsa", "-b", "3072"]);
    let statement = bytes();
    let good = SshSig::from_pem(key.sign(&statement, &namespace(ORIGIN), &[])).unwrap();
    let inner = [string(b"ssh-rsa"), string(good.signature_bytes())].concat();
    let forged = armor(&blob(good.public_key(), &namespace(ORIGIN), "sha512", &inner));
    let verdict = check(&statement, &forged, &enrolled(&key));
    assert!(matches!(verdict, Err(BadSignature::Weak(_) | BadSignature::Armor)), "{verdict:?}");
}

#[test]
fn pitfall_dsa_does_not_count() {
    // OpenSSH 10 no longer makes such keys; the parts are those of a real one in shape.
    let number = |bytes: usize| string(&[&[0x00, 0x80], &vec![1; bytes - 1][..]].concat());
    let public = [string(b"ssh-dss"), number(128), number(20), number(128), number(128)].concat();
    let inner = [string(b"ssh-dss"), string(&[1; 40])].concat();
    let forged = [
        b"SSHSIG".to_vec(),
        1_u32.to_be_bytes().to_vec(),
        string(&public),
        string(namespace(ORIGIN).as_bytes()),
        string(b""),
        string(b"sha512"),
        string(&inner),
    ]
    .concat();
    let verdict = check(&bytes(), &armor(&forged), &approver_key("ap-anna", 1));
    assert!(matches!(verdict, Err(BadSignature::Weak(_) | BadSignature::Armor)), "{verdict:?}");
}

#[test]
fn pitfall_a_hash_outside_sha2_does_not_parse() {
    let statement = bytes();
    let good = SshSig::from_pem(sign(&statement, 1)).unwrap();
    let inner: Vec<u8> = good.signature().clone().try_into().unwrap();
    for hash in ["sha1", "md5", ""] {
        let forged = armor(&blob(good.public_key(), &namespace(ORIGIN), hash, &inner));
        let verdict = check(&statement, &forged, &approver_key("ap-anna", 1));
        assert_eq!(verdict, Err(BadSignature::Armor), "{hash}");
    }
}

#[test]
fn pitfall_another_version_or_reserved_bytes_do_not_count() {
    let statement = bytes();
    let good = SshSig::from_pem(sign(&statement, 1)).unwrap();
    let inner: Vec<u8> = good.signature().clone().try_into().unwrap();
    let whole = blob(good.public_key(), &namespace(ORIGIN), "sha512", &inner);
    assert!(check(&statement, &armor(&whole), &approver_key("ap-anna", 1)).is_ok());
    for version in [0_u8, 2] {
        let mut other = whole.clone();
        other[9] = version;
        let verdict = check(&statement, &armor(&other), &approver_key("ap-anna", 1));
        assert_eq!(verdict, Err(BadSignature::Armor), "version {version}");
    }
    let text = namespace(ORIGIN);
    let from = [string(text.as_bytes()), string(b"")].concat();
    let at = whole.windows(from.len()).position(|w| w == from).unwrap() + from.len() - 4;
    let reserved = [&whole[..at], &string(b"x")[..], &whole[at + 4..]].concat();
    let verdict = check(&statement, &armor(&reserved), &approver_key("ap-anna", 1));
    assert_eq!(verdict, Err(BadSignature::Armor));
}

// ---- pitfall: security keys -----------------------------------------------------------------

/// What a security key signs: the application's hash, flags, counter, the message's hash.
fn sk_message(application: &str, flags: u8, statement: &[u8]) -> Vec<u8> {
    let hash = |bytes: &[u8]| Hash::of(bytes).as_bytes().to_vec();
    let enveloped = SshSig::signed_data(&namespace(ORIGIN), HashAlg::Sha512, statement).unwrap();
    [hash(application.as_bytes()), vec![flags], vec![0, 0, 0, 9], hash(&enveloped)].concat()
}

fn sk_ed25519(application: &str, flags: u8, statement: &[u8]) -> (ApproverKey, String) {
    let signing = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
    let point = Ed25519PublicKey(signing.verifying_key().to_bytes());
    let key = KeyData::SkEd25519(SkEd25519::new(point, application));
    let raw = signing.sign(&sk_message(application, flags, statement)).to_bytes();
    let inner = Signature::new(Algorithm::SkEd25519, [&raw[..], &[flags, 0, 0, 0, 9]].concat());
    enrol(key, inner.unwrap())
}

fn sk_ecdsa(flags: u8, statement: &[u8]) -> (ApproverKey, String) {
    let real = RealKey::new(&["ecdsa", "-b", "256"]);
    let text = fs::read_to_string(real.folder.path("key")).unwrap();
    let private = PrivateKey::from_openssh(text).unwrap();
    let KeypairData::Ecdsa(pair) = private.key_data() else { panic!() };
    let EcdsaKeypair::NistP256 { public, .. } = pair else { panic!() };
    let key = KeyData::SkEcdsaSha2NistP256(SkEcdsaSha2NistP256::new(*public, "ssh:"));
    let signature = private.try_sign(&sk_message("ssh:", flags, statement)).unwrap();
    let raw = [signature.as_bytes(), &[flags, 0, 0, 0, 9]].concat();
    enrol(key, Signature::new(Algorithm::SkEcdsaSha2NistP256, raw).unwrap())
}

fn enrol(key: KeyData, inner: Signature) -> (ApproverKey, String) {
    let public = ssh_key::PublicKey::new(key.clone(), "").to_openssh().unwrap();
    let sig = SshSig::new(key, namespace(ORIGIN), HashAlg::Sha512, inner).unwrap();
    let enrolled = ApproverKey { public_key: public, ..approver_key("ap-anna", 1) };
    (enrolled, sig.to_pem(LineEnding::LF).unwrap())
}

#[test]
fn security_keys_verify_and_say_what_the_key_checked() {
    let statement = bytes();
    for (flags, verified) in [(0x01, false), (0x05, true)] {
        for (key, signature) in [sk_ed25519("ssh:", flags, &statement), sk_ecdsa(flags, &statement)]
        {
            let signed = check(&statement, &signature, &key).unwrap();
            assert_eq!(signed.user_present(), Some(true));
            assert_eq!(signed.user_verified(), Some(verified));
        }
    }
}

#[test]
fn pitfall_a_security_key_that_nobody_touched_does_not_count() {
    let statement = bytes();
    for flags in [0x00, 0x04] {
        for (key, signature) in [sk_ed25519("ssh:", flags, &statement), sk_ecdsa(flags, &statement)]
        {
            assert_eq!(check(&statement, &signature, &key), Err(BadSignature::NotTouched));
        }
    }
}

#[test]
fn pitfall_the_flags_of_a_security_key_are_signed() {
    let statement = bytes();
    let (key, signature) = sk_ed25519("ssh:", 0x00, &statement);
    let sig = SshSig::from_pem(&signature).unwrap();
    let mut raw = sig.signature_bytes().to_vec();
    raw[64] = 0x01;
    let inner = Signature::new(Algorithm::SkEd25519, raw).unwrap();
    let forged = SshSig::new(sig.public_key().clone(), namespace(ORIGIN), HashAlg::Sha512, inner);
    let forged = forged.unwrap().to_pem(LineEnding::LF).unwrap();
    assert_eq!(check(&statement, &forged, &key), Err(BadSignature::Mismatch));
}

#[test]
fn pitfall_a_security_key_for_another_application_does_not_count() {
    let statement = bytes();
    let (key, signature) = sk_ed25519("webauthn.io", 0x01, &statement);
    let verdict = check(&statement, &signature, &key);
    assert_eq!(verdict, Err(BadSignature::Application("webauthn.io".into())));
}

// ---- pitfall: the armor ---------------------------------------------------------------------

#[test]
fn pitfall_the_armor_has_one_spelling_and_nothing_around_it() {
    let statement = bytes();
    let good = sign(&statement, 1);
    let key = approver_key("ap-anna", 1);
    assert!(check(&statement, &good, &key).is_ok());
    let body = good.lines().nth(1).unwrap();
    let bad = [
        ("nothing", String::new()),
        ("words before", format!("hello\n{good}")),
        ("words after", format!("{good}hello\n")),
        ("two signatures", format!("{good}{good}")),
        ("two newlines after", format!("{good}\n")),
        ("carriage returns", good.replace('\n', "\r\n")),
        ("another label", good.replace("SSH SIGNATURE", "PGP SIGNATURE")),
        ("without its end", good.replace("-----END SSH SIGNATURE-----\n", "")),
        ("a header", good.replacen('\n', "\nComment: x\n\n", 1)),
        ("shorter lines", good.replacen(body, &format!("{}\n{}", &body[..30], &body[30..]), 1)),
        (
            "a byte too many",
            armor(
                &[
                    STANDARD
                        .decode(
                            good.lines()
                                .skip(1)
                                .take_while(|l| !l.starts_with('-'))
                                .collect::<String>(),
                        )
                        .unwrap(),
                    vec![0],
                ]
                .concat(),
            ),
        ),
        ("a byte too few", {
            let blob = STANDARD
                .decode(
                    good.lines().skip(1).take_while(|l| !l.starts_with('-')).collect::<String>(),
                )
                .unwrap();
            armor(&blob[..blob.len() - 1])
        }),
        ("not base 64", good.replacen(body, &format!("!{}", &body[1..]), 1)),
        ("a statement", String::from_utf8(bytes()).unwrap()),
        ("a public key", key.public_key.clone()),
    ];
    for (name, signature) in bad {
        assert_eq!(check(&statement, &signature, &key), Err(BadSignature::Armor), "{name}");
    }
    let long = format!("{good}{}", "x".repeat(20_000));
    assert_eq!(check(&statement, &long, &key), Err(BadSignature::Long));
}

#[test]
fn pitfall_a_signature_made_for_ssh_login_does_not_count() {
    // Raw signatures over other things with the same key: no SSHSIG preamble, so they never fit.
    let statement = bytes();
    let private = key(1);
    let raw = private.try_sign(&statement).unwrap();
    let sig = SshSig::new(
        private.public_key().key_data().clone(),
        namespace(ORIGIN),
        HashAlg::Sha512,
        raw,
    );
    let signature = sig.unwrap().to_pem(LineEnding::LF).unwrap();
    let verdict = check(&statement, &signature, &approver_key("ap-anna", 1));
    assert_eq!(verdict, Err(BadSignature::Mismatch));
}
