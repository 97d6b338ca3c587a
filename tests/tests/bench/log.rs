//! The log's bench, by a small sample of each measure on whatever build this is: every row is
//! there and can be, and what does not depend on the machine is within its limit.

use serde_json::Value;
use std::{fs, process::Command};

/// Every row, and the least and most that it can be if it was measured at all.
const ROWS: [(&str, f64, f64); 20] = [
    ("append_p50", 0.001, 10_000.0),
    ("append_p99", 0.001, 60_000.0),
    ("flushes", 1.0, 1.0),
    ("busy_rate", 1.0, 1e7),
    ("busy_p99", 0.001, 60_000.0),
    ("busy_cpu", 0.1, 1e6),
    ("busy_signed", 0.1, 1e6),
    ("postgres_rate", 1.0, 1e7),
    ("postgres_p99", 0.001, 60_000.0),
    // 32 bytes a hash, and less than one hash of a higher level for 255 of them; the rest is edge.
    ("storage_tiles", 32.0, 64.0),
    // A line alone has four hashes of 64 digits in it.
    ("storage_all", 256.0, 10_000.0),
    ("start", 1.0, 60_000.0),
    ("verify_hashes", 100.0, 1e9),
    ("verify_whole", 10.0, 1e9),
    // Eleven hashes in base64 and a checkpoint.
    ("proof_size", 500.0, 1_600.0),
    ("proof_p50", 0.001, 60_000.0),
    ("page_p50", 0.001, 60_000.0),
    ("page_p99", 0.001, 60_000.0),
    ("projection_rate", 1.0, 1e7),
    ("projection_lag", 0.0, 60_000.0),
];

#[test]
fn every_figure_of_the_log_is_taken_and_can_be() {
    let json = std::env::temp_dir().join(format!("ledger-bench-{}.json", std::process::id()));
    let done = Command::new(env!("CARGO_BIN_EXE_ledger-bench"))
        .args(["--quick", "--entries", "2000", "--callers", "16", "--seconds", "1", "--json"])
        .arg(&json)
        .arg("--parent")
        .arg(std::env::temp_dir())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{text}\n{}", String::from_utf8_lossy(&done.stderr));
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    fs::remove_file(&json).unwrap();
    let rows = report["rows"].as_array().unwrap();
    for (measure, least, most) in ROWS {
        let row = rows.iter().find(|row| row["measure"] == measure);
        let row = row.unwrap_or_else(|| panic!("no {measure} in {report:#}"));
        let value = row["value"].as_f64().unwrap_or_else(|| panic!("no figure in {row:#}"));
        assert!((least..=most).contains(&value), "{row:#}");
    }
    // A page that finds nothing is no page: each filter asks for what is there.
    let page = rows.iter().find(|row| row["measure"] == "page_p50").unwrap();
    assert!(!page["notes"][0].as_str().unwrap().contains("(0)"), "{page:#}");
    for said in ["| measure | unit | base | here | must show | |", "Linux ", "load average"] {
        assert!(text.contains(said), "no {said:?} in:\n{text}");
    }
}
