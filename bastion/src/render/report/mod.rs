//! A report as files: one HTML page, one JSON document, or a CSV file per list; and with them a
//! manifest with the digest of each.

mod csv;
mod html;
mod page;
mod words;

use audit_schema::hash::Hash;
use bastion_core::report::Report;
use serde_json::json;

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One page for people; prints well
    Html,
    /// One document for programs
    Json,
    /// One file for each list
    Csv,
}

/// The files of a report, without the manifest.
pub fn files(report: &Report, format: Format) -> Vec<(String, Vec<u8>)> {
    match format {
        Format::Html => vec![("report.html".into(), html::page(report).into_bytes())],
        Format::Json => vec![("report.json".into(), json_document(report))],
        Format::Csv => csv::files(report),
    }
}

/// The files with `manifest.json` and `SHA256SUMS` (`sha256sum -c SHA256SUMS`).
pub fn with_manifest(report: &Report, format: Format) -> Vec<(String, Vec<u8>)> {
    let mut files = files(report, format);
    let listed: Vec<_> = files
        .iter()
        .map(|(name, bytes)| {
            json!({ "name": name, "bytes": bytes.len(), "sha256": Hash::of(bytes).to_string() })
        })
        .collect();
    let manifest = json!({
        "format": "bastion-report-manifest/1",
        "report": report.format,
        "customer": report.customer,
        "from": report.from,
        "to": report.to,
        "audience": report.audience,
        "verification": report.verification,
        "files": listed,
    });
    files.push(("manifest.json".into(), pretty(&manifest)));
    let sums: String =
        files.iter().map(|(name, bytes)| format!("{}  {name}\n", Hash::of(bytes))).collect();
    files.push(("SHA256SUMS".into(), sums.into_bytes()));
    files
}

fn json_document(report: &Report) -> Vec<u8> {
    // Strings, numbers, lists and maps with string keys: nothing that JSON lacks, so this cannot
    // fail; an empty document would not pass for a report.
    serde_json::to_value(report).map(|value| pretty(&value)).unwrap_or_default()
}

fn pretty(value: &serde_json::Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}
