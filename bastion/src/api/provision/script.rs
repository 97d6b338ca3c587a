//! The script that a fresh VM runs: its parts filled into the template, each in a here-document
//! whose content can hold no line that ends it.

use super::{Found, guard_config, lists};
use crate::{
    api::{Fault, host::line, token::Token, web},
    app::App,
    config::Https,
};
use audit_schema::{event::Level, hash::Hash};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bastion_core::vm::{Account, VmInstance};
use serde_json::Value;
use std::{collections::BTreeSet, fs};

const TEMPLATE: &str = include_str!("bootstrap.sh");

/// A filled template.
pub(super) struct Script {
    text: String,
    guard_config: Value,
}

impl Script {
    pub(super) fn of(
        app: &App,
        found: &Found,
        (token, certificate): (Option<&Token>, Option<&str>),
    ) -> Result<Self, Fault> {
        let user_cas = [line(app.ca.user_ca())?];
        let guard_config = guard_config(app, found, &user_cas)?;
        let pretty = serde_json::to_string_pretty(&guard_config);
        let pretty = pretty.map_err(|error| Fault::Failed(error.to_string()))?;
        let namespace = lists::krl_namespace(&app.config.origin);
        let signer = line(lists::signer(app)?.public_key())?;
        let https = app.config.https.as_ref();
        let mut users: Vec<&str> =
            found.instance.accounts.iter().map(|account| account.unix_user.as_str()).collect();
        users.sort_unstable();
        users.dedup();
        let root = if users.contains(&"root") { "prohibit-password" } else { "no" };
        let port = found.instance.address.rsplit(':').next().unwrap_or("22").to_owned();
        let mut text = TEMPLATE.to_owned();
        for (blank, filling) in [
            ("@ORIGIN@", app.config.origin.clone()),
            ("@VM@", found.instance.vm.to_string()),
            ("@INSTANCE@", found.instance.id.to_string()),
            ("@PORT@", port),
            ("@USERS@", users.join(" ")),
            ("@ROOT@", root.to_owned()),
            ("@URL@", https.map_or_else(String::new, |https| https.url.clone())),
            ("@TOKEN@", token.map_or_else(String::new, ToString::to_string)),
            ("@CERTIFICATE@", certificate.unwrap_or_default().trim_end().to_owned()),
            ("@GUARD_SHA256@", guard_digest(https)?),
            ("@NAMESPACE@", namespace.clone()),
            ("@AUTHORITY@", authority(https)?),
            ("@USER_CAS@", user_cas.join("\n")),
            ("@KRL_ALLOWED@", format!("bastion namespaces=\"{namespace}\" {signer}")),
            ("@GUARD_CONFIG@", pretty),
        ] {
            if filling.lines().any(|line| line.trim() == "BASTION_END") {
                return Err(Fault::Failed(format!("{blank} ends its own document")));
            }
            text = text.replace(blank, &filling);
        }
        Ok(Self { text, guard_config })
    }

    pub(super) fn shell(&self) -> String {
        self.text.clone()
    }

    pub(super) fn cloud_init(&self) -> String {
        format!(
            "#cloud-config\nwrite_files:\n- path: /root/bastion-bootstrap.sh\n  owner: root:root\n\
             \x20 permissions: '0700'\n  encoding: b64\n  content: {}\nruncmd:\n- [ /bin/sh, \
             /root/bastion-bootstrap.sh ]\n- [ rm, -f, /root/bastion-bootstrap.sh ]\n",
            BASE64.encode(&self.text)
        )
    }

    pub(super) fn guard_config(&self) -> &Value {
        &self.guard_config
    }
}

/// Where databases keep their data, if the VM has them.
const DATA_PLACES: &str = "/var/lib/postgresql /var/lib/pgsql /var/lib/mysql /var/lib/mongodb \
    /var/lib/redis /var/lib/clickhouse /var/lib/cassandra /var/lib/elasticsearch /srv/data /data";

/// The script that looks whether a VM keeps what it should.
pub(super) fn check(origin: &str, instance: &VmInstance) -> String {
    let users = |wanted: fn(&Account) -> bool| {
        let users = instance.accounts.iter().filter(|account| wanted(account));
        let users: BTreeSet<&str> = users.map(|account| account.unix_user.as_str()).collect();
        users.into_iter().collect::<Vec<_>>().join(" ")
    };
    include_str!("check.sh")
        .replace("@ORIGIN@", origin)
        .replace("@VM@", instance.vm.as_str())
        .replace("@TROUBLESHOOT@", &users(|account| account.level == Level::Troubleshoot))
        .replace("@USERS@", &users(|_| true))
        .replace("@DATA_PLACES@", DATA_PLACES)
}

/// SHA-256 of the guard as it is served; empty where it is not.
fn guard_digest(https: Option<&Https>) -> Result<String, Fault> {
    match https.and_then(|https| https.guard.as_ref()) {
        Some(file) => Ok(Hash::of(&web::binary(file)?).to_string()),
        None => Ok(String::new()),
    }
}

/// PEM of whoever vouches for our https, where the machines' own authorities do not.
fn authority(https: Option<&Https>) -> Result<String, Fault> {
    match https.and_then(|https| https.authority.as_ref()) {
        Some(file) => fs::read_to_string(file)
            .map(|pem| pem.trim_end().to_owned())
            .map_err(|error| Fault::Failed(format!("{}: {error}", file.display()))),
        None => Ok(String::new()),
    }
}
