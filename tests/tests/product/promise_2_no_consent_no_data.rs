//! An account that reaches customer data needs a live consent, signed by a key that only the
//! customer holds.

use bastion_tests::world::{Answer, ORIGIN, Person, Person::*, World};

crate::on_both_stores!(data_opens_with_the_customers_signature_only, what_is_not_that_signature);

fn namespace() -> String {
    format!("operator-consent@{ORIGIN}")
}

fn decide(world: &World, approver: Person, ticket: &str, signature: &[u8]) -> Answer {
    world.ssh_with(approver, &["bastion", &format!("consent decide {ticket}")], signature)
}

fn data_opens_with_the_customers_signature_only(world: &mut World) {
    let data = ["dba@pg-1.acme", "echo in"];
    let refused = world.ssh(Olga, &data).exits(254);
    assert_eq!(refused.text(), "");
    refused.complains("consent").complains("request");

    let ticket = world.request("pg-1.acme");
    world.ssh(Olga, &data).exits(254).complains("consent");
    let signature = world.sign(Acme, &ticket);
    world.ssh(Olga, &data).exits(254).complains("consent");
    decide(world, Acme, &ticket, &signature).exits(0);
    world.ssh(Olga, &data).exits(0).says("in");
    world.ssh(Olga, &["dba+pg-1.acme@bastion", "echo in"]).exits(0).says("in");

    // It names one VM, one account and the operators it names; nothing else opens with it.
    world.ssh(Olga, &["dba@pg-2.acme", "id"]).exits(254).complains("consent");
    world.ssh(Olga, &["dba@pg-1.globex", "id"]).exits(254).complains("consent");
    world.ssh(Otto, &["dba@pg-1.acme", "id"]).exits(254);

    let log = world.log();
    let grant = log.last("access.granted");
    assert_eq!(grant["ticket"], ticket.as_str());
    assert_eq!(log.only("consent.granted")["ticket"], ticket.as_str());
}

fn what_is_not_that_signature(world: &mut World) {
    let ticket = world.request("pg-1.acme");
    let other = world.request("pg-2.acme");
    let statement = world.order(Acme, &format!("consent statement {ticket}")).out;
    let good = world.sign_bytes(Acme, &namespace(), &statement);
    let altered = [statement.as_slice(), b" "].concat();
    let signed = |person, namespace: &str, bytes: &[u8]| world.sign_bytes(person, namespace, bytes);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("the operator's key", signed(Olga, &namespace(), &statement)),
        ("another customer's key", signed(Globex, &namespace(), &statement)),
        ("the officer's key", signed(Odile, &namespace(), &statement)),
        ("another namespace", signed(Acme, "file", &statement)),
        ("another deployment", signed(Acme, "operator-consent@elsewhere", &statement)),
        ("other bytes", signed(Acme, &namespace(), &altered)),
        ("another ticket's statement", world.sign(Acme, &other)),
        ("no signature", b"-----BEGIN SSH SIGNATURE-----\n".to_vec()),
        ("something else", b"yes, I agree\n".to_vec()),
    ];
    for (what, signature) in cases {
        let answer = decide(world, Acme, &ticket, &signature);
        assert!([2, 3, 4].contains(&answer.exit), "{what}: {} {}", answer.exit, answer.err);
        assert!(!answer.err.is_empty(), "{what}: refused in silence");
    }
    // Who is not the customer's approver cannot decide, not even with the right signature.
    for person in [Olga, Odile, Globex] {
        decide(world, person, &ticket, &good).exits(3);
    }
    world.ssh(Olga, &["dba@pg-1.acme", "id"]).exits(254).complains("consent");
    assert!(world.log().events("consent.granted").is_empty());
    decide(world, Acme, &ticket, &good).exits(0);
    world.ssh(Olga, &["dba@pg-1.acme", "true"]).exits(0);

    // A withdrawn revision never reopens.
    world.order(Acme, &format!("consent withdraw {ticket} --reason done"));
    let again = decide(world, Acme, &ticket, &good);
    assert_ne!(again.exit, 0, "a withdrawn consent was opened again");
    world.ssh(Olga, &["dba@pg-1.acme", "id"]).exits(254).complains("consent");
}
