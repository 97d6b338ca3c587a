//! The VM's own sshd log against ours; the lines are as sshd writes them (what a real one writes
//! is in `bootstrap`, and OpenSSH's form of them is read in `core::reconcile`).

use crate::world::{World, free_port};
use audit_schema::event::Outcome;
use bastion::metrics::METRICS;

fn line(user: &str, serial: u64, lease: &str) -> String {
    format!(
        "Nov 24 08:02:00 pg-1 sshd[4711]: Accepted publickey for {user} from 192.0.2.1 port 40022 \
         ssh2: ED25519-CERT SHA256:abc ID acme/acme-pg/i-1/-/{lease} (serial {serial}) CA ED25519 \
         SHA256:def\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_an_entry_and_an_entry_without_a_login_are_alarms() {
    let world = World::start("reconcile", free_port()).await;
    world.says("customer notify acme --hook nobody", "").await;
    world.past(101, "l-one", Outcome::Completed).await;
    world.past(102, "l-two", Outcome::Cut).await;
    world.past(103, "l-lost", Outcome::Unreachable).await;
    let whole = format!(
        "Nov 24 08:01:00 pg-1 sshd[1]: Server listening on :: port 22.\n{}{}",
        line("dba", 101, "l-one"),
        line("dba", 102, "l-two")
    );
    let reconcile = "vm reconcile pg-1.acme --sshd-log -";
    let said = world.json(reconcile, &whole).await;
    assert_eq!(
        (said["matched"].as_u64(), said["unlogged"].as_array().unwrap().len()),
        (Some(2), 0)
    );
    assert!(!METRICS.raised().contains(&"reconciliation"));

    // A line was taken away, and one of a certificate that no log knows is there.
    let other = format!("{}{}", line("dba", 101, "l-one"), line("dba", 999, "l-evil"));
    let said = world.says(reconcile, &other).await;
    assert!(said.contains("1 login(s)") && said.contains("l-evil"), "{said}");
    assert!(said.contains("entry 102 (l-two) has no login"), "{said}");
    assert!(!said.contains("l-lost"), "a VM that was never reached shows nothing: {said}");
    assert!(METRICS.raised().contains(&"reconciliation"));
    let unlogged = world.entries("vm.login_unlogged").await;
    assert_eq!(unlogged.len(), 1);
    assert_eq!(
        (&unlogged[0]["reason"], &unlogged[0]["serial"]),
        (&"unknown_serial".into(), &999.into())
    );
    let unseen = world.entries("vm.login_unseen").await;
    assert_eq!((unseen.len(), &unseen[0]["lease"]), (1, &"l-two".into()));
    assert_eq!(world.entries("vm.reconciled").await.len(), 2);

    // The certificate of one account for another, or used twice; a password.
    let wrong = format!(
        "{whole}{}{}Accepted password for root from 192.0.2.9 port 1 ssh2\n",
        line("dba", 101, "l-one"),
        line("root", 102, "l-two")
    );
    let said = world.says(reconcile, &wrong).await;
    for why in ["(repeated)", "(other_user)", "(no_certificate)"] {
        assert!(said.contains(why), "{why}: {said}");
    }
    world.says(reconcile, &whole).await;
    assert!(!METRICS.raised().contains(&"reconciliation"));

    // What lies before the log's beginning is not asked for, unless it is said that it must show.
    let second = line("dba", 102, "l-two");
    assert!(!world.says(reconcile, &second).await.contains("ALARM"));
    let since = format!("{reconcile} --since 2020-01-01");
    assert!(world.says(&since, &second).await.contains("entry 101"));
    for (line, stdin, code) in [
        (reconcile, "", 2),
        ("vm reconcile pg-1.acme --sshd-log /var/log/auth.log", "x", 2),
        ("vm reconcile pg-9.acme --sshd-log -", "x", 3),
    ] {
        assert_eq!(world.tries(line, stdin).await.0, code, "{line}");
    }
}
