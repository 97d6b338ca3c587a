//! Customers, services, VMs, the policy and the authorities.

use super::{World, text};
use serde_json::json;

#[tokio::test]
async fn lists_flag_what_is_wide_open() {
    let world = World::new().await;
    for (who, line) in
        [(&world.odile, "service list"), (&world.odile, "vm list"), (&world.olga, "ls")]
    {
        let out = world.run(who, line, b"").await.done();
        assert!(out.contains("ANYWHERE (!)"), "{line}: {out}");
    }
    world.officer("service sources acme-pg 192.0.2.0/24 2001:db8::/48", "").await.done();
    let out = world.run(&world.olga, "ls", b"").await.done();
    assert!(out.contains("192.0.2.0/24, 2001:db8::/48"), "{out}");
    let json = world.run(&world.olga, "ls --json", b"").await.json();
    let open: Vec<_> = json["vms"].as_array().unwrap().iter().map(|vm| &vm["wide_open"]).collect();
    assert_eq!(open, [&json!(false), &json!(true), &json!(false)]);
}

#[tokio::test]
async fn source_ranges_end_the_channels_outside_them() {
    let world = World::new().await;
    world.lease("l-inside", None).await;
    let json = world.officer("service sources acme-pg 192.0.2.0/28 --json", "").await.json();
    assert_eq!(json["leases"], json!([]));
    let json = world.officer("service sources acme-pg 198.51.100.0/24 --json", "").await.json();
    assert_eq!(json["leases"], json!(["l-inside"]));
    assert_eq!(world.cause("l-inside").await.as_deref(), Some("source_not_allowed"));
}

#[tokio::test]
async fn a_rebuilt_vm_is_another_instance_and_what_rested_on_the_old_one_ends() {
    let world = World::new().await;
    let ask = |place: &str| {
        format!("request {place} --account dba --reason PRODUCTION_ALERT --for 1h --note x --json")
    };
    let one = world.run(&world.olga, &ask("pg-1.acme"), b"").await.json();
    let both = world.run(&world.olga, &ask("acme-pg"), b"").await.json();
    world.lease("l-old", None).await;
    let json = world.officer("vm rebuild pg-1.acme --json", "").await.json();
    assert_ne!(json["instance"], json["replaces"]);
    assert_eq!(world.cause("l-old").await.as_deref(), Some("vm_retired"));
    let state = async |ticket: &serde_json::Value| {
        let line = format!("status {} --json", text(ticket, "ticket"));
        let json = world.run(&world.olga, &line, b"").await.json();
        text(&json, "state").to_owned()
    };
    assert_eq!(state(&one).await, "ended");
    // It still names a VM that lives.
    assert_eq!(state(&both).await, "pending");
    let json = world.officer("vm retire pg-2.acme --json", "").await.json();
    assert_eq!(json["tickets"], json!([both["ticket"]]));
    assert_eq!(state(&both).await, "ended");
    world.officer("vm retire pg-2.acme", "").await.fails(3, "no VM");
    world.officer("vm list", "").await.done();
    let all = world.officer("vm list --all", "").await.done();
    assert_eq!(all.matches("retired").count(), 2, "{all}");
}

#[tokio::test]
async fn names_are_taken_once() {
    let world = World::new().await;
    let before = (world.tables().await, world.size());
    let olga = std::fs::read_to_string(world.key_file("olga").with_extension("pub")).unwrap();
    let fresh = world.key("fresh");
    let operator = "--team t --entity e --country DE";
    for (line, stdin, words) in [
        ("customer add acme --name x", "", "already"),
        ("service add acme-pg --customer acme", world.pem.as_str(), "already"),
        (
            "vm add pg-1.acme --service acme-pg --address 127.0.0.1:9 --account a:data",
            "",
            "vm rebuild",
        ),
        (&format!("operator add olga --key - {operator}"), &fresh, "already"),
        (&format!("operator add olga2 --key - {operator}"), &olga, "belongs to somebody"),
        ("officer add omar --key -", &olga, "belongs to somebody"),
        ("officer add odile --key -", &fresh, "take another name"),
        ("officer remove odile", "", "last officer"),
        ("operator enable olga", "", "already"),
    ] {
        world.officer(line, stdin).await.fails(1, words);
    }
    assert_eq!((world.tables().await, world.size()), before);
}

#[tokio::test]
async fn what_is_not_there_is_said_so_and_recorded() {
    let world = World::new().await;
    let before = world.tables().await;
    let key = world.key("fresh");
    for (line, stdin) in [
        ("service add x --customer nobody", world.pem.as_str()),
        ("service sources nothing --anywhere", ""),
        ("service recording-key nothing", &world.pem),
        ("vm add v --service nothing --address 127.0.0.1:9 --account a:data", ""),
        ("vm rebuild nothing", ""),
        ("vm retire nothing", ""),
        ("vm certify nothing", &key),
        ("approver invite ann --customer nobody", ""),
        ("approver void ann --customer acme", ""),
        ("approver reset nobody --reason x", ""),
        ("approver stop-reset --customer acme", ""),
        ("customer notify nobody", ""),
        ("officer remove nobody", ""),
        ("operator disable nobody --reason x", ""),
        ("operator enable nobody", ""),
        ("operator show nobody", ""),
        ("operator change nobody --team x", ""),
        ("operator key add nobody --key -", &key),
        ("operator key remove olga SHA256:x", ""),
        ("operator training nobody --course c --completed 2025-01-01 --valid-until 2026-01-01", ""),
    ] {
        let size = world.size();
        world.officer(line, stdin).await.fails(3, "no ");
        assert_eq!(text(&world.events(size).await[0], "type"), "command.refused", "{line}");
    }
    assert_eq!(world.tables().await, before);
}

#[tokio::test]
async fn host_certificates_are_entered_and_name_the_instance() {
    let world = World::new().await;
    let key = world.key("host");
    let json = world.officer("vm certify pg-1.acme --json", &key).await.json();
    let certificate =
        russh::keys::ssh_key::Certificate::from_openssh(text(&json, "certificate")).unwrap();
    let instance = text(&json, "instance");
    assert!(certificate.valid_principals().iter().any(|name| name == instance));
    let event = world.events(certificate.serial()).await.remove(0);
    assert_eq!(text(&event, "type"), "host_certificate.issued");
    let show = world.officer("ca show --json", "").await.json();
    for ca in ["user_ca", "gateway_host_ca", "vm_host_ca"] {
        assert!(text(&show, ca).starts_with("ssh-ed25519 "), "{show}");
    }
}

#[tokio::test]
async fn the_policy_is_checked_tried_and_put_in_force() {
    let world = World::new().await;
    world.officer("policy check", "").await.done();
    world.officer("policy check access.cedar", "").await.done();
    world.officer("policy check ../../etc/passwd", "").await.fails(2, "no file");
    world
        .officer("policy check -", "permit(principal, action, resource) when {")
        .await
        .fails(4, "");
    world.officer("policy test", "").await.done();
    let show = world.officer("policy show --json", "").await.json();
    let size = world.size();
    let said = world.officer("policy reload", "").await.done();
    assert!(said.contains("already"), "{said}");
    assert_eq!(world.size(), size, "nothing changed, nothing is entered");
    assert_eq!(text(&show, "digest"), world.app.policy.current().digest().to_string());
}

#[tokio::test]
async fn notices_are_written_with_their_cause_and_only_where_somebody_is_told() {
    let world = World::new().await;
    let ask = "request pg-1.acme --account dba --reason SECURITY_REVIEW --for 1h --note x";
    world.run(&world.olga, ask, b"").await.done();
    assert!(world.tables().await["notices"].is_empty());
    world
        .officer("customer notify acme --webhook http://127.0.0.1:9/x --hook mail", "")
        .await
        .done();
    world.run(&world.olga, ask, b"").await.done();
    let notices = world.tables().await["notices"].clone();
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains("consent.requested"), "{notices:?}");
}
