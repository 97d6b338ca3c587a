//! The script of `vm bootstrap`, run by a real shell as root on a machine of its own: a mount
//! namespace with its own /etc, /var/lib, /usr/local, and a real sshd at its end.

use crate::world::{World, free_port, keygen};
use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

/// Becomes a fresh VM with two Unix users, runs the script twice, and then is its sshd.
const BOOT: &str = r#"set -eu
work=$1
mkdir -p "$work/disk"
mount -t tmpfs -o mode=755 disk "$work/disk"
cp -a /etc "$work/disk/etc"
mount --bind "$work/disk/etc" /etc
for place in /usr/local /var/lib /root /run; do mount -t tmpfs -o mode=755 vm $place; done
rm -f /etc/ssh/ssh_host_*
echo 'ops:x:30001:30001::/:/bin/sh' >> /etc/passwd
echo 'dba:x:30002:30002::/:/bin/sh' >> /etc/passwd
echo 'ops:*:19000:0:99999:7:::' >> /etc/shadow
echo 'dba:*:19000:0:99999:7:::' >> /etc/shadow
sh "$work/bootstrap.sh"
sha256sum /etc/ssh/ssh_host_ed25519_key-cert.pub > "$work/first"
sh "$work/bootstrap.sh"
sha256sum -c "$work/first"
exec /usr/sbin/sshd -D -e
"#;

struct Vm(Child);

impl Drop for Vm {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Vm {
    fn boot(world: &World, port: u16) -> Self {
        fs::write(world.at("boot.sh"), BOOT).unwrap();
        let log = fs::File::create(world.at("vm.log")).unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh"])
            .arg(world.at("boot.sh"))
            .arg(&world.folder.0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let vm = Self(child);
        for _ in 0..300 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return vm;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{}", fs::read_to_string(world.at("vm.log")).unwrap());
    }

    /// Runs a command on the VM, as root.
    fn runs(&self, script: &str) -> Output {
        Command::new("nsenter")
            .args(["--mount", "--target", &self.0.id().to_string(), "sh", "-euc", script])
            .output()
            .unwrap()
    }

    #[track_caller]
    fn says(&self, script: &str) -> String {
        let done = self.runs(script);
        assert!(done.status.success(), "{script}: {done:?}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}

/// `ssh` to the VM with a certificate that a thief of the user CA's key made.
fn login(world: &World, port: u16, (user, instance): (&str, &str), principal: &str) -> Output {
    let ca = world.path("gateway/keys/user-ca");
    let thief = world.path("thief");
    if !Path::new(&thief).exists() {
        keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &thief]);
    }
    let public = format!("{thief}.pub");
    keygen(&["-q", "-s", &ca, "-I", "stolen", "-n", principal, "-z", "77", &public]);
    let host_ca = fs::read_to_string(world.at("gateway/keys/vm-host-ca.pub"))
        .or_else(|_| {
            Ok::<_, std::io::Error>(keygen(&["-y", "-f", &world.path("gateway/keys/vm-host-ca")]))
        })
        .unwrap();
    fs::write(world.at("known"), format!("@cert-authority {instance} {host_ca}")).unwrap();
    Command::new("ssh")
        .args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
        .args(["-o", "StrictHostKeyChecking=yes", "-o", &format!("HostKeyAlias={instance}")])
        .args(["-o", &format!("UserKnownHostsFile={}", world.path("known"))])
        .args(["-i", &thief, "-p", &port.to_string(), &format!("{user}@127.0.0.1"), "true"])
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_vm_takes_nothing_but_what_the_guard_permits() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: a machine of its own takes root");
        return;
    }
    let port = free_port();
    let world = World::start("bootstrap", port).await;
    world.enrol("ada").await;
    let printed = world.json("vm bootstrap pg-1.acme", "").await;
    fs::write(world.at("bootstrap.sh"), printed["script"].as_str().unwrap()).unwrap();
    let instance = printed["instance"].as_str().unwrap().to_owned();
    let vm = Vm::boot(&world, port);

    // The host proves its instance, and the guard refuses what no log knows.
    for (user, level) in [("ops", "troubleshoot"), ("dba", "data")] {
        let principal = format!("{level}:{user}@{instance}");
        let refused = login(&world, port, (user, &instance), &principal);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(255), "{why}");
        assert!(why.contains("Permission denied (publickey)"), "{why}");
    }
    let other = login(&world, port, ("ops", "i-0000000000"), "troubleshoot:ops@i-0000000000");
    let why = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(why.contains("Host key verification failed"), "{why}");
    let settings = vm.says("/usr/sbin/sshd -T");
    for line in [
        "authorizedkeysfile none",
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "trustedusercakeys /etc/bastion/user_ca.pub",
        "revokedkeys /var/lib/bastion/krl",
        "permitrootlogin no",
        "authorizedprincipalscommand /usr/local/libexec/bastion-guard %u %t %k",
    ] {
        assert!(settings.lines().any(|found| found == line), "no `{line}` in\n{settings}");
    }
    vm.says("/usr/local/libexec/bastion-guard --config /etc/bastion/guard.json --help");

    refreshes(&world, &vm).await;
    is_checked(&world, &vm).await;
}

/// `vm check` finds nothing on the fresh VM, and then each thing that is made wrong.
async fn is_checked(world: &World, vm: &Vm) {
    let script = world.says("vm check pg-1.acme", "").await;
    fs::write(world.at("check.sh"), script).unwrap();
    let check = format!("sh {}", world.path("check.sh"));
    vm.says("mkdir -m 750 -p /var/lib/postgresql");
    let fresh = vm.says(&check);
    assert!(fresh.ends_with("OK    all of it\n") && !fresh.contains("FAIL"), "{fresh}");
    assert!(fresh.contains("OK    ops: cannot look into /var/lib/postgresql"), "{fresh}");
    for (wrong, found, right) in [
        (
            "chmod 755 /var/lib/postgresql",
            "ops: can look into /var/lib/postgresql",
            "chmod 750 /var/lib/postgresql",
        ),
        (
            "cp /etc/group /root/g; echo 'docker:x:30009:ops' >> /etc/group",
            "docker",
            "cp /root/g /etc/group",
        ),
        (
            "chmod 666 /etc/bastion/guard.json",
            "/etc/bastion/guard.json: others may change",
            "chmod 644 /etc/bastion/guard.json",
        ),
        (
            "cp /etc/ssh/sshd_config /root/c; \
             sed -i 's/^PasswordAuth.*/PasswordAuthentication yes/' /etc/ssh/sshd_config",
            "`passwordauthentication no`",
            "cp /root/c /etc/ssh/sshd_config",
        ),
        (
            "cp /var/lib/bastion/krl /root/krl; echo x > /var/lib/bastion/krl",
            "the KRL cannot be read",
            "cp /root/krl /var/lib/bastion/krl",
        ),
        (
            "mkdir -p /var/lib/systemd/linger; touch /var/lib/systemd/linger/ops",
            "may linger",
            "rm -r /var/lib/systemd/linger",
        ),
    ] {
        vm.says(wrong);
        let done = vm.runs(&check);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(done.status.code(), Some(1), "{wrong}: {said}");
        let fails: Vec<&str> = said.lines().filter(|line| line.starts_with("FAIL")).collect();
        assert!(fails.len() == 1 && fails[0].contains(found), "{wrong}: {fails:?}");
        vm.says(right);
    }
    vm.says(&check);
}

/// The KRL comes into place when it is signed and newer, and at no other time.
async fn refreshes(world: &World, vm: &Vm) {
    let krl = || vm.says("ssh-keygen -Q -l -f /var/lib/bastion/krl");
    assert!(!krl().contains("serial: 77"), "{}", krl());
    world.revoked_lease(77).await;
    let refresh = "/usr/local/libexec/bastion-refresh || :";
    vm.says(refresh);
    assert!(krl().contains("serial: 77"), "{}", krl());
    let sum = || vm.says("sha256sum < /var/lib/bastion/krl");
    let before = sum();
    // Signed by somebody else.
    vm.says(
        "cp /etc/bastion/krl.allowed /root/allowed; ssh-keygen -q -t ed25519 -N '' -f /root/k; \
             echo \"bastion $(cat /root/k.pub)\" > /etc/bastion/krl.allowed",
    );
    let refused = vm.runs(refresh);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not signed"), "{refused:?}");
    assert_eq!(sum(), before);
    vm.says("cp /root/allowed /etc/bastion/krl.allowed");
    // Older than the one in place.
    vm.says("ssh-keygen -q -k -z 999999999 -f /var/lib/bastion/krl </dev/null");
    let newest = sum();
    vm.says(refresh);
    assert_eq!(sum(), newest);
    // One that nobody can read locks everybody out; the next refresh heals it.
    vm.says("echo damaged > /var/lib/bastion/krl");
    vm.says(refresh);
    assert!(krl().contains("serial: 77"), "{}", krl());
    assert_eq!(vm.says("ls -A /var/lib/bastion | grep -c '^.new' || :").trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_through_the_gateway_passes_the_guard_and_both_logs_agree() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: a machine of its own takes root");
        return;
    }
    let port = free_port();
    let mut world = World::start("login", port).await;
    world.enrol("ada").await;
    world.operator("olga").await;
    let script = world.says("vm bootstrap pg-1.acme", "").await;
    fs::write(world.at("bootstrap.sh"), script).unwrap();
    let vm = Vm::boot(&world, port);
    let _gateway = world.serve().await;
    // The gateway has just begun to keep its lists.
    let fresh = || vm.runs("/usr/local/libexec/bastion-refresh").status.success();
    assert!((0..60).any(|_| fresh() || {
        std::thread::sleep(Duration::from_millis(500));
        false
    }));

    assert_eq!(world.dialled("olga", "ops+pg-1.acme", "id -un", ""), "ops\n");
    let refused = world.dials("olga", "dba+pg-1.acme", "id -un", "");
    assert_eq!(refused.status.code(), Some(254), "{refused:?}");
    let ask = "request pg-1.acme --account dba --reason CUSTOMER_REQUEST --for 1h --json --note x";
    let asked: serde_json::Value =
        serde_json::from_str(&world.dialled("olga", "olga", ask, "")).unwrap();
    let ticket = asked["ticket"].as_str().unwrap();
    let read = format!("consent statement {ticket}");
    fs::write(world.at("s.json"), world.dialled("ada", "ada", &read, "")).unwrap();
    let (key, file) = (world.path("ada"), world.path("s.json"));
    keygen(&["-q", "-Y", "sign", "-f", &key, "-n", "operator-consent@bastion.vmside", &file]);
    let signature = fs::read_to_string(world.at("s.json.sig")).unwrap();
    world.dialled("ada", "ada", &format!("consent decide {ticket}"), &signature);
    assert_eq!(world.dialled("olga", "dba+pg-1.acme", "id -un", ""), "dba\n");

    // What the VM's own sshd wrote about it is what the log says.
    let log = fs::read_to_string(world.at("vm.log")).unwrap();
    let reconcile = "vm reconcile pg-1.acme --sshd-log -";
    let said = world.dialled("gateway/take-away/officer", "odile", reconcile, &log);
    assert_eq!(said, "2 login(s) of pg-1.acme have their entry\n", "{log}");
    let forged = log.replace("(serial ", "(serial 9");
    let said = world.dialled("gateway/take-away/officer", "odile", reconcile, &forged);
    assert_eq!(
        said.matches("ALARM: a login without an entry (unknown_serial)").count(),
        2,
        "{said}"
    );
}
