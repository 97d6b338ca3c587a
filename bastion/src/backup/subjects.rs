//! The keys of data subjects: a file of their own, of the same form.
//!
//! They are in no backup of the log, so that what they seal stays erased when an older one comes
//! back. Their own backup brings back what was erased after it: keep one, the newest, and replace
//! it after each erasure. (A log that was put back beside keys that are older than it says so.)

use super::{
    BackupError, Header, Made,
    body::{Body, bad},
    file::{Written, name_it},
    make::{self, Draft},
    reader::Sealed,
    restore::{check_it_is_ours, nothing_at, remove, with},
    snapshot::{Text, rows_of},
    text::Dialect,
};
use crate::{
    config::Config,
    keyfile,
    ledger::{Ledger, subjects::key_tables},
    relay::recording::unwrap,
    store::{Arg, Db, Options, Tx},
};
use audit_schema::event::Actor;
use std::path::Path;

/// What stands before the rows.
fn preface(dialect: Dialect) -> String {
    format!("-- bastion-backup-sql/1 {}\nBEGIN;\n{}", dialect.name(), key_tables::SCRIPT)
}

/// Makes a backup of the keys.
pub async fn make(
    ledger: &Ledger,
    config: &Config,
    (to, actor): (&Path, Actor),
) -> Result<Made, BackupError> {
    let partial = make::place(to)?;
    let made = match write(ledger, config, &partial).await {
        Ok(written) => make::entered(ledger, written, actor).await,
        Err(why) => Err(why),
    };
    make::named(made, (&partial, to))
}

async fn write(
    ledger: &Ledger,
    config: &Config,
    partial: &Path,
) -> Result<(Header, Written), BackupError> {
    let db = ledger.keys().db();
    // Held for as long as it takes to read them: a new person's key waits for it.
    let tables = rows_of(db, &key_tables::NAMES).await?;
    let dialect = Dialect::of(db.is_postgres());
    let draft = Draft::new(config, "keys", db.is_postgres())?;
    let (header, key) = (draft.header.clone(), std::sync::Arc::clone(&draft.key));
    let mut text = Text::begin(dialect, &preface(dialect), draft.begin(partial));
    for (table, rows) in tables {
        text.rows(table, &rows).await?;
    }
    let written = text.finish().await?;
    let sealed = Sealed::open(partial)?;
    if sealed.digest()? != written.digest {
        return Err(bad("the disk did not keep what was written"));
    }
    let read = rows(&sealed, &key)?;
    match read.is_empty() {
        true => Err(bad("there is nothing in it")),
        false => Ok((header, written)),
    }
}

/// The rows of a backup of keys, each table's as its database takes them.
fn rows(
    sealed: &Sealed,
    key: &crate::relay::recording::ContainerKey,
) -> Result<Vec<(&'static str, String)>, BackupError> {
    let dialect = Dialect::named(&sealed.header.store)?;
    let mut body = Body::new(dialect).with_schema(preface(dialect), key_tables::NAMES.to_vec());
    let mut found: Vec<(&'static str, String)> = Vec::new();
    sealed.lines(key, |line| {
        let Some(row) = body.line(line)? else { return Ok(()) };
        if found.last().is_none_or(|(table, _)| *table != row.table) {
            found.push((row.table, String::new()));
        }
        if let Some((_, text)) = found.last_mut() {
            dialect.row(row.table, &row.values, text);
        }
        Ok(())
    })?;
    body.ended()?;
    Ok(found)
}

/// Puts a backup of the keys where `[erasure] keys` leads to, which must be empty.
pub async fn restore(config: &Config, from: &Path, pem: &str) -> Result<(), BackupError> {
    let sealed = Sealed::open(from)?;
    check_it_is_ours(config, &sealed, "keys")?;
    let notices = keyfile::read_log_key(&config.keys.notices)?.verifying_key();
    sealed.check_signature(&notices)?;
    let key = unwrap(&sealed.header.sealed.to_string(), pem)?;
    let rows = rows(&sealed, &key)?;
    let url = &config.erasure.keys;
    let Some(file) = url.strip_prefix("sqlite:").map(Path::new) else {
        return put(url, rows).await;
    };
    nothing_at(file)?;
    let unfinished = with(file, ".restoring");
    remove(&unfinished)?;
    let done = put(&format!("sqlite:{}", unfinished.display()), rows).await;
    if done.is_err() {
        remove(&unfinished)?;
    }
    done?;
    name_it(&unfinished, file)
}

async fn put(url: &str, rows: Vec<(&'static str, String)>) -> Result<(), BackupError> {
    let db = Db::connect(url, &Options { shared: true, ..Options::CREATE }).await?;
    let done = put_in(&db, rows).await;
    db.close().await;
    done
}

async fn put_in(db: &Db, rows: Vec<(&'static str, String)>) -> Result<(), BackupError> {
    let mut tx = Tx::begin_write(db.writer().await?).await?;
    tx.script(key_tables::SCRIPT).await?;
    if tx.row_opt("SELECT id FROM key_store", &[] as &[Arg]).await?.is_some() {
        let there = "`[erasure] keys` leads to keys that are there: a backup is never put over any";
        return Err(BackupError::Place(there.into()));
    }
    for (table, rows) in rows {
        tx.load(table, rows).await?;
    }
    tx.commit().await.map(drop)?;
    Ok(())
}
