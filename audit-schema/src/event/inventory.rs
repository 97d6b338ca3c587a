//! Events of customers, services and VMs, of the policy, and of the keys of the deployment.

macro_rules! inventory_events {
    ([$next:ident $($rest:ident)*] $($before:tt)*) => { $next! { [$($rest)*] $($before)*

    /// A customer is taken on; the id stands in the entry's `customer`.
    #[serde(rename = "customer.added")]
    CustomerAdded { signatures_needed: u64 },
    /// Where the customer's approvers are told. Commits: `webhook`.
    #[serde(rename = "notices.changed")]
    NoticesChanged {
        #[serde(skip_serializing_if = "Option::is_none")]
        hook: Option<String>,
        webhook: bool,
    },
    /// The customer's approvers were told: every configured way took the notice.
    #[serde(rename = "notice.delivered")]
    NoticeDelivered { attempts: u64, notice: String },
    /// A notice to the customer's approvers was tried often enough and is given up.
    #[serde(rename = "notice.undelivered")]
    NoticeUndelivered { attempts: u64, notice: String },
    /// A customer's service begins. `recording_key` is the digest of the PEM text of the key that
    /// recordings of its data channels are sealed to; empty `sources` mean anywhere.
    #[serde(rename = "service.added")]
    ServiceAdded { recording_key: String, service: String, sources: Vec<String> },
    /// The allowed source ranges of operators; empty means anywhere.
    #[serde(rename = "service.sources_changed")]
    ServiceSourcesChanged { leases: Vec<String>, service: String, sources: Vec<String> },
    /// Recordings of data channels are sealed to another key of the customer from here on.
    #[serde(rename = "service.recording_key_changed")]
    ServiceRecordingKeyChanged { recording_key: String, service: String },
    /// A VM instance begins; `replaces` is the instance before a rebuild. `accounts` are
    /// `level:name` sorted.
    #[serde(rename = "vm.added")]
    VmAdded {
        accounts: Vec<String>,
        instance: String,
        region: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        replaces: Option<String>,
        service: String,
        vm: String,
        zone: String,
    },
    /// What a fresh VM needs was printed. `approvers`: whose keys its guard knows from then on;
    /// `token_until`: until when it can get its host certificate with a one-time token.
    #[serde(rename = "vm.bootstrapped")]
    VmBootstrapped {
        approvers: Vec<String>,
        instance: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        token_until: Option<String>,
        vm: String,
    },
    /// Somebody is about to be root on an instance that holds customer data: what they leave there
    /// outlives the session, so the instance is `touched` until it is rebuilt.
    #[serde(rename = "vm.touched")]
    VmTouched { instance: String, lease: String, vm: String },
    /// The VM's own sshd log was compared with the log: logins that have their entry, logins
    /// without one, entries without a login. The first hundred of each have an entry of their own.
    #[serde(rename = "vm.reconciled")]
    VmReconciled { instance: String, matched: u64, unlogged: u64, unseen: u64, vm: String },
    /// The VM's sshd accepted a login that no entry of this log knows; `reason` is
    /// `no_certificate`, `unknown_serial`, `other_lease`, `other_user` or `repeated`. Commits:
    /// `line`.
    #[serde(rename = "vm.login_unlogged")]
    VmLoginUnlogged {
        instance: String,
        reason: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        serial: Option<u64>,
        vm: String,
    },
    /// A channel reached the VM, and its sshd's log has no login for it.
    #[serde(rename = "vm.login_unseen")]
    VmLoginUnseen { instance: String, lease: String, serial: u64, vm: String },
    /// A VM instance is gone: `leases` and `tickets` that rest on it are being ended.
    #[serde(rename = "vm.retired")]
    VmRetired { instance: String, leases: Vec<String>, tickets: Vec<String>, vm: String },
    /// Forwards may go here from now on, on this instance. `spot`: the place as the VM sees it;
    /// `leases` of troubleshooting forwards that it ends, as it is data. Commits: `description`.
    #[serde(rename = "vm.destination_added")]
    VmDestinationAdded {
        destination: String,
        instance: String,
        leases: Vec<String>,
        level: Level,
        spot: String,
        vm: String,
    },
    /// No forward goes here any more; `leases` of those that did are being ended.
    #[serde(rename = "vm.destination_removed")]
    VmDestinationRemoved { destination: String, instance: String, leases: Vec<String>, vm: String },
    /// The policy in force is another; entered for each customer.
    #[serde(rename = "policy.changed")]
    PolicyChanged { before: String, digest: String },
    /// A key of the deployment: `user-ca`, `gateway-host-ca`, `vm-host-ca`, `operator-ca`, `log`.
    #[serde(rename = "ca.changed")]
    CaChanged { action: String, ca: String, fingerprint: String },
    /// A host certificate of the VM-host CA was signed for an instance.
    #[serde(rename = "host_certificate.issued")]
    HostCertificateIssued {
        instance: String,
        public_key: String,
        serial: u64,
        valid_before: String,
    },

    } };
}
