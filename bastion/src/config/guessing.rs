//! `[guessing]`: what sources of failed logins meet.

use super::{
    Guessing,
    file::{Wrong, seconds},
};
use bastion_core::limits::{FAILED_LOGINS_FREE, FAILED_LOGINS_MAX, NEVER_SHUT_OUT_MAX};
use ipnet::IpNet;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawGuessing {
    failed_logins_max: u32,
    forgiven_after_seconds: u64,
    shut_out_seconds: u64,
    shut_out_seconds_max: u64,
    never_shut_out: Vec<String>,
}

impl Default for RawGuessing {
    fn default() -> Self {
        Self {
            failed_logins_max: 10,
            forgiven_after_seconds: 60,
            shut_out_seconds: 60,
            shut_out_seconds_max: 3600,
            never_shut_out: Vec::new(),
        }
    }
}

const NEVER: &str = "guessing.never_shut_out";

impl RawGuessing {
    pub(super) fn check(self) -> Result<Guessing, Wrong> {
        let allowed = FAILED_LOGINS_FREE..=FAILED_LOGINS_MAX;
        if !allowed.contains(&self.failed_logins_max) {
            let cause = format!("must be {FAILED_LOGINS_FREE} to {FAILED_LOGINS_MAX}");
            return Err(Wrong("guessing.failed_logins_max", cause));
        }
        if self.shut_out_seconds > self.shut_out_seconds_max {
            let cause = "must not be more than `guessing.shut_out_seconds_max`";
            return Err(Wrong("guessing.shut_out_seconds", cause.into()));
        }
        if self.never_shut_out.len() > NEVER_SHUT_OUT_MAX {
            return Err(Wrong(NEVER, format!("name at most {NEVER_SHUT_OUT_MAX} ranges")));
        }
        Ok(Guessing {
            failed_logins_max: self.failed_logins_max,
            forgiven_after: seconds(
                "guessing.forgiven_after_seconds",
                self.forgiven_after_seconds,
                86_400,
            )?,
            shut_out: seconds("guessing.shut_out_seconds", self.shut_out_seconds, 86_400)?,
            shut_out_max: seconds(
                "guessing.shut_out_seconds_max",
                self.shut_out_seconds_max,
                86_400,
            )?,
            never_shut_out: self.never_shut_out.iter().map(range).collect::<Result<_, _>>()?,
        })
    }
}

/// A range of sources, but not all there are: that would switch the protection off unseen.
fn range(text: &String) -> Result<IpNet, Wrong> {
    match text.parse::<IpNet>() {
        Ok(range) if range.prefix_len() > 0 => Ok(range),
        Ok(_) => Err(Wrong(NEVER, format!("{text:?} is everywhere: name narrower ranges"))),
        Err(_) => {
            let cause = format!("{text:?} is not a range like 192.0.2.0/24 or 2001:db8::/64");
            Err(Wrong(NEVER, cause))
        }
    }
}
