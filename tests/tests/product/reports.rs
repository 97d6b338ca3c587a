//! A report names who was where, why and by whose leave; the same log gives the same bytes; and a
//! customer's has no names.

use bastion_tests::world::{Person::*, World};
use serde_json::Value;
use std::{fs, thread, time::Duration};

crate::on_both_stores!(
    a_report_tells_it_all_and_the_same_each_time,
    a_customers_report_has_no_names
);

fn now() -> String {
    chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn a_report_tells_it_all_and_the_same_each_time(world: &mut World) {
    let ticket = world.consent("pg-1.acme");
    world.ssh(Olga, &["dba@pg-1.acme", "echo '<b>=1+1</b>'"]).exits(0);
    world.ssh(Otto, &["ops@pg-1.acme", "true"]).exits(254);
    thread::sleep(Duration::from_millis(1100));
    let to = now();
    let report = |format: &str, out: &str| {
        let period = ["--from", "2026-01-01", "--to", &to, "--format", format, "--out", out];
        let words = [&["report", "--customer", "acme"], period.as_slice()].concat();
        world.bastion(&words).exits(0);
        world.run("sh", &["-c", &format!("cd {out} && sha256sum -c SHA256SUMS")]).exits(0);
    };
    let read = |file: &str| fs::read_to_string(world.dir().join(file)).unwrap();
    for (format, file) in
        [("html", "report.html"), ("json", "report.json"), ("csv", "refusals.csv")]
    {
        report(format, &format!("{format}-1"));
        report(format, &format!("{format}-2"));
        assert_eq!(read(&format!("{format}-1/{file}")), read(&format!("{format}-2/{file}")));
        let sums = |n: u8| read(&format!("{format}-{n}/SHA256SUMS"));
        assert_eq!(sums(1), sums(2), "the same log gives the same bytes");
    }
    let json: Value = serde_json::from_str(&read("json-1/report.json")).unwrap();
    assert_eq!(json["verification"]["holds"], true);
    // By whom: nobody.
    assert_eq!(json["verification"].get("witnessed"), Some(&Value::Null));
    assert_eq!(json["summary"]["data_accesses"], 1, "{}", json["summary"]);
    assert_eq!(json["summary"]["data_accesses_consented"], 1, "{}", json["summary"]);
    assert_eq!(json["summary"]["refusals_by_reason"]["training_lapsed"], 1);
    assert_eq!(json["summary"]["wide_open_services"], 1);
    let access = &json["accesses"][0];
    assert_eq!(access["consent"]["ticket"], ticket.as_str());
    assert_eq!(access["consent"]["reason_code"], "CUSTOMER_REQUEST");
    assert_eq!(access["ended"]["outcome"], "completed");
    assert!(access["entries"].as_array().unwrap().len() >= 3, "{access}");
    assert_eq!(json["services"][0]["touched"].as_array().unwrap().len(), 1);
    let html = read("html-1/report.html");
    assert!(html.contains("Unwitnessed") && html.contains("The log holds"));
    assert!(html.contains("&lt;b&gt;=1+1&lt;/b&gt;") && !html.contains("<b>=1+1"));
    assert!(!html.contains("<script"));
    world.bastion(&["report", "--from", "2026-01-02", "--to", "2026-01-01"]).exits(2);
}

fn a_customers_report_has_no_names(world: &mut World) {
    world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);
    world.ssh(Olga, &["ops@pg-1.globex", "true"]).exits(0);
    let period = "--from 2026-01-01 --to 2999-01-01";
    let html = world.order(Acme, &format!("report {period}")).text();
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("pg-1.acme"), "{html}");
    for secret in ["olga", "127.0.0.1", "globex"] {
        assert!(!html.contains(secret), "{secret} is in the customer's report");
    }
    let archive = world.order(Acme, &format!("report {period} --format csv")).out;
    fs::write(world.dir().join("report.tar"), archive).unwrap();
    let listed = world.run("tar", &["tf", "report.tar"]).exits(0).text();
    for name in ["population.csv", "refusals.csv", "changes.csv", "manifest.json", "SHA256SUMS"] {
        assert!(listed.contains(name), "{listed}");
    }
    let other = format!("report --customer globex {period}");
    world.ssh(Acme, &["bastion", &other]).exits(3);
}
