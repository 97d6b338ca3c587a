//! What is wrong inside the encryption, after the keys are exchanged and before anybody has logged
//! in: each case ends its own connection within the login grace, and nothing else.

use crate::{
    audited::tools,
    malformed::{GRACE, SLACK},
    port,
    steady::Steady,
    times, world,
};
use bastion_tests::world::Person::Olga;
use std::path::Path;

#[test]
fn malformed_inside_the_encryption_ends_its_own_connection_and_nothing_else() {
    let tools = tools();
    let world = world(&[("[ingress]", &format!("login_grace_seconds = {GRACE}"))]);
    let steady = Steady::begin(&world, "127.0.0.1");
    let before = world.log().events("session.opened").len();
    let python = tools.join("venv/bin/python").display().to_string();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/encrypted.py");
    let (script, port) = (script.display().to_string(), port(&world).to_string());
    let mut count = 0;
    for round in 0..times() {
        let words = [script.as_str(), &port, &round.to_string()];
        let said = world.run(&python, &words).exits(0).text();
        for line in said.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(case["ended"], true, "{case}");
            let seconds = case["seconds"].as_f64().unwrap();
            assert!(seconds < (GRACE + SLACK.as_secs()) as f64, "{case}");
            count += 1;
        }
        steady.goes_on(20);
    }
    assert_eq!(count, 38 * times(), "every case was tried");
    world.ssh(Olga, &["bastion", "whoami"]).exits(0);
    let after = world.log().events("session.opened").len();
    assert_eq!(after, before + 1, "nobody else has logged in");
    println!("{} answers beside {count} cases", steady.end());
}
