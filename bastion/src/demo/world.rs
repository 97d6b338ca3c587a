//! The demo's world, entered by the commands that its officer would type.

use super::{
    error::{DemoError, Doing as _},
    files::write,
    gateway::ORIGIN,
    people::{ACME, GLOBEX, ODILE, OLGA, OTTO, Person},
    place::Place,
    separation::Separation,
    vm::{ACCOUNTS, Trust, Vm},
};
use crate::keyfile;
use audit_schema::event::Level;
use bastion_guard::config::{Account, Approver, Pinned};
use chrono::{Days, Utc};
use std::{fs, io, str::FromStr};

/// The VMs of the demo: name, service, zone.
pub const VMS: [(&str, &str, &str); 3] = [
    ("pg-1.acme", "acme-pg", "eu-central-1a"),
    ("pg-2.acme", "acme-pg", "eu-central-1b"),
    ("pg-1.globex", "globex-pg", "eu-central-1a"),
];

/// The course that every operator must have completed, as the configuration has it by default.
const COURSE: &str = "access-101";

/// Enters customers, services, people and VMs, and has each VM trust the gateway.
pub fn set_up(place: &Place, vms: &[Vm], separation: &Separation) -> Result<(), DemoError> {
    let odile = Officer { place };
    for (customer, name, service, approver) in [
        ("acme", "Acme Ltd", "acme-pg", ACME),
        ("globex", "Globex Corporation", "globex-pg", GLOBEX),
    ] {
        odile.says(&["customer", "add", customer, "--name", name])?;
        let key = recording_key(place, service)?;
        odile.says_with(&["service", "add", service, "--customer", customer], &key)?;
        let invite = ["approver", "invite", approver.handle, "--customer", customer, "--json"];
        let invited = odile.says(&invite)?;
        odile.says_with(&["approver", "enrol"], &approver.enrolment(place, &invited)?)?;
    }
    // Completed a month ago, and more than a year ago.
    odile.takes_on(OLGA, 30)?;
    odile.takes_on(OTTO, 400)?;
    let (user_ca, log_key) = odile.keys()?;
    for (vm, (name, service, zone)) in vms.iter().zip(VMS) {
        let instance = odile.adds_vm(vm, (name, service, zone), separation)?;
        let host_key = vm.host_public_key()?;
        let host_certificate = odile.says_with(&["vm", "certify", name], &host_key)?;
        let guard = Some(odile.pinned((&instance, service), (&user_ca, &log_key), separation)?);
        vm.trust(&Trust { instance, user_ca: user_ca.clone(), host_certificate, guard })?;
    }
    Ok(())
}

/// Odile at her keyboard.
struct Officer<'a> {
    place: &'a Place,
}

impl Officer<'_> {
    fn says(&self, words: &[&str]) -> Result<String, DemoError> {
        self.says_with(words, "")
    }

    fn says_with(&self, words: &[&str], input: &str) -> Result<String, DemoError> {
        ODILE.command(self.place, words, input)
    }

    fn takes_on(&self, person: Person, completed_days_ago: u64) -> Result<(), DemoError> {
        let who = person.handle;
        let add = ["operator", "add", who, "--key", "-", "--team", "databases"];
        let add = [&add[..], &["--entity", "Hosting GmbH", "--country", "DE"]].concat();
        self.says_with(&add, &person.public_key(self.place)?)?;
        let day = |days: u64| Utc::now().date_naive().checked_sub_days(Days::new(days));
        // Dates of this century are far from the ends of the calendar.
        let completed = day(completed_days_ago).unwrap_or_default();
        let until = completed.checked_add_days(Days::new(365)).unwrap_or_default();
        let (completed, until) = (completed.to_string(), until.to_string());
        let record = ["operator", "training", who, "--course", COURSE];
        let dates = ["--completed", &completed, "--valid-until", &until];
        self.says(&[&record[..], &dates[..]].concat()).map(drop)
    }

    /// The user CA's key and the log's.
    fn keys(&self) -> Result<(String, String), DemoError> {
        let json = self.says(&["ca", "show", "--json"])?;
        Ok((field(&json, "user_ca")?, field(&json, "log_key")?))
    }

    /// What a VM's guard knows by itself, from the day on which the VM is provisioned.
    fn pinned(
        &self,
        (instance, service): (&str, &str),
        (user_ca, log_key): (&str, &str),
        separation: &Separation,
    ) -> Result<Pinned, DemoError> {
        let (customer, person) = match service {
            "acme-pg" => ("acme", ACME),
            _ => ("globex", GLOBEX),
        };
        let json = self.says(&["approver", "list", "--customer", customer, "--json"])?;
        let approver = Approver {
            approver: parsed(&approver_id(&json)?)?,
            key: person.public_key(self.place)?.trim().to_owned(),
        };
        let account = |(account, level): (&str, &str)| {
            let level = if level == "data" { Level::Data } else { Level::Troubleshoot };
            let unix_user = separation.unix_user(account);
            Ok(Account { account: parsed(account)?, level, unix_user })
        };
        Ok(Pinned {
            origin: ORIGIN.to_owned(),
            log_keys: vec![log_key.to_owned()],
            user_cas: vec![user_ca.to_owned()],
            customer: parsed(customer)?,
            instance: parsed(instance)?,
            accounts: ACCOUNTS.into_iter().map(account).collect::<Result<_, DemoError>>()?,
            witnesses: None,
            witnessed: Vec::new(),
            approvers: vec![approver],
            signatures_needed: 1,
            checkpoint_seconds_max: None,
            revocations: None,
            revocations_seconds_max: None,
            syslog: None,
        })
    }

    fn adds_vm(
        &self,
        vm: &Vm,
        (name, service, zone): (&str, &str, &str),
        separation: &Separation,
    ) -> Result<String, DemoError> {
        let address = format!("127.0.0.1:{}", vm.port);
        let accounts = ACCOUNTS
            .map(|(account, level)| format!("{account}:{level}:{}", separation.unix_user(account)));
        let mut words = vec!["vm", "add", name, "--service", service, "--region", "eu-central"];
        words.extend(["--zone", zone, "--address", &address, "--json"]);
        for account in &accounts {
            words.extend(["--account", account]);
        }
        field(&self.says(&words)?, "instance")
    }
}

/// An id that the gateway gave.
fn parsed<T: FromStr>(text: &str) -> Result<T, DemoError> {
    text.parse().map_err(|_| DemoError::Gateway(format!("`{text}` is no id")))
}

/// The one approver of the answer of `approver list`.
fn approver_id(json: &str) -> Result<String, DemoError> {
    let value: serde_json::Value =
        serde_json::from_str(json).map_err(|error| DemoError::Gateway(error.to_string()))?;
    let id = value["approvers"][0]["id"].as_str().map(str::to_owned);
    id.ok_or_else(|| DemoError::Gateway(format!("no approver in the answer {json}")))
}

/// A field of a JSON answer.
fn field(json: &str, name: &str) -> Result<String, DemoError> {
    let value: serde_json::Value =
        serde_json::from_str(json).map_err(|error| DemoError::Gateway(error.to_string()))?;
    let text = value.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    text.ok_or_else(|| DemoError::Gateway(format!("no `{name}` in the answer {json}")))
}

/// The customer's key pair for recordings of data channels; the private half stays in `keys/`,
/// where the demo's customer keeps it.
fn recording_key(place: &Place, service: &str) -> Result<String, DemoError> {
    let (private, public) = keyfile::make_recording_pair()
        .map_err(|_| io::Error::other("no randomness"))
        .doing("make a recording key")?;
    write(&place.at("keys").join(format!("{service}-recording.pem")), &private, 0o600)?;
    write(&place.at("keys").join(format!("{service}-recording.pub.pem")), &public, 0o644)?;
    Ok(public)
}

/// The deployment's folder as `bastion init` makes it, with odile's key where the demo has keys.
pub fn take_over_officer_key(place: &Place) -> Result<(), DemoError> {
    for (from, to) in [("officer", "odile"), ("officer.pub", "odile.pub")] {
        let (from, to) = (place.at("take-away").join(from), place.at("keys").join(to));
        fs::rename(&from, &to).doing(format!("move {from:?} to {to:?}"))?;
    }
    Ok(())
}
