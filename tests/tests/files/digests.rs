//! Recording level `digests`: what went through is proven, not kept, and the operator does not feel
//! it.

use crate::{recorded::lines, sha256, world};
use bastion_tests::world::Person::*;
use serde_json::Value;
use std::fs;

#[test]
fn troubleshooting_may_be_recorded_as_digests_by_policy() {
    let world = world();
    let file = world.dir().join("policies/channels.cedar");
    let text = fs::read_to_string(&file).unwrap();
    let on_shell = "@id(\"channels.troubleshoot\")\n";
    assert!(text.contains(on_shell));
    let with =
        |level: &str| text.replace(on_shell, &format!("{on_shell}@recording(\"{level}\")\n"));
    // For data the customer says it, and nobody else.
    let data = text
        .replace("@id(\"channels.data\")\n", "@id(\"channels.data\")\n@recording(\"digests\")\n");
    for bad in [with("nothing"), data] {
        fs::write(&file, bad).unwrap();
        let answer = world.ssh(Odile, &["bastion", "policy", "check"]);
        assert_ne!(answer.exit, 0);
        assert!(format!("{}{}", answer.text(), answer.err).contains("@recording"));
    }
    fs::write(&file, with("digests")).unwrap();
    world.order(Odile, "policy reload");

    let input = "typed by the operator\n".repeat(1000).into_bytes();
    let program = "cat; echo shown on stderr >&2; exit 7";
    let answer = world.ssh_with(Olga, &["ops@pg-1.acme", program], &input).exits(7);
    assert!(answer.out == input);
    let log = world.log();
    assert_eq!(log.last("access.granted")["recording_level"], "digests");
    let found = lines(&world);
    for (stream, bytes) in [("i", &input), ("o", &input), ("e", &b"shown on stderr\n".to_vec())] {
        let of = |end: bool| {
            let is = |line: &&Value| line["stream"] == stream && (line["end"] == true) == end;
            found.iter().find(is).unwrap_or_else(|| panic!("{stream} in {found:?}"))
        };
        for line in [of(false), of(true)] {
            assert_eq!(line["bytes"], bytes.len(), "{line}");
            assert_eq!(line["sha256"], sha256(bytes), "{line}");
        }
        assert!(of(false)["first_micros"].as_u64() <= of(false)["last_micros"].as_u64());
    }
    let said = found.iter().filter_map(|line| line["event"].as_str()).collect::<Vec<_>>();
    assert_eq!(said, ["eof", "exit 7"]);
    let all = format!("{found:?}");
    assert!(!all.contains("typed") && !all.contains("shown") && !all.contains("cat;"), "{all}");

    // A terminal and the old scp are the same to the operator.
    let terminal = world.ssh(Olga, &["-tt", "ops@pg-1.acme", "stty size; echo secret"]).exits(0);
    terminal.clone().says("secret");
    assert!(!format!("{:?}", lines(&world)).contains("secret"));
    fs::write(world.dir().join("mine"), "file of the operator").unwrap();
    let scp = ["-O", "-q", "-F", "ssh_config", "mine", "ops@pg-1.acme:/tmp/"];
    world.run("scp", &scp).exits(0);
    let found = lines(&world);
    let file = found.iter().find(|line| line["operation"] == "upload").unwrap();
    assert_eq!(file["sha256"], sha256(b"file of the operator"));
    assert!(!format!("{found:?}").contains("file of the operator"));
}

#[test]
fn for_data_the_customer_signs_what_is_recorded() {
    let world = world();
    let asked = "request pg-1.acme --account dba --reason CUSTOMER_REQUEST --case ZD-1 --for 1h \
                 --json --recording digests --note a test";
    let ticket = world.order(Olga, asked).json()["ticket"].as_str().unwrap().to_owned();
    world
        .order(Acme, &format!("consent show {ticket}"))
        .says("how much was typed and shown is recorded, with times and digests, not what");
    let signature = world.sign(Acme, &ticket);
    let decide = format!("consent decide {ticket}");
    world.ssh_with(Acme, &["bastion", &decide], &signature).exits(0);
    let out = world.ssh(Olga, &["dba@pg-1.acme", "echo of the customer"]).exits(0);
    assert_eq!(out.text(), "of the customer\n");
    assert_eq!(world.log().last("access.granted")["recording_level"], "digests");
    let closed = world.log().last("channel.closed").clone();
    let fetch = format!("session fetch {}", closed["lease"].as_str().unwrap());
    fs::write(world.dir().join("r.tar"), world.order(Acme, &fetch).out).unwrap();
    let key = "keys/acme-pg-recording.pem";
    let words = ["session", "replay", "--file", "r.tar", "--plain", "--identity", key];
    let text = world.bastion(&words).exits(0).text();
    assert!(text.contains(&sha256(b"of the customer\n")) && !text.contains("of the customer"));
    // Less than was asked is the customer's right; more is not.
    let full = world.request("pg-2.acme");
    world.order(Acme, &format!("consent narrow {full} --recording digests"));
    let more = format!("consent narrow {full} --recording full");
    world.ssh(Acme, &["bastion", &more]).exits(2).complains("only be less");
}
