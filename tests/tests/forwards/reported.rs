//! Forwarded connections and typed commands in a report: the same row in each of its formats.

use crate::scene::{Echo, FORMS, list, one, permitting};
use bastion_tests::world::{Person::Olga, World};
use serde_json::Value;
use std::fs;

/// The rows of a sheet, by their headings; what is asked for here has no comma and no quote.
fn rows(sheet: &str) -> Vec<Vec<(&str, &str)>> {
    let mut lines = sheet.trim_start_matches('\u{feff}').lines();
    let heads: Vec<&str> = lines.next().unwrap().split(',').collect();
    lines.map(|line| heads.iter().copied().zip(line.split(',')).collect()).collect()
}

fn field<'a>(row: &[(&str, &'a str)], name: &str) -> &'a str {
    row.iter().find(|(head, _)| *head == name).unwrap_or_else(|| panic!("no {name} in {row:?}")).1
}

/// A report of acme's in a format, in a folder of its own.
fn report(world: &World, format: &str) {
    let period = ["--from", "2026-01-01", "--to", "2999-01-01", "--format", format];
    let words = [&["report", "--customer", "acme", "--out", format], &period[..]].concat();
    world.bastion(&words).exits(0);
}

#[test]
fn each_format_of_a_report_has_the_connection_and_the_commands() {
    let world = permitting(&["forward_local"]);
    let echo = Echo::start(b"hello ");
    list(&world, "echo", &format!("tcp:127.0.0.1:{}", echo.port), "troubleshoot");
    let destination = format!("127.0.0.1:{}", echo.port);
    let sent = vec![b'x'; 12_345];
    let answer = one(&world, &destination, &FORMS[1]("ops"), &sent).exits(0);
    assert_eq!(answer.out.len(), 12_351);
    let typed = b"echo typed-$((1+1))\nexit\n";
    world.ssh_with(Olga, &["-tt", "ops@pg-1.acme"], typed).exits(0).says("typed-2");
    let log = world.log();
    let closed = log.events("channel.closed");
    let end = closed.iter().find(|end| end["channel"] == "forward_local").expect("it has ended");
    let lease = end["lease"].as_str().unwrap();
    let millis = end["duration_ms"].as_u64().unwrap();
    let digest = end["recording_digest"].as_str().unwrap();
    for format in ["json", "csv", "html"] {
        report(&world, format);
    }
    let read = |file: &str| fs::read_to_string(world.dir().join(file)).unwrap();

    let json: Value = serde_json::from_str(&read("json/report.json")).unwrap();
    let accesses = json["accesses"].as_array().unwrap();
    let access = accesses.iter().find(|access| access["lease"] == lease).unwrap();
    let row = &access["forwards"][0];
    assert_eq!((&row["channel"], &row["destination"]), (&"forward_local".into(), &"echo".into()));
    assert_eq!((&row["bytes_in"], &row["bytes_out"]), (&12_345.into(), &12_351.into()));
    assert_eq!((&row["duration_ms"], &row["recording_digest"]), (&millis.into(), &digest.into()));

    let sheet = read("csv/forwards.csv");
    let [row] = &rows(&sheet)[..] else { panic!("one row: {sheet}") };
    let expected = [
        ("lease", lease),
        ("channel", "forward_local"),
        ("destination", "echo"),
        ("bytes_in", "12345"),
        ("bytes_out", "12351"),
        ("duration_ms", &millis.to_string()),
        ("outcome", "completed"),
        ("recording_sha256", digest),
    ];
    for (head, value) in expected {
        assert_eq!(field(row, head), value, "{head} in {row:?}");
    }
    let sheet = read("csv/population.csv");
    assert!(sheet.lines().next().unwrap().contains("forwards,detected_commands_an_aid"), "{sheet}");
    assert!(sheet.contains("echo typed-$((1+1))"), "{sheet}");

    let page = read("html/report.html");
    let (_, after) = page.split_once("Forwarded connections").expect("a section");
    let (section, after) = after.split_once("Commands seen to be typed").expect("another");
    let seconds = format!("{}.{:03}", millis / 1000, millis % 1000);
    for part in [lease, "forward_local", "echo", "12345, 12351", &seconds, digest] {
        assert!(section.contains(part), "no {part:?} in {section}");
    }
    assert!(
        after.contains("echo typed-$((1+1))") && after.contains("An aid, not a boundary"),
        "{after}"
    );
}
