//! What an operator reads when a request is denied: one line that says what to do next.

use super::{Denial, Reason};
use crate::channel::is_forward;

impl Denial {
    /// What the operator reads, without a newline. It holds nothing that they may not know:
    /// whether a VM exists is not told to whoever may not list it.
    pub fn sentence(&self) -> String {
        let r = &self.request;
        let (vm, account) = (&r.vm, &r.account);
        let told = match self.reason {
            Reason::RequestMalformed => {
                "the request makes no sense: use a shell, a command, or sftp without a terminal"
            }
            Reason::OperatorUnknown => "you are not known here: ask a security officer",
            Reason::OperatorDisabled => {
                "your access is disabled: ask a security officer to enable it"
            }
            Reason::VmUnknown | Reason::VmNotListed => {
                return format!("no VM {vm} for you: `ssh bastion ls` lists yours");
            }
            Reason::FactsIncomplete => {
                "the inventory contradicts itself, so nothing was opened: tell a security officer"
            }
            Reason::AccountUnknown => {
                return format!("no account {account} on {vm}: `ssh bastion ls` lists them");
            }
            Reason::SourceNotAllowed => {
                "your address is not allowed for this service: connect from an allowed network, \
                 or ask a security officer"
            }
            Reason::TrainingLapsed => {
                let courses = self.detail.as_deref().unwrap_or("unknown");
                return format!(
                    "your mandatory training has lapsed ({courses}): complete it and have it \
                     recorded"
                );
            }
            Reason::DestinationRefused => return self.unlisted(),
            Reason::DestinationOfData => {
                "this destination reaches customer data: use an account of level data, with the \
                 customer's consent"
            }
            Reason::PolicyNotPermitted if is_forward(r.kind) => return self.no_forward(),
            Reason::PolicyNotPermitted => {
                let kind = r.kind.as_str();
                return format!(
                    "no policy permits {kind} on account {account}: ask a security officer"
                );
            }
            Reason::PolicyForbidden => {
                let rules = self.rules();
                return format!("a policy forbids this{rules}: ask a security officer");
            }
            Reason::PolicyFailed => {
                let rules = self.rules();
                return format!(
                    "the policy could not be evaluated{rules}: tell a security officer"
                );
            }
            _ => return self.consent_sentence(),
        };
        told.to_owned()
    }

    /// What is missing of a consent, and the exact line to type.
    fn consent_sentence(&self) -> String {
        let (vm, account) = (&self.request.vm, &self.request.account);
        let ask = format!(
            "ssh bastion request {vm} --account {account} --reason CUSTOMER_REQUEST --for 1h \
             --note \"why\""
        );
        let consent = match &self.ticket {
            Some(ticket) => format!("consent {ticket}"),
            None => "the consent".to_owned(),
        };
        match self.reason {
            Reason::ConsentOtherInstance => {
                format!("{consent} is for an earlier instance of {vm}: ask anew with `{ask}`")
            }
            Reason::ConsentPending => {
                format!("{consent} waits for the customer's signature: see `ssh bastion status`")
            }
            Reason::ConsentRefused => {
                format!("the customer refused {consent}: talk to them before `{ask}`")
            }
            Reason::ConsentWithdrawn => {
                format!("{consent} was withdrawn: talk to the customer before `{ask}`")
            }
            Reason::ConsentExpired => format!("{consent} is over: ask anew with `{ask}`"),
            Reason::ConsentNotYet => {
                format!("{consent} has not begun: see `ssh bastion status` for its window")
            }
            Reason::ConsentUsedUp => {
                format!("the sessions of {consent} are used up: ask anew with `{ask}`")
            }
            Reason::ConsentRulesChanged => format!(
                "the channel rules changed since {consent} was signed: ask anew with `{ask}`"
            ),
            Reason::ConsentUnsigned => {
                format!(
                    "the signatures of {consent} do not suffice: ask the customer to sign again"
                )
            }
            _ => format!("no consent of the customer covers this: ask for it with `{ask}`"),
        }
    }

    /// The list is closed, so the way on is to have the item added.
    fn unlisted(&self) -> String {
        let vm = &self.request.vm;
        let wanted = self.request.destination.as_ref().map(ToString::to_string);
        format!(
            "{} is not in the list of destinations of {vm}, letter by letter: see `ssh bastion \
             ls`; a security officer adds one with `vm destination add`",
            wanted.unwrap_or_default()
        )
    }

    /// Forwards are off by default, so the policy that would have to say otherwise is named.
    fn no_forward(&self) -> String {
        let kind = self.request.kind.as_str();
        let level = self.place().map_or("this level", |place| place.level.as_str());
        format!(
            "no policy permits {kind} on account {}: channels.cedar denies it by default; a \
             security officer permits it there for {level}",
            self.request.account
        )
    }

    fn rules(&self) -> String {
        match self.policies.as_slice() {
            [] => String::new(),
            ids => format!(" ({})", ids.join(", ")),
        }
    }
}
