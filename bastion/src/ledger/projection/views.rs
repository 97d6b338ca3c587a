//! What an auditor's own SQL may read: views over the index, each column documented in `SQL.md`.
//!
//! They hold what the entries say in clear, and nothing that commitments open to: no word of a
//! text, no key, no address. On PostgreSQL a role of its own may select from them and nothing else
//! ([`ROLE`]); where the gateway's database user may not make that role, whoever may does
//! (`migrations/postgres/role.sql`).

use bastion_core::sql::View;

/// The views and their columns, in their order.
pub const VIEWS: &[View] = &[
    (
        "entries",
        &[
            "seq",
            "time",
            "micros",
            "event",
            "actor_kind",
            "actor",
            "operator",
            "customer",
            "service",
            "vm",
            "instance",
            "account",
            "level",
            "lease",
            "session",
            "ticket",
            "outcome",
            "reason",
        ],
    ),
    (
        "sessions",
        &["session", "operator", "opened_seq", "opened", "closed_seq", "closed", "reason"],
    ),
    (
        "channels",
        &[
            "lease",
            "session",
            "operator",
            "customer",
            "service",
            "vm",
            "account",
            "level",
            "ticket",
            "granted_seq",
            "granted",
            "closed_seq",
            "closed",
            "outcome",
            "reason",
        ],
    ),
    (
        "consents",
        &[
            "seq", "time", "event", "ticket", "customer", "actor", "service", "instance",
            "account", "level", "outcome", "reason",
        ],
    ),
    (
        "denials",
        &["seq", "time", "operator", "customer", "service", "vm", "account", "level", "reason"],
    ),
    ("weeks", &["week", "event", "operator", "customer", "entries"]),
];

/// The role that selects from them on PostgreSQL.
pub(crate) const ROLE: &str = "bastion_auditor";

macro_rules! views {
    ($open:literal, $close:literal, $end:literal) => {
        concat!(
            "
CREATE VIEW entries AS SELECT seq, ",
            $open,
            "time",
            $close,
            " AS time, time AS micros,
    type AS event, actor_kind, actor, operator, customer, service, vm, instance, account, level,
    lease, session, ticket, outcome, reason FROM events;
CREATE VIEW sessions AS SELECT o.session AS session, o.operator AS operator,
    o.seq AS opened_seq, ",
            $open,
            "o.time",
            $close,
            " AS opened,
    c.seq AS closed_seq, ",
            $open,
            "c.time",
            $close,
            " AS closed, c.reason AS reason
    FROM events o LEFT JOIN events c ON c.session = o.session AND c.type = 'session.closed'
    WHERE o.type = 'session.opened';
CREATE VIEW channels AS SELECT o.lease AS lease, o.session AS session, o.operator AS operator,
    o.customer AS customer, o.service AS service, o.vm AS vm, o.account AS account,
    o.level AS level, o.ticket AS ticket,
    o.seq AS granted_seq, ",
            $open,
            "o.time",
            $close,
            " AS granted,
    c.seq AS closed_seq, ",
            $open,
            "c.time",
            $close,
            " AS closed,
    c.outcome AS outcome, c.reason AS reason
    FROM events o LEFT JOIN events c ON c.lease = o.lease AND c.type = 'channel.closed'
    WHERE o.type = 'access.granted';
CREATE VIEW consents AS SELECT seq, ",
            $open,
            "time",
            $close,
            " AS time, type AS event, ticket,
    customer, actor, service, instance, account, level, outcome, reason FROM events
    WHERE type >= 'consent.' AND type < 'consent.~';
CREATE VIEW denials AS SELECT seq, ",
            $open,
            "time",
            $close,
            " AS time, operator, customer,
    service, vm, account, level, reason FROM events WHERE type = 'access.denied';
CREATE VIEW weeks AS SELECT substr(",
            $open,
            "week",
            $close,
            ", 1, 10) AS week, type AS event,
    NULLIF(operator, '') AS operator, NULLIF(customer, '') AS customer, entries FROM counts;
",
            $end
        )
    };
}

/// Gone before the tables that they are of.
pub(super) const DROP: &str = "
DROP VIEW IF EXISTS entries;
DROP VIEW IF EXISTS sessions;
DROP VIEW IF EXISTS channels;
DROP VIEW IF EXISTS consents;
DROP VIEW IF EXISTS denials;
DROP VIEW IF EXISTS weeks;
";
pub(super) const SQLITE: &str =
    views!("strftime('%Y-%m-%dT%H:%M:%SZ', ", " / 1000000, 'unixepoch')", "");
/// Who may not make the role goes on without it.
pub(super) const POSTGRES: &str = views!(
    "to_char(to_timestamp(",
    " / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
    "
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bastion_auditor') THEN
        CREATE ROLE bastion_auditor NOLOGIN;
        GRANT bastion_auditor TO CURRENT_USER;
    END IF;
EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
    NULL;
END $$;
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'bastion_auditor') THEN
        GRANT USAGE ON SCHEMA projection TO bastion_auditor;
        GRANT SELECT ON entries, sessions, channels, consents, denials, weeks TO bastion_auditor;
    END IF;
END $$;
"
);
