//! Each customer can prove offline that its export is complete and holds nothing of others.

use audit_schema::export::verify_customer_export;
use bastion_tests::{
    log::Log,
    world::{Person::*, World},
};

crate::on_both_stores!(a_customers_export_is_whole_and_its_own);

fn a_customers_export_is_whole_and_its_own(world: &mut World) {
    world.consent("pg-1.acme");
    world.ssh(Olga, &["dba@pg-1.acme", "true"]).exits(0);
    world.ssh(Olga, &["ops@pg-1.globex", "true"]).exits(0);
    let export = world.order(Acme, "audit export").text();
    let log = Log::parse(&export);
    assert!(log.kinds().contains(&"consent.granted"), "{:?}", log.kinds());
    for (index, entry) in log.entries.iter().enumerate() {
        assert_eq!(entry["customer"]["id"], "acme", "{entry}");
        assert_eq!(entry["customer"]["seq"], index, "{entry}");
        assert!(!entry.to_string().contains("globex"), "{entry}");
    }
    let lines = || export.split_inclusive('\n').map(str::as_bytes);
    verify_customer_export(lines(), Some("acme")).unwrap();
    // A line that is left out, wherever it stood, shows.
    for gone in 0..log.lines.len() - 1 {
        let kept = lines().enumerate().filter(|(index, _)| *index != gone).map(|(_, line)| line);
        assert!(verify_customer_export(kept, Some("acme")).is_err(), "line {gone} was not missed");
    }
    // Every entry of the customer in the whole log is in its export.
    let whole = world.log();
    let theirs = whole.entries.iter().filter(|entry| entry["customer"]["id"] == "acme").count();
    assert!(theirs >= log.entries.len());
    assert!(theirs <= log.entries.len() + 1, "more than this very reading is missing");
}
