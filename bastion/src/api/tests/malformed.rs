//! Malformed input of every kind: each gets a clear error, and changes nothing.
//!
//! Templates times wrong values make the table. What is merely malformed leaves no trace at all;
//! what is refused (unknown commands, signatures that do not hold) leaves its one entry in the log,
//! and nothing else.

use super::{Caller, World, text};
use bastion_core::text::is_plain;
use std::process::Command;

/// One input: who, the command line, the standard input.
type Case<'a> = (&'a Caller, String, Vec<u8>);

#[tokio::test]
async fn malformed_input_gets_a_clear_error_and_changes_nothing() {
    let world = World::new().await;
    let ask = "request pg-1.acme --account dba --reason SECURITY_REVIEW --for 1h --note x --json";
    let json = world.run(&world.olga, ask, b"").await.json();
    let ticket = text(&json, "ticket");
    let mut cases = Vec::new();
    words(&world, ticket, &mut cases);
    values(&world, &mut cases);
    structure(&world, ticket, &mut cases);
    inputs(&world, &mut cases);
    signatures(&world, ticket, &mut cases).await;
    assert!(cases.len() > 500, "{} cases", cases.len());
    let mut faults = Vec::new();
    for (who, line, stdin) in cases {
        if let Err(fault) = fails_without_a_trace(&world, who, &line, &stdin).await {
            faults.push(format!("{line:?} < {:?}: {fault}", String::from_utf8_lossy(&stdin)));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

async fn fails_without_a_trace(
    world: &World,
    who: &Caller,
    line: &str,
    stdin: &[u8],
) -> Result<(), String> {
    let before = (world.tables().await, world.size());
    let answer = world.run(who, line, stdin).await;
    let is_clear = answer.err.len() > 15 && answer.err.chars().all(|c| c == '\n' || is_plain(c));
    let events = world.events(before.1).await;
    let refused = events.iter().all(|event| text(event, "type") == "command.refused");
    let entries = usize::from([3, 4].contains(&answer.code));
    match () {
        () if !(1..=4).contains(&answer.code) => Err(format!("{answer:?}")),
        () if !answer.out.is_empty() || !is_clear => Err(format!("not clear: {answer:?}")),
        () if world.tables().await != before.0 => Err("it changed something".into()),
        () if !refused || events.len() != entries => Err(format!("entered {events:?}")),
        () => Ok(()),
    }
}

/// Wrong ids, names and free texts in every place that takes one.
fn words<'a>(world: &'a World, ticket: &str, cases: &mut Vec<Case<'a>>) {
    let (long_id, long_text) = ("a".repeat(64), "a".repeat(501));
    let mut fill_all = |who: &'a Caller, template: &str, bad: &[&str], long: &str| {
        let bad = bad.iter().copied().chain([long]);
        cases.extend(bad.map(|bad| (who, fill(template, bad), vec![])));
    };
    for template in ID_PLACES {
        fill_all(&world.odile, template, BAD_IDS, &long_id);
    }
    for template in ["consent show {}", "consent withdraw {}", "consent decide {}"] {
        fill_all(&world.ada, template, BAD_IDS, &long_id);
    }
    let refuse = format!("consent refuse {ticket} --reason {{}}");
    let withdraw = format!("consent withdraw {ticket} --reason {{}}");
    let request = "request pg-1.acme --account dba --reason SECURITY_REVIEW --for 1h";
    let (note, case) =
        (format!("{request} --note {{}}"), format!("{request} --note x --case {{}}"));
    for (who, template) in [
        (&world.odile, "operator disable olga --reason {}"),
        (&world.odile, "operator change olga --team {}"),
        (&world.odile, "operator change olga --entity {}"),
        (&world.odile, "customer add new --name {}"),
        (&world.olga, &note),
        (&world.olga, &case),
        (&world.ada, &refuse),
        (&world.ada, &withdraw),
    ] {
        fill_all(who, template, BAD_TEXTS, &long_text);
    }
}

/// Wrong ranges, times, numbers, addresses, accounts and the like.
fn values<'a>(world: &'a World, cases: &mut Vec<Case<'a>>) {
    for (who, template, bad) in VALUES {
        let who = match who {
            Who::Odile => &world.odile,
            Who::Olga => &world.olga,
        };
        let bad = bad.split_ascii_whitespace();
        cases.extend(bad.map(|value| (who, fill(template, &format!("'{value}'")), vec![])));
    }
}

/// What is missing, too much, twice, or no command at all.
fn structure<'a>(world: &'a World, ticket: &str, cases: &mut Vec<Case<'a>>) {
    let mut add = |who: &'a Caller, lines: &[&str]| {
        cases.extend(lines.iter().map(|line| (who, (*line).to_owned(), vec![])));
    };
    add(&world.odile, OF_AN_OFFICER);
    add(&world.olga, OF_AN_OPERATOR);
    let of_ticket = [
        "consent refuse T extra",
        "consent narrow T",
        "consent narrow T --for 0h",
        "consent narrow T --sessions 0",
        "consent narrow T --sessions x",
        "consent narrow T --for x",
        "consent narrow T --operator otto",
        "consent narrow T --operator UPPER",
        "consent decide T extra",
        "consent statement T T",
        "consent show T --all",
    ]
    .map(|line| line.replace('T', ticket));
    add(&world.ada, &of_ticket.each_ref().map(String::as_str));
    let open = "consent open pg-1.acme --account dba --reason SECURITY_REVIEW --for 1h --note x";
    let opens = ["", " --operator nobody", " --operator UPPER", " --team", " --team ' '"]
        .map(|rest| format!("{open}{rest}"));
    add(&world.ada, &opens.each_ref().map(String::as_str));
}

/// Keys and PEM on standard input.
fn inputs<'a>(world: &'a World, cases: &mut Vec<Case<'a>>) {
    let good = world.key("good");
    let private = std::fs::read(world.key_file("good")).unwrap();
    let mut keys: Vec<Vec<u8>> = [
        "",
        "x",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAA",
        "ssh-dss AAAAB3NzaC1kc3MAAACBAP",
        "ssh-ed25519-cert-v01@openssh.com AAAA",
        "\u{202e}",
        "no-pty ssh-ed25519 AAAA",
        "{}",
        "-----BEGIN PUBLIC KEY-----",
        "\0",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    keys.push(private);
    keys.push(vec![0xff; 20]);
    keys.push(vec![b'a'; 40_000]);
    keys.push(format!("{good}\n{good}\n").into_bytes());
    keys.push(good.as_bytes()[..good.len() / 2].to_vec());
    keys.push(good.replace("ssh-ed25519", "ssh-rsa").into_bytes());
    keys.push(format!("command=\"x\" {good}").into_bytes());
    for kind in [["rsa", "1024"], ["rsa", "2048"], ["dsa", "1024"]] {
        keys.extend(weak_key(world, kind));
    }
    let add = "operator add new --key - --team x --entity x --country DE";
    for line in [
        add,
        "operator key add olga --key -",
        "officer add new --key -",
        "vm certify pg-1.acme",
        "approver enrol",
    ] {
        cases.extend(keys.iter().map(|key| (&world.odile, line.to_owned(), key.clone())));
    }
    for line in ["approver change --add new --key -", "approver change --rekey ada --key -"] {
        cases.extend(keys.iter().map(|key| (&world.ada, line.to_owned(), key.clone())));
    }
    let pem = &world.pem;
    let pems = [
        String::new(),
        "x".into(),
        pem.replace("PUBLIC", "PRIVATE"),
        pem[..pem.len() / 2].into(),
        pem.replace("-----END PUBLIC KEY-----", ""),
        pem.replace('A', "!"),
        good,
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n".into(),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
    ];
    for line in ["service add new --customer acme", "service recording-key acme-pg"] {
        let pems = pems.iter();
        cases.extend(pems.map(|pem| (&world.odile, line.to_owned(), pem.clone().into_bytes())));
    }
}

/// A key that is too weak, if the ssh-keygen of this machine still makes such.
fn weak_key(world: &World, [kind, bits]: [&str; 2]) -> Option<Vec<u8>> {
    let file = world.key_file(&format!("{kind}-{bits}"));
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-b", bits, "-N", "", "-f"])
        .arg(&file)
        .output()
        .unwrap();
    made.status.success().then(|| std::fs::read(file.with_extension("pub")).unwrap())
}

/// Signatures that are none, or do not hold.
async fn signatures<'a>(world: &'a World, ticket: &str, cases: &mut Vec<Case<'a>>) {
    let line = format!("consent statement {ticket}");
    let bytes = world.run(&world.ada, &line, b"").await.done();
    let namespace = "operator-consent@bastion.example";
    let good = world.sign("ada", namespace, bytes.as_bytes());
    let body = good.lines().nth(1).unwrap().to_owned();
    let mut bad: Vec<String> = vec![
        String::new(),
        " ".into(),
        "x".into(),
        bytes.clone(),
        world.pem.clone(),
        "-----BEGIN SSH SIGNATURE-----".into(),
        "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n".into(),
        "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n".into(),
        "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n".into(),
        format!("{good}{good}"),
        format!("{good}x"),
        format!("x{good}"),
        good.replace(&body, ""),
        good.replace(&body, &body.to_lowercase()),
        good.replace("BEGIN", "BEGlN"),
        good[..good.len() / 2].into(),
        "a".repeat(40_000),
        world.sign("gus", namespace, bytes.as_bytes()),
        world.sign("ada", "git", bytes.as_bytes()),
        world.sign("ada", "operator-consent@other.example", bytes.as_bytes()),
        world.sign("ada", namespace, format!("{bytes} ").as_bytes()),
        world.sign("ada", namespace, b""),
    ];
    // One character of the body after the other, replaced by another of the alphabet.
    for index in (0..body.len()).step_by(5) {
        let other = if body.as_bytes()[index] == b'B' { "C" } else { "B" };
        let changed = format!("{}{other}{}", &body[..index], &body[index + 1..]);
        bad.push(good.replace(&body, &changed));
    }
    let decide = format!("consent decide {ticket}");
    cases.extend(bad.into_iter().map(|text| (&world.ada, decide.clone(), text.into_bytes())));
}

fn fill(template: &str, value: &str) -> String {
    template.replace("{}", value)
}

/// What no id is; an id that is too long comes on top.
const BAD_IDS: &[&str] = &[
    "''",
    "UPPER",
    "a..b",
    "gr\u{fc}n",
    "a/b",
    "a_b",
    "'a\u{202e}b'",
    "'a;b'",
    "../x",
    "a%00",
    "'*'",
    "'a b'",
    ".a",
];

/// Where an officer's commands take an id.
const ID_PLACES: &[&str] = &[
    "operator show {}",
    "operator enable {}",
    "operator disable {} --reason x",
    "operator change {} --team x",
    "operator key add {} --key x",
    "operator add {} --key x --team x --entity x --country DE",
    "officer remove {}",
    "officer add {} --key x",
    "change show {}",
    "change approve {}",
    "change refuse {} --reason x",
    "approver invite {} --customer acme",
    "approver invite new --customer {}",
    "approver void {} --customer acme",
    "approver reset {} --reason x",
    "approver stop-reset --customer {}",
    "customer add {} --name x",
    "customer notify {}",
    "service add {} --customer acme",
    "service add new --customer {}",
    "service sources {} --anywhere",
    "service recording-key {}",
    "vm retire {}",
    "vm rebuild {}",
    "vm certify {}",
    "vm add {} --service acme-pg --address 127.0.0.1:1 --account a:data",
    "vm add new --service {} --address 127.0.0.1:1 --account a:data",
];

/// What no free text is; one that is too long comes on top.
const BAD_TEXTS: &[&str] = &[
    "''",
    "'   '",
    "'a\u{202e}b'",
    "'a\u{200b}b'",
    "'a\tb'",
    "'a\nb'",
    "a\u{feff}b",
    "e\u{301}",
    "'a\u{2028}b'",
    "'\u{e0041}'",
];

/// Who says it.
enum Who {
    Odile,
    Olga,
}

/// A place in a command, and what it does not take.
const VALUES: &[(Who, &str, &str)] = &[
    (
        Who::Odile,
        "service sources acme-pg {}",
        "192.0.2.1/24 192.0.2.0 192.0.2.0/33 0.0.0.0/0 ::/0 2001:db8::1/32 fe80::/129 \
             300.0.0.0/8 192.0.2.0/ /24 a/8 192.0.2/24 192.0.2.0/-1 * 192.0.2.0/24,10.0.0.0/8 \
             --bogus 192.0.2.0/24/24 [::1]/128 1.2.3.4.5/8",
    ),
    (
        Who::Olga,
        "request pg-1.acme --account dba --reason SECURITY_REVIEW --note x --for {}",
        "0h 1 h -1h 1.5h 1H 25h 2d 99999999s 1h30m 1w forever 86401s \u{663}h",
    ),
    (
        Who::Olga,
        "request pg-1.acme --account dba --reason SECURITY_REVIEW --note x --for 1h --from {}",
        "now 2020-01-01 2126-01-01 2026-13-01 2026-11-24T08:02Z 24.11.2026 2026-02-30",
    ),
    (
        Who::Olga,
        "request pg-1.acme --account dba --reason SECURITY_REVIEW --note x --for 1h --sessions {}",
        "0 101 -1 x 1.5 99999999999 0x1 \u{661}",
    ),
    (
        Who::Olga,
        "request pg-1.acme --account dba --note x --for 1h --reason {}",
        "customer_request CUSTOMER-REQUEST X CUSTOMER_REQUEST, BREAK_GLASS 1 *",
    ),
    (
        Who::Olga,
        "request pg-1.acme --reason SECURITY_REVIEW --note x --for 1h --account {}",
        "root ROOT dba+ops dba;id nobody dba.x",
    ),
    (
        Who::Odile,
        "operator training olga --course c --completed {} --valid-until 2126-01-01",
        "today 2126-01-01 2026-13-01 2026-02-30 24.11.2026 2026-11-24T25:00:00Z -1 0",
    ),
    (
        Who::Odile,
        "operator training olga --course c --completed 2025-01-01 --valid-until {}",
        "never 2025-01-01 2024-12-31 9999 2026-1-1 2026-11-24T08:02:00+01:00",
    ),
    (
        Who::Odile,
        "operator training olga --completed 2025-01-01 --valid-until 2026-01-01 --course {}",
        "a/b a\u{202e}b \u{fc}ber a:b $(id)",
    ),
    (Who::Odile, "operator change olga --country {}", "de DEU D 49 Germany \u{c4}\u{c4} D\u{202e}"),
    (
        Who::Odile,
        "vm add new --service acme-pg --account a:data --address {}",
        "pg-1 pg-1:22 192.0.2.7 192.0.2.7:0 192.0.2.7:65536 192.0.2.7:022 ::1:22 [::1] :22 \
             192.0.2.7:22:22 192.0.2.7:ssh 0300.0.2.7:22 [::1%lo]:22",
    ),
    (
        Who::Odile,
        "vm add new --service acme-pg --address 127.0.0.1:1 --account {}",
        "a :data a: a:root a:DATA A:data a:data: a:data:Root a:data:x:y a:data:../x a:data:a@b \
             a,b:data",
    ),
    (Who::Odile, "customer add new --name x --signatures {}", "0 17 -1 x 1.5 two"),
    (
        Who::Odile,
        "customer notify acme --webhook {}",
        "acme.example http://acme.example/ http://localhost/ ftp://a/ file:///etc/passwd \
             https://u:p@acme.example/ https:///x https://a/#b javascript:x http://10.0.0.1/ \
             https://\u{202e}/ https://acme.example:0/ https://acme.example:65536/ https://a..b/ \
             https://acme.example:/ https://u@acme.example/ https://0300.0.2.7/ \
             https://[127.0.0.1]/ https://[::1/ https:acme.example //acme.example/",
    ),
    (Who::Odile, "customer notify acme --hook {}", "../x /bin/sh a.sh A a/b -x \u{fc} a_b"),
    (Who::Odile, "policy check {}", "../x /etc/passwd nothing.cedar . .. *"),
];

/// Commands that are wrong as a whole.
const OF_AN_OFFICER: &[&str] = &[
    "operator add",
    "operator add x",
    "operator add x --key",
    "operator show",
    "operator show olga otto",
    "operator change olga",
    "operator key add olga",
    "operator training olga",
    "operator list extra",
    "operator list --customer acme",
    "officer add",
    "officer remove",
    "approver invite x",
    "approver void x",
    "approver reset acme",
    "approver stop-reset",
    "approver list acme",
    "customer add x",
    "service sources acme-pg",
    "service sources acme-pg 192.0.2.0/24 --anywhere",
    "service add x",
    "vm add x",
    "vm add x --service acme-pg --address 127.0.0.1:1",
    "vm add x --service acme-pg --address 127.0.0.1:1 --account a:data --account a:data",
    "vm add x --service acme-pg --address 127.0.0.1:1 --address [::1]:2 --account a:x",
    "vm rebuild",
    "vm rebuild pg-1.acme --account a:data --account a:troubleshoot",
    "policy show extra",
    "ca show extra",
    "policy reload --force",
    "operator list --json=1",
    "officer list --JSON",
    "operator list -j",
    "operator list -- x",
    "frobnicate",
    "operator frobnicate",
    "operator key frobnicate",
    "'rm -rf /'",
    "''",
    "\u{202e}",
    "--version",
    "-V",
    "OPERATOR list",
    "operator  LIST",
    "help frobnicate",
    "sudo operator list",
    "operator list; ls",
    "$(id)",
    "`id`",
    "|",
    "..",
];
const OF_AN_OPERATOR: &[&str] = &[
    "request",
    "request pg-1.acme",
    "request pg-1.acme --account dba",
    "request pg-1.acme --account dba --reason SECURITY_REVIEW --for 1h",
    "request --account dba --reason SECURITY_REVIEW --for 1h --note x",
    "request pg-9.acme --account dba --reason SECURITY_REVIEW --for 1h --note x",
    "request nothing --account dba --reason SECURITY_REVIEW --for 1h --note x",
    "request pg-1.acme --account dba --reason SECURITY_REVIEW --for 1h --note x --team x",
    "request pg-1.acme --account dba --for 1h --for 2h --reason SECURITY_REVIEW --note x",
    "ls extra",
    "status a b",
    "status t-0000000000",
    "whoami extra",
    "consent list",
];
