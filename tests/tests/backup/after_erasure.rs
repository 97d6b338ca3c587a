//! What was erased is in no export any more, and everything that was proven still is.

use crate::scene::{Scene, entry, verified};
use bastion_tests::deployment::files_with;
use std::fs;

#[tokio::test(flavor = "multi_thread")]
async fn exports_and_proofs_hold_after_unknown_people_are_erased() {
    let scene = Scene::new(None).await;
    let dir = scene.world.dir.clone();
    let at = |name: &str| dir.join(name).display().to_string();
    let mut failed = entry();
    failed.actor.kind = audit_schema::event::ActorKind::Gateway;
    let failed = failed.with("source", "203.0.113.77").with("login", "mallory-marker");
    scene.app.ledger.append("test", vec![failed]).await.expect("appends");
    let seq = *scene.app.ledger.size().borrow() - 1;
    scene.local("audit query --event gateway.stopped").await;
    let keep = |name: &str, text: String| fs::write(dir.join(name), text).expect("writes");
    keep("vkey", scene.local("audit checkpoint --key").await);
    keep("before.proof", scene.local(&format!("audit prove {seq}")).await);
    let openings = scene.local("audit export --openings").await;
    assert!(openings.contains("203.0.113.77") && openings.contains("mallory-marker"));

    let day = bastion::clock::now().to_string()[..10].to_owned();
    for wrong in ["unknown:yesterday", "unknown:", "nobody"] {
        let line = format!("audit erase --subject {wrong} --legal-basis gdpr-17-1-a --reason x");
        scene.world.fails(&scene.app, &line, 3, "").await;
    }
    let line = format!(
        "audit erase --subject unknown:{day} --legal-basis gdpr-17-1-a --reason ZD-7 --json"
    );
    let said = scene.world.both(&scene.app, &line, "").await;
    assert!(said["openings"].as_u64() >= Some(2), "{said}");

    let lines = scene.local("audit export").await;
    keep("log.jsonl", lines.clone());
    keep("line", format!("{}\n", lines.lines().nth(usize::try_from(seq).unwrap()).unwrap()));
    let left = scene.local("audit export --openings").await;
    assert!(!left.contains("203.0.113.77") && !left.contains("mallory-marker"));
    assert!(left.contains("olga"), "what others wrote is there");
    keep("openings.jsonl", left);
    keep("after.proof", scene.local(&format!("audit prove {seq}")).await);
    for proof in ["before.proof", "after.proof"] {
        verified(&["proof", &at(proof), "--entry", &at("line"), "--vkey", &at("vkey")]);
    }
    verified(&["export", &at("log.jsonl")]);
    scene.local("audit verify").await;
    scene.app.ledger.close().await;
    for text in ["203.0.113.77", "mallory-marker"] {
        assert_eq!(files_with(&dir, text), Vec::<std::path::PathBuf>::new(), "{text}");
    }
}
