//! PostgreSQL, made to show that it keeps its word.
//!
//! Several gateways share one server. Before the first entry it must show that a commit means the
//! disk: `fsync` and `full_page_writes` on, `synchronous_commit` at least `on`. Every connection
//! brings its own bounds: a gateway that freezes while it holds the head of the log must lose it.

use super::{Options, StoreError};
use bastion_core::limits::{
    POSTGRES_CONNECTIONS_MAX, POSTGRES_IDLE_TRANSACTION_SECONDS_MAX,
    POSTGRES_STATEMENT_SECONDS_MAX, STORE_WAIT_SECONDS_MAX,
};
use sqlx::{
    ConnectOptions as _, Connection as _, PgPool, Row as _,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};
use std::{str::FromStr, time::Duration};

/// A PostgreSQL server.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    /// Connects, and refuses a server that may forget what it answered.
    pub(super) async fn open(url: &str, options: &Options) -> Result<Self, StoreError> {
        let connect = PgConnectOptions::from_str(url)
            .map_err(|_| StoreError::Unfit("the store's URL is not one of PostgreSQL".into()))?
            .application_name("bastion")
            .options([
                ("statement_timeout", format!("{POSTGRES_STATEMENT_SECONDS_MAX}s")),
                (
                    "idle_in_transaction_session_timeout",
                    format!("{POSTGRES_IDLE_TRANSACTION_SECONDS_MAX}s"),
                ),
                ("default_transaction_read_only", on_off(options.read_only)),
                ("row_security", "off".to_owned()),
                // A gateway whose machine is gone must lose its locks within half a minute.
                ("tcp_keepalives_idle", "10".to_owned()),
                ("tcp_keepalives_interval", "5".to_owned()),
                ("tcp_keepalives_count", "3".to_owned()),
            ]);
        let connect = match options.schema {
            Some(schema) => connect.options([("search_path", schema)]),
            None => connect,
        };
        // Once by hand: a pool tries a connection that fails again until its time is up, and then
        // does not say why.
        let mut first = connect.connect().await?;
        check(&mut first).await.map_err(super::unfit)?;
        first.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS_MAX)
            .acquire_timeout(Duration::from_secs(STORE_WAIT_SECONDS_MAX))
            .after_connect(|conn, _| Box::pin(check(conn)))
            .connect_with(connect)
            .await?;
        Ok(Self { pool })
    }

    /// Connections for reading and writing.
    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

/// A setting and the values that it may have.
const SETTINGS: [(&str, &[&str]); 3] = [
    ("fsync", &["on"]),
    ("full_page_writes", &["on"]),
    ("synchronous_commit", &["on", "remote_apply"]),
];

async fn check(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    for (setting, allowed) in SETTINGS {
        let row =
            sqlx::query("SELECT current_setting($1)").bind(setting).fetch_one(&mut *conn).await?;
        let found: String = row.try_get(0)?;
        if !allowed.contains(&found.as_str()) {
            let wanted = allowed.join(" or ");
            let fault = format!(
                "PostgreSQL has {setting}={found}: an answered entry could be lost; set {wanted}"
            );
            return Err(sqlx::Error::Configuration(fault.into()));
        }
    }
    Ok(())
}
