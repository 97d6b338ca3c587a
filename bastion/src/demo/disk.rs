//! The disk of a demo VM: what its folder holds before it boots.

use super::{
    error::{DemoError, Doing as _},
    files::{folder, fresh_key, line, write},
    vm::Vm,
};
use nix::unistd::{Gid, Uid, User, chown};
use russh::keys::ssh_key::LineEnding;

impl Vm {
    /// Makes the folders, keys and files, keeping what is already there.
    pub(super) fn lay_disk(&self) -> Result<(), DemoError> {
        for path in ["etc-ssh", "etc-ssh/principals", "home", "srv"] {
            folder(&self.disk.join(path), 0o755)?;
        }
        for path in ["home/ops", "home/dba", "srv/data"] {
            folder(&self.disk.join(path), 0o700)?;
        }
        let data = self.disk.join("srv/data/customers.csv");
        if !data.exists() {
            write(&data, &customer_data(&self.name), 0o600)?;
        }
        self.make_host_key()?;
        if let Some([ops, dba]) = self.uids {
            for (path, uid) in [
                ("home/ops", ops),
                ("home/dba", dba),
                ("srv/data", dba),
                ("srv/data/customers.csv", dba),
            ] {
                let path = self.disk.join(path);
                chown(&path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))
                    .doing(format!("give {path:?} to its account"))?;
            }
            self.write_accounts(ops, dba)?;
        }
        Ok(())
    }

    fn make_host_key(&self) -> Result<(), DemoError> {
        let path = self.disk.join("etc-ssh/ssh_host_ed25519_key");
        if path.exists() {
            return Ok(());
        }
        let key = fresh_key(&self.name)?;
        write(&path, &key.to_openssh(LineEnding::LF)?, 0o600)?;
        let public = key.public_key().to_openssh()?;
        write(&path.with_extension("pub"), &line(&public), 0o644)
    }

    fn write_accounts(&self, ops: u32, dba: u32) -> Result<(), DemoError> {
        let sshd = match User::from_name("sshd") {
            Ok(Some(user)) => user.uid.as_raw(),
            Ok(None) | Err(_) => 100,
        };
        let passwd = format!(
            "root:x:0:0:root:/root:/bin/bash\n\
             nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
             sshd:x:{sshd}:65534::/run/sshd:/usr/sbin/nologin\n\
             ops:x:{ops}:{ops}:troubleshooting, no customer data:/home/ops:/bin/bash\n\
             dba:x:{dba}:{dba}:customer data:/home/dba:/bin/bash\n"
        );
        let group = format!("root:x:0:\ntty:x:5:\nnogroup:x:65534:\nops:x:{ops}:\ndba:x:{dba}:\n");
        // `*` is no password; a locked account (`!`) would refuse certificates too without PAM.
        let shadow: String = ["root", "nobody", "sshd", "ops", "dba"]
            .iter()
            .map(|user| format!("{user}:*:20000:0:99999:7:::\n"))
            .collect();
        write(&self.disk.join("passwd"), &passwd, 0o644)?;
        write(&self.disk.join("group"), &group, 0o644)?;
        write(&self.disk.join("shadow"), &shadow, 0o600)
    }
}

/// Made-up people, so that a data login has something to show.
fn customer_data(vm: &str) -> String {
    let people = [
        ("Ada Lindqvist", "ada.lindqvist@example.org", "1984-03-02"),
        ("Bela Novak", "bela.novak@example.org", "1991-11-23"),
        ("Chidi Eze", "chidi.eze@example.org", "1978-07-14"),
    ];
    let mut text = format!("# customer data of {vm} (made up)\nname,email,born\n");
    for (name, email, born) in people {
        text.push_str(&format!("{name},{email},{born}\n"));
    }
    text
}
