//! The files that a visitor needs: how to reach the gateway as each person, and what to paste.

use super::{
    error::DemoError,
    error::Doing as _,
    files::{folder, line, write},
    people::{EVERYBODY, OLGA, OTTO, Person},
    place::Place,
};
use std::{fs, io, os::unix::fs::symlink};

/// The shell script of audit-schema/FORMAT.md: verifies an export without any program of ours.
const VERIFY: &str = include_str!("../../../audit-schema/verify.sh");

/// Writes known_hosts, the ssh_config of each person, `env` and `bin/bastion`.
pub fn lay_out(place: &Place, port: u16, gateway_host_ca: &str) -> Result<(), DemoError> {
    // No key of a host stands here: what is not certified by this CA is refused without a question.
    let names = "bastion,*.acme,*.globex";
    let known = format!("@cert-authority {names} {}", line(gateway_host_ca));
    write(&place.at("known_hosts"), &known, 0o644)?;
    for person in EVERYBODY {
        write(&place.at(person.config), &ssh_config(place, person, port), 0o644)?;
    }
    write(&place.at("env"), &env(place, port), 0o644)?;
    folder(&place.at("bin"), 0o755)?;
    let ours = std::env::current_exe().doing("find the bastion's own program")?;
    write(&place.at("bin/verify.sh"), VERIFY, 0o755)?;
    let link = place.at("bin/bastion");
    if let Err(error) = fs::remove_file(&link)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error).doing(format!("replace {link:?}"));
    }
    symlink(&ours, &link).doing(format!("make {link:?}"))
}

fn ssh_config(place: &Place, person: Person, port: u16) -> String {
    let Person { handle, key, config } = person;
    let dir = place.dir().display();
    let mut text = format!(
        "# {handle} of the demo: ssh -F {dir}/{config} …\n\
         Host bastion\n    \
             HostName 127.0.0.1\n    \
             Port {port}\n    \
             User {handle}\n    \
             HostKeyAlias bastion\n\n"
    );
    if [OLGA, OTTO].contains(&person) {
        text += "Host *.acme *.globex\n    ProxyJump bastion\n\n";
    }
    text += &format!(
        "Host *\n    \
             IdentityFile {dir}/keys/{key}\n    \
             IdentitiesOnly yes\n    \
             IdentityAgent none\n    \
             UserKnownHostsFile {dir}/known_hosts\n    \
             GlobalKnownHostsFile /dev/null\n    \
             StrictHostKeyChecking yes\n    \
             UpdateHostKeys no\n    \
             PreferredAuthentications publickey\n    \
             BatchMode yes\n"
    );
    text
}

fn env(place: &Place, port: u16) -> String {
    let dir = place.dir().display();
    format!(
        "# Source this: `bastion` is on the PATH and knows its deployment.\n\
         export BASTION_CONFIG={dir}/bastion.toml\n\
         export BASTION_DEMO={dir}\n\
         export BASTION_PORT={port}\n\
         export PATH={dir}/bin:\"$PATH\"\n"
    )
}

/// What to paste, with this data file to read.
pub fn invitation(place: &Place, separation: &str, data_file: &str) -> String {
    let dir = place.dir().display();
    format!(
        "A bastion is up on loopback ({separation}).\n\n\
         Paste, in another terminal:\n\n  \
         cd {dir} && . ./env\n\n  \
         # an operator troubleshoots; both forms reach the same gate\n  \
         ssh -F ssh_config ops@pg-1.acme\n  \
         ssh -F ssh_config ops+pg-1.acme@bastion uptime\n\n  \
         # customer data needs the customer's consent\n  \
         ssh -F ssh_config dba@pg-1.acme cat {data_file}\n  \
         ssh -F ssh_config bastion request pg-1.acme --account dba \\\n      \
             --reason CUSTOMER_REQUEST --case ZD-1042 --for 1h --note slow query\n\n  \
         # the customer decides\n  \
         ssh -F ssh_config.acme bastion consent list\n\n  \
         # who did what\n  \
         bastion audit query --customer acme --oldest\n  \
         bastion audit verify\n\n\
         Other people: ssh_config.otto (training lapsed), .officer, .acme, .globex.\n\
         Ctrl-C ends it.\n"
    )
}
