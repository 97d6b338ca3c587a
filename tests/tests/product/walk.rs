//! The README's first command: the whole story, every step as promised.

use super::BASTION;
use std::{process::Command, time::Instant};

#[test]
fn the_walk_holds_and_takes_less_than_a_minute() {
    let since = Instant::now();
    let output = Command::new(BASTION).args(["demo", "--walk"]).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("Every step was as promised."), "{out}");
    assert!(!out.contains('\u{1b}'), "colours without a terminal: {out}");
    assert!(since.elapsed().as_secs() < 60, "took {:?}", since.elapsed());
}
