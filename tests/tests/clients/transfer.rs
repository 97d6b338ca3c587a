//! Files through programs that run OpenSSH: sftp, scp in both protocols, rsync, sshfs.

use crate::desk::Desk;
use bastion_tests::world::{Answer, until};
use std::{fs, os::unix::ffi::OsStrExt as _, path::Path, process::Stdio};

/// Some bytes that are not all the same.
pub fn some_bytes(length: usize) -> Vec<u8> {
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn copied(desk: Desk<'_>, options: &[&str], from: &str, to: &str) -> Answer {
    let (program, ssh) = (desk.openssh("scp"), desk.openssh("ssh"));
    let words = [&["-q", "-F", "ssh_config", "-S", &ssh], options, &[from, to]].concat();
    desk.world.run(&program, &words)
}

fn both_ways(desk: Desk<'_>, options: &[&str]) {
    let bytes = some_bytes(3_000_000);
    let up = desk.write("scp-up", &bytes);
    let down = desk.file("scp-down");
    let far = format!("{}:scp.bin", desk.form.host());
    copied(desk, options, &up, &far).exits(0);
    copied(desk, options, &far, &down).exits(0);
    assert!(desk.read("scp-down") == bytes, "not the same bytes");
    // A folder with all that is in it, its times and its modes.
    let folder = desk.path("tree");
    fs::create_dir_all(folder.join("in ner")).unwrap();
    for name in ["a", "in ner/b c", "in ner/\u{e4}"] {
        fs::write(folder.join(name), name).unwrap();
    }
    let far = format!("{}:", desk.form.host());
    copied(desk, &[options, &["-rp"]].concat(), &desk.file("tree"), &far).exits(0);
    let listed = desk.ssh(&format!("cd {} && find . -type f | sort", desk.file("tree"))).exits(0);
    assert_eq!(listed.text(), "./a\n./in ner/b c\n./in ner/\u{e4}\n");
    // What is not there is said, with a status.
    let missing = format!("{}:no-such-file", desk.form.host());
    copied(desk, options, &missing, &down).exits(1).complains("No such file");
}

pub fn scp(desk: Desk<'_>) {
    both_ways(desk, &[]);
}

pub fn scp_old(desk: Desk<'_>) {
    both_ways(desk, &["-O"]);
}

pub fn sftp(desk: Desk<'_>) {
    let bytes = some_bytes(2_000_000);
    let up = desk.write("sftp-up", &bytes);
    let down = desk.file("sftp-down");
    // Names that are not UTF-8 go through as they are.
    let mut batch = format!("put {up} far.bin\nget far.bin {down}\nrename far.bin ").into_bytes();
    batch.extend(b"f\xe9r.bin\nmkdir dir\nchmod 700 dir\nls -l\nrmdir dir\nrm f\xe9r.bin\n");
    let file = desk.write("batch", &batch);
    let (program, ssh, host) = (desk.openssh("sftp"), desk.openssh("ssh"), desk.form.host());
    let words = ["-q", "-F", "ssh_config", "-S", &ssh, "-b", &file, &host];
    let listed = desk.world.run(&program, &words).exits(0).out;
    let name: &[u8] = b"f\xe9r.bin";
    let quoted: &[u8] = b"f\\351r.bin";
    let holds = |part: &[u8]| listed.windows(part.len()).any(|window| window == part);
    assert!(holds(name) || holds(quoted), "{}", String::from_utf8_lossy(&listed));
    assert!(desk.read("sftp-down") == bytes, "not the same bytes");
}

/// Nothing at all, by every program that carries files.
pub fn empty(desk: Desk<'_>) {
    let (up, host) = (desk.write("empty", b""), desk.form.host());
    for (options, name) in [(&[][..], "e1"), (&["-O"][..], "e2")] {
        let far = format!("{host}:{name}");
        copied(desk, options, &up, &far).exits(0);
        let down = desk.file(name);
        copied(desk, options, &far, &down).exits(0);
        assert_eq!(desk.read(name), b"");
    }
    desk.world.run("rsync", &["-a", "-e", &shell(desk), &up, &format!("{host}:e3")]).exits(0);
    assert_eq!(desk.ssh("cat e1 e2 e3 | wc -c; ls e1 e2 e3").exits(0).text(), "0\ne1\ne2\ne3\n");
    // And nothing on both standard streams.
    assert_eq!(desk.ssh_with("cat", b"").exits(0).out, b"");
}

fn shell(desk: Desk<'_>) -> String {
    format!("{} -F ssh_config", desk.openssh("ssh"))
}

pub fn rsync(desk: Desk<'_>) {
    rsync_by(desk, &shell(desk), &desk.form.host());
}

/// The same with any remote shell, as `-e` has it, and what that calls the VM.
pub fn rsync_by(desk: Desk<'_>, shell: &str, host: &str) {
    let rsync =
        |words: &[&str]| desk.world.run("rsync", &[&["-a", "-e", shell], words].concat()).exits(0);
    let mut bytes = some_bytes(8_000_000);
    let up = desk.write("rsync-up", &bytes);
    let far = format!("{host}:rsync.bin");
    rsync(&[&up, &far]);
    // A change in the middle: only the delta goes over the line.
    bytes[4_000_000..4_000_100].copy_from_slice(&[0; 100]);
    desk.write("rsync-up", &bytes);
    let words = ["--no-whole-file", "--checksum", "--stats", &up, &far];
    let stats = rsync(&words).text();
    let literal = stats.lines().find_map(|line| line.strip_prefix("Literal data: "));
    let literal = literal.unwrap().trim_end_matches(" bytes").replace(',', "");
    assert!(literal.parse::<u64>().unwrap() < 100_000, "{stats}");
    let down = desk.file("rsync-down");
    rsync(&[&far, &down]);
    assert!(desk.read("rsync-down") == bytes, "not the same bytes");
    // Many small files, and their removal: rsync speaks both ways at once here.
    let tree = desk.path("many");
    fs::create_dir_all(&tree).unwrap();
    for number in 0..300 {
        fs::write(tree.join(format!("{number}")), vec![b'x'; number * 10]).unwrap();
    }
    let (from, to) = (format!("{}/", desk.file("many")), format!("{host}:many/"));
    rsync(&["--delete", &from, &to]);
    fs::remove_file(tree.join("7")).unwrap();
    rsync(&["--delete", &from, &to]);
    assert_eq!(desk.ssh("ls many | wc -l").exits(0).text(), "299\n");
}

pub fn sshfs(desk: Desk<'_>) {
    if !Path::new("/dev/fuse").exists() {
        // Never so on a machine that runs all tests: ./check looks for it.
        println!("SKIPPED: sshfs needs /dev/fuse, and this machine has none");
        return;
    }
    let at = desk.path("mounted");
    fs::create_dir_all(&at).unwrap();
    let (host, folder) = (format!("{}:", desk.form.host()), desk.file("mounted"));
    // It leaves the folder that it was started in.
    let config = desk.world.dir().join("ssh_config").display().to_string();
    let ssh = format!("ssh_command={} -F {config}", desk.openssh("ssh"));
    let mut mount = desk.world.program("sshfs", &["-f", "-o", &ssh, &host, &folder]);
    // It serves in the foreground until it is unmounted.
    let mut serving = mount.stdout(Stdio::null()).spawn().unwrap();
    let mounted = || {
        let mounts = fs::read("/proc/self/mounts").unwrap();
        let at = at.as_os_str().as_bytes();
        mounts.windows(at.len()).any(|window| window == at)
    };
    until("the mount", 20, mounted);
    let bytes = some_bytes(1_500_000);
    fs::write(at.join("through-fuse"), &bytes).unwrap();
    let back = fs::read(at.join("through-fuse")).unwrap();
    fs::create_dir(at.join("dir")).unwrap();
    fs::rename(at.join("through-fuse"), at.join("dir/moved")).unwrap();
    let unmounted = desk.world.run("fusermount3", &["-u", &folder]);
    let ended = serving.wait().unwrap();
    assert!(back == bytes, "not the same bytes");
    unmounted.exits(0);
    assert!(ended.success(), "{ended}");
    assert_eq!(desk.ssh("wc -c < dir/moved").exits(0).text(), "1500000\n");
}
