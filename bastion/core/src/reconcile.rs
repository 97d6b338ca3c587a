//! A VM's own record of logins beside ours: sshd's lines against the certificates in the log.
//!
//! ```text
//! Accepted publickey for dba from 192.0.2.1 port 40022 ssh2: ED25519-CERT SHA256:… ID
//!   acme/acme-pg/i-9x2w/t-3h5k/l-7k2m (serial 4711) CA ED25519 SHA256:…
//! ```
//!
//! on one line, whatever stands before it (a journal, syslog, `sshd -e`). The serial is the place
//! of the grant in the log and the end of the key id is the lease, so both must lead to the same
//! entry, for this instance and this Unix user. Whatever else sshd accepted (a password, a plain
//! key, another CA's certificate) is a login without an entry; so is the second login of one
//! certificate, which was made for one. The other way round, a channel that carried something has
//! a line, or somebody took it away.
//!
//! What a stranger types as a user name reaches sshd's log, too, but only an accepted login has a
//! line that begins with `Accepted`, and its user exists.

use crate::limits::SSHD_LINE_BYTES_MAX;
use std::collections::{BTreeMap, BTreeSet};

/// A login that sshd accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The Unix user.
    pub unix_user: String,
    /// The method, as `publickey`.
    pub method: String,
    /// Key id and serial, if it was a certificate.
    pub certificate: Option<(String, u64)>,
    /// From `Accepted` to the end of the line, cut to a bounded length.
    pub line: String,
}

/// A certificate of the log, for one channel on the instance in question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Its serial: the place of the grant.
    pub serial: u64,
    /// The lease.
    pub lease: String,
    /// The Unix user that it was for.
    pub unix_user: String,
    /// Whether the channel is over and reached the VM, so that the VM must have a line.
    pub must_show: bool,
}

/// How the two compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Logins that have their entry.
    pub matched: u64,
    /// Logins without an entry of this log, each with why.
    pub unlogged: Vec<(Login, Mismatch)>,
    /// Entries without their login.
    pub unseen: Vec<Issued>,
}

/// Why a login has no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mismatch {
    /// It was no certificate at all.
    NoCertificate,
    /// No grant for this instance has this serial.
    UnknownSerial,
    /// The key id names another lease than the serial does.
    OtherLease,
    /// The certificate was for another Unix user.
    OtherUser,
    /// The certificate had logged in already.
    Repeated,
}

impl Mismatch {
    /// Its stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::UnknownSerial => "unknown_serial",
            Self::OtherLease => "other_lease",
            Self::OtherUser => "other_user",
            Self::Repeated => "repeated",
        }
    }
}

impl Login {
    /// The login of a line, if it is one. A line that begins like one and is not understood is a
    /// login, too: without a certificate that could be matched.
    pub fn of_line(line: &str) -> Option<Self> {
        let said = accepted(line)?;
        let cut = said.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = cut.take_while(|end| *end <= SSHD_LINE_BYTES_MAX).last().unwrap_or_default();
        let words: Vec<&str> = said.split(' ').collect();
        let word = |at: usize| words.get(at).copied().unwrap_or_default().to_owned();
        Some(Self {
            method: word(1),
            unix_user: word(3),
            certificate: certificate(said),
            line: said[..end].to_owned(),
        })
    }
}

/// From `Accepted` on, where that begins what sshd says of a login: at the start of the line or
/// after the `sshd[123]: ` of a record (`sshd-session[123]: ` from OpenSSH 9.8 on). What it says
/// of a certificate on the way there (`Accepted certificate ID …`) is no login.
fn accepted(line: &str) -> Option<&str> {
    let mut said = line.trim_end();
    if !said.starts_with("Accepted ") {
        said = after_program(said)?;
    }
    let mut words = said.split(' ');
    let begins = words.next() == Some("Accepted") && words.next().is_some();
    (begins && words.next() == Some("for")).then_some(said)
}

/// What follows the first `sshd[123]: ` of a line; what a stranger typed comes after it.
fn after_program(line: &str) -> Option<&str> {
    let mut rest = line;
    while let Some((word, after)) = rest.split_once(' ') {
        let name = word.strip_suffix(':').and_then(|program| program.split('[').next());
        if matches!(name, Some("sshd" | "sshd-session" | "sshd-auth")) {
            return Some(after);
        }
        rest = after;
    }
    None
}

fn certificate(said: &str) -> Option<(String, u64)> {
    let (_, rest) = said.split_once(" ID ")?;
    let (key_id, rest) = rest.split_once(" (serial ")?;
    let (serial, _) = rest.split_once(") CA ")?;
    Some((key_id.to_owned(), serial.parse().ok()?))
}

/// Compares a VM's logins with the certificates that were issued for it.
pub fn compare(logins: &[Login], issued: &[Issued]) -> Compared {
    let by_serial: BTreeMap<u64, &Issued> = issued.iter().map(|one| (one.serial, one)).collect();
    let mut seen = BTreeSet::new();
    let mut compared = Compared::default();
    for login in logins {
        match judge(login, &by_serial, &mut seen) {
            Ok(()) => compared.matched += 1,
            Err(why) => compared.unlogged.push((login.clone(), why)),
        }
    }
    let unseen = issued.iter().filter(|one| one.must_show && !seen.contains(&one.serial));
    compared.unseen = unseen.cloned().collect();
    compared
}

fn judge(
    login: &Login,
    issued: &BTreeMap<u64, &Issued>,
    seen: &mut BTreeSet<u64>,
) -> Result<(), Mismatch> {
    let (key_id, serial) = login.certificate.as_ref().ok_or(Mismatch::NoCertificate)?;
    let one = issued.get(serial).ok_or(Mismatch::UnknownSerial)?;
    if key_id.rsplit('/').next() != Some(one.lease.as_str()) {
        return Err(Mismatch::OtherLease);
    }
    if login.unix_user != one.unix_user {
        return Err(Mismatch::OtherUser);
    }
    match seen.insert(*serial) {
        true => Ok(()),
        false => Err(Mismatch::Repeated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Nov 24 08:02:00 pg-1 sshd[4711]: Accepted publickey for dba from 192.0.2.1 \
        port 40022 ssh2: ED25519-CERT SHA256:abc ID acme/acme-pg/i-1/t-1/l-7 (serial 12) CA \
        ED25519 SHA256:def";

    fn issued(serial: u64, lease: &str) -> Issued {
        Issued { serial, lease: lease.into(), unix_user: "dba".into(), must_show: true }
    }

    fn logins(lines: &[&str]) -> Vec<Login> {
        lines.iter().filter_map(|line| Login::of_line(line)).collect()
    }

    #[test]
    fn lines_are_read_as_sshd_writes_them() {
        let login = Login::of_line(GOOD).expect("a login");
        assert_eq!(login.certificate, Some(("acme/acme-pg/i-1/t-1/l-7".into(), 12)));
        assert_eq!((login.unix_user.as_str(), login.method.as_str()), ("dba", "publickey"));
        let bare = GOOD.split_once("sshd[4711]: ").expect("a record").1;
        assert_eq!(Login::of_line(bare), Some(login.clone()));
        let newer = GOOD.replace("sshd[4711]", "sshd-session[4711]");
        assert_eq!(Login::of_line(&newer), Some(login));
        for line in [
            "",
            "Nov 24 08:02:00 pg-1 sshd[1]: Failed publickey for dba from 192.0.2.1 port 1 ssh2",
            "Nov 24 08:02:00 pg-1 sshd[1]: Invalid user sshd: Accepted publickey for y from 1.2.3",
            "Accepted certificate ID \"acme/x/i-1/-/l-7\" (serial 12) signed by ED25519 CA x",
            "sshd[1]: Accepted key ED25519 SHA256:abc found at /root/.ssh/authorized_keys:1",
            "Nov 24 08:02:00 pg-1 cron[1]: Accepted publickey for dba from 192.0.2.1 port 1 ssh2",
        ] {
            assert_eq!(Login::of_line(line), None, "{line}");
        }
        let long = format!("Accepted publickey for dba {}", "é".repeat(4000));
        assert!(Login::of_line(&long).expect("a login").line.len() <= SSHD_LINE_BYTES_MAX);
    }

    #[test]
    fn each_side_without_the_other_is_found() {
        let plain = "Accepted publickey for dba from 1.2.3.4 port 1 ssh2: ED25519 SHA256:x";
        let other = GOOD.replace("l-7", "l-8");
        let unknown = GOOD.replace("serial 12", "serial 13");
        let user = GOOD.replace("for dba", "for root");
        let lines = [&user, GOOD, plain, &other, &unknown, GOOD, "Accepted nonsense for"];
        let compared = compare(&logins(&lines), &[issued(12, "l-7"), issued(20, "l-20")]);
        assert_eq!(compared.matched, 1);
        let why: Vec<Mismatch> = compared.unlogged.iter().map(|(_, why)| *why).collect();
        use Mismatch::{NoCertificate, OtherLease, OtherUser, Repeated, UnknownSerial};
        let all = [OtherUser, NoCertificate, OtherLease, UnknownSerial, Repeated, NoCertificate];
        assert_eq!(why, all);
        assert_eq!(compared.unseen, [issued(20, "l-20")]);
        // What need not show does not, and what shows matches all the same.
        let live = Issued { must_show: false, ..issued(12, "l-7") };
        assert_eq!(compare(&[], std::slice::from_ref(&live)), Compared::default());
        assert_eq!(compare(&logins(&[GOOD]), &[live]).matched, 1);
    }
}
