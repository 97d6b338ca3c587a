//! What the name before the `@` means.
//!
//! `ops+pg-1.acme` asks for the account `ops` on the VM `pg-1.acme`. A name without a `+` settles
//! nothing at all (who somebody is comes from the key alone), and its channels speak the command
//! form. A name with a `+` that is not an account and a VM is neither: it is a typing error that
//! its channels say, because falling back to the command form would answer `ops+pg-1,acme` with a
//! help text.

use bastion_core::{
    id::{AccountName, VmName},
    limits::LOGIN_NAME_BYTES_MAX,
};

/// What a login name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// `ssh bastion <command>`.
    Commands,
    /// An account on a VM.
    Vm {
        /// The account, as typed.
        account: AccountName,
        /// The VM, in lower case.
        vm: VmName,
    },
    /// A name with a `+` that names no account and VM; the sentence says what to type.
    Malformed(&'static str),
}

impl Login {
    /// The meaning of a login name on the gateway itself.
    pub fn parse(name: &str) -> Self {
        if name.len() > LOGIN_NAME_BYTES_MAX {
            return Self::Malformed("the login name is too long: use ACCOUNT+VM@bastion");
        }
        let Some((account, vm)) = name.split_once('+') else {
            return Self::Commands;
        };
        match (account.parse(), vm_name(vm)) {
            (Ok(account), Some(vm)) => Self::Vm { account, vm },
            (Err(_), _) => Self::Malformed(
                "what stands before the '+' is no account: use ACCOUNT+VM@bastion, for example \
                 ops+pg-1.acme",
            ),
            (_, None) => Self::Malformed(
                "what stands after the '+' is no VM name: use ACCOUNT+VM@bastion, for example \
                 ops+pg-1.acme",
            ),
        }
    }

    /// The meaning of a login name on the inner connection to a VM (`ssh -J bastion ops@VM`): the
    /// account alone, or the long form if it names the same VM.
    pub fn parse_inner(name: &str, here: &VmName) -> Self {
        if name.len() > LOGIN_NAME_BYTES_MAX {
            return Self::Malformed("the login name is too long: use ACCOUNT@VM");
        }
        match Self::parse(name) {
            Self::Vm { account, vm } if vm == *here => Self::Vm { account, vm },
            Self::Commands => match name.parse() {
                Ok(account) => Self::Vm { account, vm: here.clone() },
                Err(_) => Self::Malformed("the login name is no account: use ACCOUNT@VM"),
            },
            _ => Self::Malformed("the login name names another VM than the host: use ACCOUNT@VM"),
        }
    }
}

/// A VM name as OpenSSH and people type it: host names know no case, and may end in a dot.
pub fn vm_name(text: &str) -> Option<VmName> {
    let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    lower.parse().ok().filter(|_| !lower.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(account: &str, vm: &str) -> Login {
        Login::Vm { account: account.parse().expect("account"), vm: vm.parse().expect("VM") }
    }

    #[test]
    fn names_mean_what_people_type() {
        for (name, meaning) in [
            ("ops+pg-1.acme", vm("ops", "pg-1.acme")),
            ("dba+PG-1.Acme", vm("dba", "pg-1.acme")),
            ("ops+pg-1.acme.", vm("ops", "pg-1.acme")),
            ("olga", Login::Commands),
            ("root", Login::Commands),
            ("", Login::Commands),
            ("olga@corp.example", Login::Commands),
        ] {
            assert_eq!(Login::parse(name), meaning, "{name:?}");
        }
    }

    #[test]
    fn hostile_names_name_nothing() {
        let long = format!("ops+{}", "a".repeat(64));
        let huge = "x".repeat(100_000);
        for name in [
            "+",
            "ops+",
            "+pg-1.acme",
            "ops+pg-1.acme+pg-2.acme",
            "ops++pg-1.acme",
            "OPS+pg-1.acme",
            "ops +pg-1.acme",
            "ops+ pg-1.acme",
            "ops+pg-1.acme\n",
            "ops+pg-1.acme\0",
            "ops+../etc",
            "ops+pg-1..acme",
            "ops+.acme",
            "ops+-oProxyCommand=id",
            "-oX+pg-1.acme",
            "ops+pg-1.acme/..",
            "ops+pg-1.acme:22",
            "ops+[::1]",
            "ops+pg\u{2011}1.acme",
            "ops+p\u{430}g",
            "ops+pg-1.acme;id",
            "ops+$(id)",
            "ops+%h",
            "ops+*",
            "o\u{202e}ps+pg-1.acme",
            "ops+pg-1.acme..",
            &long,
            &huge,
        ] {
            assert!(
                matches!(Login::parse(name), Login::Malformed(_)),
                "{name:?} is {:?}",
                Login::parse(name)
            );
        }
    }

    /// Whatever a name holds: it asks for a VM only if it is an account, a plus and a VM, and means
    /// nothing else than it says.
    #[test]
    fn thousands_of_damaged_names_never_mean_another_vm() {
        let pieces = [
            "ops", "dba", "+", "pg-1", ".", "acme", "globex", "@", " ", "\0", "\n", "..", "-", "A",
            "%", "/", "\\", "'", "\"", "$", "`", ";", ":", "22", "\u{202e}", "\u{ff0b}", "é", "[",
            "~",
        ];
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            let mut name = String::new();
            for _ in 0..8 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(seed >> 33).expect("31 bits") % (pieces.len() + 4);
                name.push_str(pieces.get(at).copied().unwrap_or_default());
            }
            if let Login::Vm { account, vm } = Login::parse(&name) {
                let said = name.strip_suffix('.').unwrap_or(&name).to_ascii_lowercase();
                assert_eq!(format!("{account}+{vm}"), said, "{name:?}");
            }
        }
    }

    #[test]
    fn the_inner_name_is_the_account() {
        let here: VmName = "pg-1.acme".parse().expect("VM");
        for (name, meaning) in [
            ("ops", Some(vm("ops", "pg-1.acme"))),
            ("ops+pg-1.acme", Some(vm("ops", "pg-1.acme"))),
            ("ops+pg-2.acme", None),
            ("", None),
            ("Ops", None),
            ("ops@x", None),
            ("ops+", None),
        ] {
            let got = Login::parse_inner(name, &here);
            match meaning {
                Some(meaning) => assert_eq!(got, meaning, "{name:?}"),
                None => assert!(matches!(got, Login::Malformed(_)), "{name:?} is {got:?}"),
            }
        }
    }
}
