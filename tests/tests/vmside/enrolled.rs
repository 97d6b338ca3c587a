//! One-time tokens over https, with the tools that people and machines have: curl and ssh-keygen.

use crate::{
    https::curl,
    world::{World, free_port, keygen},
};
use std::{fs, process::Command};

fn said(done: &std::process::Output) -> String {
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_enrols_a_key_by_curl() {
    let world = World::start("approver", free_port()).await;
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &world.path("ada")]);
    let invited = world.json("approver invite ada --customer acme", "").await;
    let token = invited["token"].as_str().unwrap();
    let (path, dir) = (format!("/v1/approver/{token}"), world.folder.0.clone());
    let got = curl(&dir, world.https, &path, &["-f", "-o", "enrol.json"]);
    assert!(got.status.success(), "{got:?}");
    let statement = fs::read_to_string(world.at("enrol.json")).unwrap();
    assert_eq!(statement, invited["statement"].as_str().unwrap());
    let (key, file) = (world.path("ada"), world.path("enrol.json"));
    let namespace = "approver-enrolment@bastion.vmside";
    keygen(&["-q", "-Y", "sign", "-f", &key, "-n", namespace, &file]);
    let bring = ["--data-binary", "@enrol.json.sig", "-w", "%{http_code}"];
    let wrong = curl(&dir, world.https, "/v1/approver/0000", &bring);
    assert!(said(&wrong).ends_with("403"), "{wrong:?}");
    let unsigned = curl(&dir, world.https, &path, &["-d", "hello", "-w", "%{http_code}"]);
    assert!(said(&unsigned).ends_with("403"), "{unsigned:?}");
    let enrolled = curl(&dir, world.https, &path, &bring);
    assert!(said(&enrolled).starts_with("enrolled ada"), "{enrolled:?}");
    let again = curl(&dir, world.https, &path, &bring);
    assert!(said(&again).contains("was used") && said(&again).ends_with("403"), "{again:?}");
    assert_eq!(curl(&dir, world.https, &path, &["-f"]).status.code(), Some(22));
    // The approver's own doing, in the log.
    let list = world.says("approver list --customer acme", "").await;
    assert!(list.contains("ada") && list.contains("enabled"), "{list}");
    let (code, _, why) = world.tries("approver invite eve --customer acme", "").await;
    assert_eq!(code, 3, "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_gets_its_host_certificate_once_with_its_token() {
    let world = World::start("vm", free_port()).await;
    // A data account without approvers whose keys its guard could know is no VM to hand out.
    let (code, _, why) = world.tries("vm bootstrap pg-1.acme", "").await;
    assert_eq!((code, why.contains("approver")), (1, true), "{why}");
    world.enrol("ada").await;
    let (code, _, why) = world.tries("vm bootstrap pg-9.acme", "").await;
    assert_eq!(code, 3, "{why}");
    let first = world.json("vm bootstrap pg-1.acme", "").await;
    let second = world.json("vm bootstrap pg-1.acme", "").await;
    let token = |json: &serde_json::Value| {
        let script = json["script"].as_str().unwrap().to_owned();
        let (_, rest) = script.split_once("token='").unwrap();
        rest.split_once('\'').unwrap().0.to_owned()
    };
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &world.path("host")]);
    let dir = world.folder.0.clone();
    let bring = ["--data-binary", "@host.pub", "-w", "%{http_code}"];
    let ask = |token: String| curl(&dir, world.https, &format!("/v1/enrol/{token}"), &bring);
    // A new bootstrap voids the token of the one before.
    assert!(said(&ask(token(&first))).ends_with("403"));
    let got = said(&ask(token(&second)));
    let certificate = got.strip_suffix("200").unwrap();
    fs::write(world.at("host-cert.pub"), certificate).unwrap();
    let shown = keygen(&["-L", "-f", &world.path("host-cert.pub")]);
    let instance = first["instance"].as_str().unwrap();
    assert!(shown.contains(instance) && shown.contains("host certificate"), "{shown}");
    assert!(said(&ask(token(&second))).ends_with("403"), "once");
    // As a cloud's user data it is the same script.
    let cloud = world.says("vm bootstrap pg-1.acme --format cloud-init", "").await;
    assert!(cloud.starts_with("#cloud-config\n"), "{cloud}");
    // A CA that was replaced stands in every list; one that is in use never does.
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &world.path("old-ca")]);
    let old = fs::read_to_string(world.at("old-ca.pub")).unwrap();
    world.says("ca revoke user-ca --key -", &old).await;
    assert_eq!(world.tries("ca revoke user-ca --key -", &old).await.0, 1, "once");
    let used = keygen(&["-y", "-f", &world.path("gateway/keys/user-ca")]);
    let (code, _, why) = world.tries("ca revoke user-ca --key -", &used).await;
    assert!(code == 1 && why.contains("in use"), "{why}");
    let path = format!("/v1/vm/{instance}/krl");
    assert!(curl(&dir, world.https, &path, &["-f", "-o", "signed"]).status.success());
    let looks = "sed '1,/END SSH SIGNATURE/d' signed | base64 -d > krl; \
                 ssh-keygen -Q -f krl old-ca.pub && exit 1; ssh-keygen -Q -f krl host.pub";
    let looked = Command::new("sh").args(["-c", looks]).current_dir(&dir).output().unwrap();
    assert!(looked.status.success(), "{looked:?}");
    // The lists are for instances that live.
    let list = |name: &str| curl(&dir, world.https, &format!("/v1/vm/{name}/krl"), &["-f"]);
    assert!(list(instance).status.success());
    assert_eq!(list("i-0000000000").status.code(), Some(22));
    assert_eq!(list("..%2f..").status.code(), Some(22));
}
