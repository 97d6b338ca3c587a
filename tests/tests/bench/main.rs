//! The bench itself, by a small sample of each measure on whatever build this is: every figure is
//! there, every byte arrived, and what does not depend on the machine is within its limit. How
//! fast anything was is nobody's business here.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod log;

use serde_json::Value;
use std::{fs, process::Command};

/// Every row of the table over no distance, and whether OpenSSH direct is in it.
const ROWS: [(&str, bool); 25] = [
    ("connect", true),
    ("echo_p50", true),
    ("echo_p99", true),
    ("echo_beside_download", true),
    ("echo_beside_upload", true),
    ("echo_beside_stalled_download", true),
    ("echo_beside_stalled_upload", true),
    ("sessions_per_second", true),
    ("cpu_per_session", false),
    ("bulk_up", true),
    ("bulk_down", true),
    ("bulk_up_digests", true),
    ("bulk_down_digests", true),
    ("cpu_per_gb_up", false),
    ("cpu_per_gb_down", false),
    ("cpu_per_gb_up_digests", false),
    ("cpu_per_gb_down_digests", false),
    ("rsync", true),
    ("scp_o", true),
    ("scp", true),
    ("sftp", true),
    ("entries", false),
    ("flushes", false),
    ("idle_memory", false),
    ("login_among_idle", false),
];

/// Runs a quick sample; the table as text and the report as JSON. Nothing where it cannot run.
fn sample(name: &str, words: &[&str]) -> Option<(String, Value)> {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("SKIPPED: the bench needs root, for a network of its own");
        return None;
    }
    let json = std::env::temp_dir().join(format!("relay-bench-{name}-{}", std::process::id()));
    let done = Command::new(env!("CARGO_BIN_EXE_relay-bench"))
        .args(["--quick", "--binary", env!("CARGO_BIN_EXE_bastion-under-test"), "--json"])
        .arg(&json)
        .args(words)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{text}\n{}", String::from_utf8_lossy(&done.stderr));
    let report = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    fs::remove_file(&json).unwrap();
    Some((text, report))
}

/// The rows of a measure.
fn rows<'a>(report: &'a Value, measure: &str) -> Vec<&'a Value> {
    let rows = report["rows"].as_array().unwrap().iter();
    let rows: Vec<_> = rows.filter(|row| row["measure"] == measure).collect();
    assert!(!rows.is_empty(), "no {measure} in {report:#}");
    rows
}

fn value(row: &Value, form: &str) -> f64 {
    let figure = &row["figures"][form];
    assert!(figure.get("failures").is_none(), "{row:#}");
    figure["value"].as_f64().unwrap_or_else(|| panic!("no {form} in {row:#}"))
}

#[test]
fn every_measure_is_taken_in_every_form() {
    let Some((text, report)) = sample("near", &["--over", "near"]) else { return };
    for (measure, direct) in ROWS {
        for row in rows(&report, measure) {
            for form in ["ours", "ours_jump"] {
                assert!(value(row, form) > 0.0, "{row:#}");
            }
            assert!(!direct || value(row, "direct") > 0.0 && value(row, "jump") > 0.0, "{row:#}");
        }
    }
    for measure in ["growth_down", "growth_up"] {
        let row = rows(&report, measure)[0];
        assert!(["jump", "ours", "ours_jump"].iter().all(|form| value(row, form) >= 0.0));
    }
    for (measure, most) in [("entries", 12.0), ("flushes", 2.0)] {
        let row = rows(&report, measure)[0];
        assert!(["ours", "ours_jump"].iter().all(|form| value(row, form) <= most), "{row:#}");
    }
    for said in ["| direct | -J | user+vm | our -J |", "Linux ", "OpenSSH_", "load average"] {
        assert!(text.contains(said), "no {said:?} in:\n{text}");
    }
}

#[test]
fn every_form_goes_the_long_way() {
    let only = ["--only", "connect,bulk", "--over", "far-operator,far-vm"];
    let Some((_, report)) = sample("far", &only) else { return };
    for measure in ["connect", "bulk_up", "bulk_down"] {
        for row in rows(&report, measure) {
            for form in ["direct", "jump", "ours", "ours_jump"] {
                assert!(value(row, form) > 0.0, "{row:#}");
            }
        }
    }
    for row in rows(&report, "connect") {
        // Banner, key exchange and login are at least four round trips for anybody.
        for form in ["direct", "jump", "ours", "ours_jump"] {
            assert!(value(row, form) > 400.0, "{row:#}");
        }
    }
}
