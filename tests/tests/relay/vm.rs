//! A VM for the relay's tests: a private sshd on loopback that takes certificates only.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub struct Vm {
    pub folder: PathBuf,
    pub port: u16,
    pub user: String,
    sshd: Child,
}

fn keygen(args: &[&str]) {
    let done = Command::new("ssh-keygen").args(["-q"]).args(args).status();
    assert!(done.is_ok_and(|status| status.success()), "ssh-keygen {args:?}");
}

fn key(folder: &Path, name: &str) -> String {
    let path = folder.join(name).display().to_string();
    keygen(&["-t", "ed25519", "-N", "", "-f", &path]);
    path
}

impl Vm {
    /// Starts one whose host certificate names `principal`, with more lines for its sshd.
    pub fn start(name: &str, principal: &str, more: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("relay-{name}-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout);
        let user = user.unwrap().trim().to_owned();
        if user == "root" {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let (user_ca, host_ca) = (key(&folder, "user-ca"), key(&folder, "host-ca"));
        let (host, operator) = (key(&folder, "host"), key(&folder, "operator"));
        let host_pub = format!("{host}.pub");
        keygen(&["-s", &host_ca, "-I", "host", "-h", "-n", principal, &host_pub]);
        keygen(&["-s", &user_ca, "-I", "test", "-n", &user, &format!("{operator}.pub")]);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = folder.join("sshd_config");
        let text = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {host}\nHostCertificate {host}-cert.pub\n\
             TrustedUserCAKeys {user_ca}.pub\nAuthorizedKeysFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n\
             PermitRootLogin prohibit-password\nMaxStartups 200\nAcceptEnv LANG LC_*\n\
             Subsystem sftp internal-sftp\n{more}\n"
        );
        fs::write(&config, text).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(sshd.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "sshd did not start");
        }
        // Its log must be read, or it stops when the pipe is full.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { folder, port, user, sshd }
    }

    pub fn stop(&mut self) {
        self.sshd.kill().unwrap();
        self.sshd.wait().unwrap();
    }

    pub fn text(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // It may have been stopped by a test already; the folder is private to this process.
        drop(self.sshd.kill());
        drop(self.sshd.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}
