//! Programs that run ssh many times over one connection: git, and Ansible.

use crate::desk::{self, Desk};
use bastion_tests::world::finish;
use std::fs;

pub fn git(desk: Desk<'_>) {
    let world = desk.world;
    let git = |words: &[&str]| {
        let mut command = world.program("git", words);
        command
            .env("GIT_SSH_COMMAND", format!("{} -F ssh_config", desk.openssh("ssh")))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null");
        for (name, value) in [("NAME", "olga"), ("EMAIL", "olga@example.com")] {
            command.env(format!("GIT_AUTHOR_{name}"), value);
            command.env(format!("GIT_COMMITTER_{name}"), value);
        }
        finish(command, &[]).exits(0)
    };
    desk.ssh("git init -q --bare repo.git").exits(0);
    let (host, here, there) = (desk.form.host(), desk.file("work"), desk.file("cloned"));
    git(&["init", "-q", "-b", "main", &here]);
    fs::write(desk.path("work").join("data"), crate::transfer::some_bytes(2_000_000)).unwrap();
    git(&["-C", &here, "add", "data"]);
    git(&["-C", &here, "commit", "-q", "-m", "one"]);
    // git runs ssh in the repository's folder, so the configuration is named in full.
    let config = world.dir().join("ssh_config").display().to_string();
    let command = format!("core.sshCommand={} -F {config}", desk.openssh("ssh"));
    let far = format!("{host}:repo.git");
    let push = |words: &[&str]| {
        let mut git = world.program("git", &[&["-c", &command], words].concat());
        git.env_remove("GIT_SSH_COMMAND");
        finish(git, &[]).exits(0)
    };
    push(&["-C", &here, "push", "-q", &far, "main"]);
    push(&["clone", "-q", "-b", "main", &far, &there]);
    push(&["-C", &there, "fetch", "-q"]);
    assert!(
        fs::read(desk.path("cloned").join("data")).unwrap()
            == fs::read(desk.path("work").join("data")).unwrap(),
        "not the same bytes"
    );
}

/// Modules, a copied file, a fetched one and a loop, with pipelining over a shared connection.
const PLAYBOOK: &str = r#"
- hosts: all
  gather_facts: false
  tasks:
    - command: echo {{ item }}
      loop: "{{ range(5) | list }}"
      register: said
    - assert: {that: "said.results | map(attribute='stdout') | join == '01234'"}
    - copy: {src: "{{ up }}", dest: "ansible.bin"}
    - stat: {path: "ansible.bin", checksum_algorithm: sha256}
      register: there
    - assert: {that: "there.stat.size == 1000000"}
    - fetch: {src: "ansible.bin", dest: "{{ down }}", flat: true}
    - shell: "exit 3"
      register: failed
      failed_when: failed.rc != 3
"#;

pub fn ansible(desk: Desk<'_>) {
    let world = desk.world;
    let bytes = crate::transfer::some_bytes(1_000_000);
    let (up, down) = (desk.write("ansible-up", &bytes), desk.file("ansible-down"));
    let playbook = desk.write("playbook.yml", PLAYBOOK.as_bytes());
    // The account is ssh's business: of an `ansible_user` Ansible would ask the VM for the home.
    let (user, host) = match desk.form.host().split_once('@') {
        Some((user, host)) => (user.to_owned(), host.to_owned()),
        None => unreachable!("both forms name an account"),
    };
    let inventory = desk.write("hosts", format!("{host}\n").as_bytes());
    let dir = world.dir().display();
    let (ssh, scp) = (desk.openssh("ssh"), desk.openssh("scp"));
    let settings = format!(
        "[defaults]\nhost_key_checking = true\nretry_files_enabled = false\n\
         interpreter_python = /usr/bin/python3\nlocal_tmp = {dir}/{tmp}\nremote_tmp = ~/.ansible\n\
         [ssh_connection]\npipelining = true\nssh_executable = {ssh}\nscp_executable = {scp}\n\
         ssh_args = -F {dir}/ssh_config -o ControlMaster=auto -o ControlPersist=30 -o User={user}\n\
         scp_extra_args = -S {ssh}\nsftp_extra_args = -S {ssh}\n\
         control_path = {dir}/{cp}-%%C\n",
        tmp = desk.file("ansible-tmp"),
        cp = desk.form.word(),
    );
    let config = world.dir().join(format!("{}.cfg", desk.form.word()));
    fs::write(&config, settings).unwrap();
    let program = desk::tools().join("venv/bin/ansible-playbook").display().to_string();
    let (up, down) = (format!("up={dir}/{up}"), format!("down={dir}/{down}"));
    let words = ["-i", &inventory, "-e", &up, "-e", &down, &playbook];
    let mut command = world.program(&program, &words);
    command
        .env("ANSIBLE_CONFIG", &config)
        .env("ANSIBLE_HOME", world.dir().join(desk.file("ansible-home")))
        .env("LC_ALL", "C.UTF-8");
    finish(command, &[]).exits(0).says("failed=0");
    assert!(desk.read("ansible-down") == bytes, "not the same bytes");
}
