//! OpenSSH's own regression tests (Debian's `openssh-tests`), run against a VM through the gateway.
//!
//! They start `$TEST_SSH_SSH`; here that is a script whose options come before those of the tests:
//! the way through the gateway, and as whom. Those are run that look at a connection's behaviour;
//! the others look at a configuration of sshd, at the client's own files, or at what a gateway
//! refuses (other ciphers, any environment, forwards).

use bastion_tests::{
    own_vm::{Sshd, output},
    world::World,
};
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

const SUITE: &str = "/usr/lib/openssh/regress";

const TESTS: [&str; 9] = [
    "connect",
    "exit-status",
    "exit-status-signal",
    "transfer",
    "stderr-data",
    "stderr-after-eof",
    "broken-pipe",
    "yes-head",
    "localcommand",
];

/// How the script takes a connection to the VM: one through a gateway of its own process, which
/// hands it to the one that runs; and `ssh -J`.
const WAYS: [(&str, &str, &str, &str); 2] = [
    ("stdio", "ops+own.acme", "bastion", "bastion serve --stdio"),
    ("jump", "ops", "own.acme", "ssh -F $world/ssh_config -W own.acme:22 bastion"),
];

/// Runs all of them one way; those that failed, with what they said.
fn run(world: &World, (name, login, alias, proxy): (&str, &str, &str, &str)) -> Vec<String> {
    let folder = world.dir().join(name);
    let copied = Command::new("cp").args(["-a", SUITE]).arg(&folder).status().unwrap();
    assert!(copied.success(), "{SUITE} is not there: apt-get install openssh-tests");
    let at = world.dir().display();
    let script = format!(
        "#!/bin/sh\nworld={at}\nexec /usr/bin/ssh -o \"ProxyCommand={proxy}\" -o User={login} \
         -o HostKeyAlias={alias} -o UserKnownHostsFile=$world/known_hosts \
         -o GlobalKnownHostsFile=$world/known_hosts -o IdentitiesOnly=yes -o IdentityAgent=none \
         -o IdentityFile=$world/keys/olga \"$@\"\n"
    );
    let ssh = folder.join("through-the-gateway");
    fs::write(&ssh, script).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let run_one = |test: &&str| {
        let words = ["./test-exec.sh", folder.to_str().unwrap(), &format!("./{test}.sh")];
        let mut command = world.program("sh", &words);
        command
            .current_dir(&folder)
            .env("TEST_SSH_SSH", &ssh)
            .env("TEST_SSH_PORT", port.to_string())
            .env("TEST_SSH_UNSAFE_PERMISSIONS", "1")
            .env("TEST_SSH_SFTPSERVER", "/usr/lib/openssh/sftp-server")
            .env("TEST_SHELL", "sh")
            .env("BUILDDIR", &folder)
            .stdin(Stdio::null());
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        println!("{name} {test}: {}", said.lines().last().unwrap_or_default());
        let complaint = format!("{name} {test}: {said}{}", String::from_utf8_lossy(&done.stderr));
        (!done.status.success() || !said.contains("\nok ") && !said.starts_with("ok "))
            .then_some(complaint)
    };
    TESTS.iter().filter_map(run_one).collect()
}

#[test]
fn openssh_own_tests_pass_through_the_gateway() {
    assert!(Path::new(SUITE).exists(), "apt-get install openssh-tests (tests/install.sh does)");
    let world = World::start(crate::BASTION, None);
    let user = output("id", &["-un"]).trim().to_owned();
    let _sshd = Sshd::start(&world, "own.acme", &user, "");
    let failed: Vec<String> = std::thread::scope(|scope| {
        let world = &world;
        let ways: Vec<_> = WAYS.iter().map(|way| scope.spawn(move || run(world, *way))).collect();
        ways.into_iter().flat_map(|way| way.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    // They went where they should: each way is a row of granted channels.
    assert!(world.log().events("access.granted").len() > 2 * TESTS.len());
    crate::desk::every_channel_is_on_record(&world);
}
