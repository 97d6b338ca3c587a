//! `change …`: what other officers want to change. See [`dual`] for what waits and why.
//!
//! An approval runs the stored command through the same parser and the same verb as if its proposer
//! typed it now: what has become impossible meanwhile fails as it would then, and the change stays
//! proposed.

use super::{
    Call, Caller, Fault, Reply,
    change::unknown,
    dispatch,
    dual::{self, Approval, Open},
    print::{Table, pairs, quoted, shown},
    rows, tree,
    values::opt_text,
};
use crate::{
    args, clock,
    ledger::{LedgerError, NewEntry},
    store::Row,
};
use audit_schema::{
    event::{Actor, ActorKind, Event},
    time::Timestamp,
};
use bastion_core::{consent::FreeText, id::ChangeId, limits::PROPOSALS_LISTED_MAX};
use clap::Subcommand;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::{io::Cursor, sync::Mutex};

/// What officers do with proposed changes.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// The changes that wait for another officer
    List {
        /// Those that are over, too.
        #[arg(long)]
        all: bool,
    },
    /// One change: who, what, with which input
    Show {
        /// Which change.
        change: ChangeId,
    },
    /// Make another officer's change
    #[command(after_help = "It runs in the name of the officer who proposed it, and both of you \
        stand in the log. Look first:\n  ssh bastion change show c-…\n  \
        ssh bastion change approve c-…")]
    Approve {
        /// Which change.
        change: ChangeId,
    },
    /// Say no to a change, or take your own back
    Refuse {
        /// Which change.
        change: ChangeId,
        /// Why, in your words.
        #[arg(long, num_args = 1.., value_name = "TEXT")]
        reason: Vec<String>,
    },
}

/// Runs one of them.
pub async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::List { all } => list(call, all).await,
        Verb::Show { change } => show(call, &change).await,
        Verb::Approve { change } => approve(call, change).await,
        Verb::Refuse { change, reason } => {
            let reason = opt_text("--reason", &reason)?;
            refuse(call, change, reason).await
        }
    }
}

/// A change as it is stored.
struct Stored {
    id: ChangeId,
    officer: String,
    handle: String,
    command_json: String,
    argv: Vec<String>,
    stdin: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    state: String,
}

/// The columns of [`Stored::of`], in its order.
macro_rules! stored_columns {
    () => {
        "SELECT p.id, p.officer, o.handle, p.command_json, p.stdin, p.created_at, p.expires_at, \
         p.state FROM proposals p JOIN officers o ON o.id = p.officer "
    };
}

impl Stored {
    fn of(row: &Row) -> Result<Self, Fault> {
        let (state, expires_at) = (row.text(7)?, Timestamp::from_micros(row.i64(6)?));
        let expired = state == "proposed" && clock::now() >= expires_at;
        let command_json = row.text(3)?;
        Ok(Self {
            id: row.parsed(0)?,
            officer: row.text(1)?,
            handle: row.text(2)?,
            argv: rows::json(&command_json)?,
            command_json,
            stdin: row.text(4)?,
            created_at: Timestamp::from_micros(row.i64(5)?),
            expires_at,
            state: if expired { "expired".into() } else { state },
        })
    }

    fn json(&self) -> Value {
        json!({
            "proposal": self.id, "state": self.state, "officer": self.officer,
            "handle": self.handle, "argv": self.argv, "stdin": self.stdin,
            "digest": dual::digest(&self.command_json, &self.stdin),
            "created_at": self.created_at, "expires_at": self.expires_at,
        })
    }
}

async fn load(call: &Call<'_>, id: &ChangeId) -> Result<Stored, Fault> {
    let sql = concat!(stored_columns!(), "WHERE p.id = $1");
    let row = call.db().row_opt(sql, &args![id.as_str()]).await?;
    let row = row.ok_or_else(|| LedgerError::from(unknown("change", id.as_str())))?;
    Stored::of(&row)
}

async fn list(call: &Call<'_>, all: bool) -> Result<Reply, Fault> {
    let sql = concat!(stored_columns!(), "ORDER BY p.created_at DESC LIMIT $1");
    let mut table = Table::new(&["change", "state", "officer", "until", "command"]);
    let mut changes = Vec::new();
    for row in call.db().rows(sql, &args![PROPOSALS_LISTED_MAX]).await? {
        let change = Stored::of(&row)?;
        if all || change.state == "proposed" {
            let (until, command) = (change.expires_at.to_string(), dual::spelled(&change.argv));
            table.row(&[change.id.as_str(), &change.state, &change.handle, &until, &command]);
            changes.push(change.json());
        }
    }
    Ok(Reply::Said {
        text: table.or("no change waits; `change list --all` shows those that are over"),
        json: json!({ "changes": changes }),
    })
}

async fn show(call: &Call<'_>, id: &ChangeId) -> Result<Reply, Fault> {
    let change = load(call, id).await?;
    let mut text = pairs(&[
        ("change", change.id.to_string()),
        ("state", change.state.clone()),
        ("officer", format!("{} ({})", shown(&change.handle), change.officer)),
        ("proposed", change.created_at.to_string()),
        ("until", change.expires_at.to_string()),
        ("digest", dual::digest(&change.command_json, &change.stdin).to_string()),
        ("command", shown(&dual::spelled(&change.argv))),
    ]);
    for line in change.stdin.lines() {
        text += &format!("input  {}\n", quoted(line));
    }
    Ok(Reply::Said { text, json: change.json() })
}

/// The stored command again, as its proposer, with the approver's word: the transaction of its
/// change looks at both.
async fn approve(call: &mut Call<'_>, id: ChangeId) -> Result<Reply, Fault> {
    let change = load(call, &id).await?;
    let proposer = Caller {
        actor: Actor { id: change.officer, kind: ActorKind::Officer },
        customer: None,
        handle: change.handle,
        session: None,
        source: None,
    };
    let officers = tree::for_role(ActorKind::Officer);
    let tree::Place::Command(command) = tree::locate(&officers, &change.argv) else {
        return Err(Fault::Failed(format!("{id} is no command of this version: refuse it")));
    };
    let line = tree::parse(officers, &change.argv)?;
    let approval = Approval { proposal: id.clone(), approver: call.actor() };
    let mut again = Call {
        app: call.app,
        caller: &proposer,
        command,
        argv: &change.argv,
        json: call.json,
        stdin: Mutex::new(Box::new(Cursor::new(change.stdin.into_bytes()))),
        given: String::new(),
        restated: None,
        approval: Some(approval),
        out: &mut *call.out,
    };
    let reply = run_again(&mut again, line.verb).await.map_err(|fault| still_open(fault, &id))?;
    Ok(match reply {
        Reply::Said { text, json } => Reply::Said {
            text: format!("approved {id}\n{text}"),
            json: json!({ "proposal": id, "state": "approved", "answer": json }),
        },
        other => other,
    })
}

/// A future of known type: the engine runs a command within a command, once.
fn run_again<'a>(call: &'a mut Call<'_>, verb: tree::Verb) -> BoxFuture<'a, Result<Reply, Fault>> {
    Box::pin(dispatch(call, verb))
}

/// Says what a failed change means for the proposal: the approval went with it.
fn still_open(fault: Fault, id: &ChangeId) -> Fault {
    let said = |sentence: &str| {
        let sentence = sentence.trim_end();
        format!("{sentence}; so {id} is not made, and still waits: refuse it if it never can be")
    };
    match fault {
        Fault::Conflict(sentence) => Fault::Conflict(said(&sentence)),
        Fault::Failed(sentence) => Fault::Failed(said(&sentence)),
        Fault::Usage(sentence) => Fault::Conflict(said(&sentence)),
        other => other,
    }
}

async fn refuse(call: &Call<'_>, id: ChangeId, reason: Option<FreeText>) -> Result<Reply, Fault> {
    let actor = call.actor();
    let name = id.clone();
    let change = call.close("change refuse", move |batch| {
        Box::pin(async move {
            let open = Open::load(batch, &name).await?;
            dual::set_state(batch, &name, "refused").await?;
            let event = Event::ChangeRefused {
                digest: open.digest.to_string(),
                proposal: name.to_string(),
                proposer: open.officer,
            };
            let mut entry = NewEntry::new(actor, event);
            if let Some(reason) = reason {
                entry = entry.with("justification", reason.as_str());
            }
            batch.append(entry).await?;
            Ok(())
        })
    });
    change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("refused {id}; nothing is changed\n"),
        json: json!({ "proposal": id, "state": "refused" }),
    })
}
