//! `operator …`: the provider's people who connect, their keys and their training.

use super::{
    Call, Fault, Reply,
    change::{conflict, unknown},
    effects::{Ground, revoke},
    keys::{self, Holder, PersonKey},
    print::{Table, pairs, shown},
    rows::{operator, operator_columns, operator_of},
    values::{Country, Moment, Word, opt_text, text},
};
use crate::{
    args,
    entropy::draw,
    ledger::{Batch, ChangeError, NewEntry},
};
use audit_schema::{
    event::{Actor, ActorKind, Event},
    time::Timestamp,
};
use bastion_core::{
    consent::{FreeText, TeamName},
    id::{Handle, OperatorId},
    lease::Cause,
    operator::Operator,
};
use clap::{Args, Subcommand};
use serde_json::json;

/// What an officer does with operators.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Take on an operator
    #[command(after_help = "Example:\n  ssh bastion operator add olga --key - --team storage \
        --entity 'Example GmbH' --country DE < olga.pub")]
    Add(Add),
    /// Change an operator's team, employer or country
    Change(Change),
    /// Refuse an operator everything, at once
    #[command(after_help = "Their live channels end within a second. Example:\n  \
        ssh bastion operator disable olga --reason 'left the company'")]
    Disable {
        /// Their name.
        handle: Handle,
        /// Why, in your words.
        #[arg(long, num_args = 1.., value_name = "TEXT")]
        reason: Vec<String>,
    },
    /// Let a disabled operator back in
    Enable {
        /// Their name.
        handle: Handle,
    },
    /// Every operator
    List,
    /// One operator: keys, training, what is live
    Show {
        /// Their name.
        handle: Handle,
    },
    /// Record that an operator completed a course
    #[command(
        after_help = "Example:\n  ssh bastion operator training olga --course data-protection \
        --completed 2026-11-01 --valid-until 2027-11-01"
    )]
    Training(Training),
    /// Give an operator a key, or take one away
    #[command(subcommand)]
    Key(KeyVerb),
}

/// A new operator.
#[derive(Debug, Args)]
pub struct Add {
    /// What people call them; a-z, 0-9, '-' and '.'.
    handle: Handle,
    /// Their public key: a line of a .pub file, or - for standard input.
    #[arg(long)]
    key: String,
    /// Their team.
    #[arg(long, required = true, num_args = 1.., value_name = "TEXT")]
    team: Vec<String>,
    /// The company that employs them.
    #[arg(long, required = true, num_args = 1.., value_name = "TEXT")]
    entity: Vec<String>,
    /// Where they work, as DE.
    #[arg(long)]
    country: Country,
}

/// New facts about an operator; what is not given stays.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Facts {
    /// Their team.
    #[arg(long, num_args = 1.., value_name = "TEXT")]
    team: Vec<String>,
    /// The company that employs them.
    #[arg(long, num_args = 1.., value_name = "TEXT")]
    entity: Vec<String>,
    /// Where they work, as DE.
    #[arg(long)]
    country: Option<Country>,
}

/// A change to an operator.
#[derive(Debug, Args)]
pub struct Change {
    /// Their name.
    handle: Handle,
    #[command(flatten)]
    facts: Facts,
}

/// A course that was completed.
#[derive(Debug, Args)]
pub struct Training {
    /// Whose.
    handle: Handle,
    /// Which course.
    #[arg(long)]
    course: Word,
    /// When: 2026-11-24 or 2026-11-24T08:02:00Z.
    #[arg(long)]
    completed: Moment,
    /// Until when it counts.
    #[arg(long)]
    valid_until: Moment,
}

/// What an officer does with the keys of an operator.
#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Give an operator one more key
    Add {
        /// Whose.
        handle: Handle,
        /// A line of a .pub file, or - for standard input.
        #[arg(long)]
        key: String,
    },
    /// Take a key away
    Remove {
        /// Whose.
        handle: Handle,
        /// The key's fingerprint, SHA256:….
        fingerprint: String,
    },
}

/// Runs one of them.
pub async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::Add(add) => {
            let key = call.key(&add.key).await?;
            take_on(call, add, key).await
        }
        Verb::Change(change) => alter(call, change).await,
        Verb::Disable { handle, reason } => {
            let reason = opt_text("--reason", &reason)?;
            disable(call, handle, reason).await
        }
        Verb::Enable { handle } => enable(call, handle).await,
        Verb::List => list(call).await,
        Verb::Show { handle } => show(call, handle).await,
        Verb::Training(training) => train(call, training).await,
        Verb::Key(KeyVerb::Add { handle, key }) => {
            let key = call.key(&key).await?;
            add_key(call, handle, key).await
        }
        Verb::Key(KeyVerb::Remove { handle, fingerprint }) => {
            remove_key(call, handle, fingerprint).await
        }
    }
}

fn holder(id: &OperatorId) -> Holder {
    Holder { role: ActorKind::Operator, id: id.to_string(), customer: None }
}

async fn take_on(call: &Call<'_>, add: Add, key: PersonKey) -> Result<Reply, Fault> {
    let actor = call.actor();
    let (handle, fingerprint) = (add.handle.clone(), key.fingerprint.clone());
    let (team, entity) = (text("--team", &add.team)?, text("--entity", &add.entity)?);
    let new = New { handle: add.handle, team, entity, country: add.country.0, key };
    let change = call.change("operator add", move |batch| Box::pin(insert(batch, actor, new)));
    let made = change.await?;
    let id = made.into_inner();
    Ok(Reply::Said {
        text: format!(
            "added operator {handle} ({id}); next: record their training with \
             `operator training {handle} …`\n"
        ),
        json: json!({ "operator": id, "handle": handle, "fingerprint": fingerprint }),
    })
}

/// Somebody who is taken on.
struct New {
    handle: Handle,
    team: TeamName,
    entity: FreeText,
    country: String,
    key: PersonKey,
}

async fn insert(batch: &mut Batch, actor: Actor, add: New) -> Result<OperatorId, ChangeError> {
    let taken = "SELECT id FROM operators WHERE handle = $1";
    if batch.tx().row_opt(taken, &args![add.handle.as_str()]).await?.is_some() {
        return Err(conflict(format!("there is an operator `{}` already", add.handle)));
    }
    let id = OperatorId::from_entropy(draw()?);
    let sql = "INSERT INTO operators (id, handle, team, employing_entity, country, state) \
               VALUES ($1, $2, $3, $4, $5, 'enabled')";
    let row = args![
        id.as_str(),
        add.handle.as_str(),
        add.team.as_str(),
        add.entity.as_str(),
        add.country.as_str()
    ];
    batch.tx().run(sql, &row).await?;
    let event = Event::OperatorAdded {
        country: add.country,
        employing_entity: add.entity.as_str().to_owned(),
        operator: id.to_string(),
        team: add.team.as_str().to_owned(),
    };
    let entry = NewEntry::new(actor.clone(), event).with("handle", add.handle.as_str());
    batch.append(entry).await?;
    keys::add(batch, &actor, &holder(&id), &add.key).await?;
    Ok(id)
}

async fn alter(call: &Call<'_>, change: Change) -> Result<Reply, Fault> {
    let actor = call.actor();
    let facts = Changed {
        team: opt_text("--team", &change.facts.team)?,
        entity: opt_text("--entity", &change.facts.entity)?,
        country: change.facts.country,
    };
    let name = change.handle;
    let change =
        call.change("operator change", move |batch| Box::pin(update(batch, actor, name, facts)));
    let changed = change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("changed operator {}\n", changed.handle),
        json: json!({ "operator": changed }),
    })
}

/// What changes about somebody.
struct Changed {
    team: Option<TeamName>,
    entity: Option<FreeText>,
    country: Option<Country>,
}

async fn update(
    batch: &mut Batch,
    actor: Actor,
    handle: Handle,
    facts: Changed,
) -> Result<Operator, ChangeError> {
    let mut person = operator(batch.tx(), &handle).await?;
    if let Some(team) = facts.team {
        person.team = team.as_str().to_owned();
    }
    if let Some(entity) = facts.entity {
        person.employing_entity = entity.as_str().to_owned();
    }
    if let Some(country) = facts.country {
        person.country = country.0;
    }
    let sql = "UPDATE operators SET team = $1, employing_entity = $2, country = $3 WHERE id = $4";
    let row = args![
        person.team.as_str(),
        person.employing_entity.as_str(),
        person.country.as_str(),
        person.id.as_str()
    ];
    batch.tx().run(sql, &row).await?;
    let event = Event::OperatorChanged {
        country: person.country.clone(),
        employing_entity: person.employing_entity.clone(),
        operator: person.id.to_string(),
        team: person.team.clone(),
    };
    batch.append(NewEntry::new(actor, event)).await?;
    Ok(person)
}

async fn disable(
    call: &Call<'_>,
    handle: Handle,
    reason: Option<FreeText>,
) -> Result<Reply, Fault> {
    let actor = call.actor();
    let name = handle.clone();
    let change = call.close("operator disable", move |batch| {
        Box::pin(async move {
            let person = operator(batch.tx(), &name).await?;
            if !person.enabled {
                return Err(conflict(format!("operator `{name}` is disabled already")));
            }
            let sql = "UPDATE operators SET state = 'disabled' WHERE id = $1";
            batch.tx().run(sql, &args![person.id.as_str()]).await?;
            let ground = Ground::Operator(&person.id);
            let leases = revoke(batch, ground, Cause::OperatorDisabled).await?;
            let event =
                Event::OperatorDisabled { leases: leases.clone(), operator: person.id.to_string() };
            let mut entry = NewEntry::new(actor, event);
            if let Some(reason) = reason {
                entry = entry.with("justification", reason.as_str());
            }
            batch.append(entry).await?;
            Ok(leases)
        })
    });
    let leases = change.await?.into_inner();
    call.app.live.wake();
    Ok(Reply::Said {
        text: format!("disabled operator {handle}; {} channel(s) are being ended\n", leases.len()),
        json: json!({ "handle": handle, "leases": leases }),
    })
}

async fn enable(call: &Call<'_>, handle: Handle) -> Result<Reply, Fault> {
    let actor = call.actor();
    let name = handle.clone();
    let change = call.change("operator enable", move |batch| {
        Box::pin(async move {
            let person = operator(batch.tx(), &name).await?;
            if person.enabled {
                return Err(conflict(format!("operator `{name}` is enabled already")));
            }
            let sql = "UPDATE operators SET state = 'enabled' WHERE id = $1";
            batch.tx().run(sql, &args![person.id.as_str()]).await?;
            let event = Event::OperatorEnabled { operator: person.id.to_string() };
            batch.append(NewEntry::new(actor, event)).await?;
            Ok(person)
        })
    });
    change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("enabled operator {handle}\n"),
        json: json!({ "handle": handle }),
    })
}

async fn train(call: &Call<'_>, training: Training) -> Result<Reply, Fault> {
    let (completed, until) = (training.completed.0, training.valid_until.0);
    if until <= completed {
        return Err(Fault::Usage("--valid-until must be after --completed".into()));
    }
    let actor = call.actor();
    let (handle, course) = (training.handle.clone(), training.course.0.clone());
    let change = call.change("operator training", move |batch| {
        Box::pin(record_training(batch, actor, training))
    });
    change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("recorded `{course}` of {handle}, valid until {until}\n"),
        json: json!({ "handle": handle, "course": course, "valid_until": until }),
    })
}

async fn record_training(
    batch: &mut Batch,
    actor: Actor,
    training: Training,
) -> Result<(), ChangeError> {
    let Training { handle, course: Word(course), .. } = training;
    let (completed, until) = (training.completed.0, training.valid_until.0);
    let person = operator(batch.tx(), &handle).await?;
    if completed > batch.now() {
        return Err(super::change::usage("--completed is in the future: record it afterwards"));
    }
    let taken = "SELECT valid_until FROM training \
                 WHERE operator = $1 AND course = $2 AND completed_at = $3";
    let place = args![person.id.as_str(), course.as_str(), completed];
    if batch.tx().row_opt(taken, &place).await?.is_some() {
        return Err(conflict("this completion is recorded already; a record is not changed"));
    }
    let sql = "INSERT INTO training (operator, course, completed_at, valid_until) \
               VALUES ($1, $2, $3, $4)";
    let row = args![person.id.as_str(), course.as_str(), completed, until];
    batch.tx().run(sql, &row).await?;
    let event = Event::TrainingRecorded {
        completed_at: completed.to_string(),
        course,
        operator: person.id.to_string(),
        valid_until: until.to_string(),
    };
    batch.append(NewEntry::new(actor, event)).await?;
    Ok(())
}

async fn add_key(call: &Call<'_>, handle: Handle, key: PersonKey) -> Result<Reply, Fault> {
    let actor = call.actor();
    let (name, fingerprint) = (handle.clone(), key.fingerprint.clone());
    let change = call.change("operator key add", move |batch| {
        Box::pin(async move {
            let person = operator(batch.tx(), &name).await?;
            keys::add(batch, &actor, &holder(&person.id), &key).await
        })
    });
    change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("added the key {fingerprint} of operator {handle}\n"),
        json: json!({ "handle": handle, "fingerprint": fingerprint }),
    })
}

async fn remove_key(call: &Call<'_>, handle: Handle, fingerprint: String) -> Result<Reply, Fault> {
    let actor = call.actor();
    let (name, print) = (handle.clone(), fingerprint.clone());
    let change = call.change("operator key remove", move |batch| {
        Box::pin(async move {
            let person = operator(batch.tx(), &name).await?;
            keys::remove(batch, &actor, &holder(&person.id), &print).await
        })
    });
    change.await?.into_inner();
    Ok(Reply::Said {
        text: format!(
            "removed the key {} of operator {handle}; to end what runs now, use `session end`\n",
            shown(&fingerprint)
        ),
        json: json!({ "handle": handle, "fingerprint": fingerprint }),
    })
}

async fn list(call: &Call<'_>) -> Result<Reply, Fault> {
    let sql = concat!(operator_columns!(), "ORDER BY handle");
    let mut table = Table::new(&["name", "id", "team", "employer", "country", "state"]);
    let mut people = Vec::new();
    for row in call.db().rows(sql, &[]).await? {
        let person = operator_of(&row)?;
        table.row(&[
            person.handle.as_str(),
            person.id.as_str(),
            &person.team,
            &person.employing_entity,
            &person.country,
            if person.enabled { "enabled" } else { "disabled" },
        ]);
        people.push(json!(person));
    }
    Ok(Reply::Said {
        text: table.or("no operators yet; add one with `operator add`"),
        json: json!({ "operators": people }),
    })
}

async fn show(call: &Call<'_>, handle: Handle) -> Result<Reply, Fault> {
    let sql = concat!(operator_columns!(), "WHERE handle = $1");
    let row = call.db().row_opt(sql, &args![handle.as_str()]).await?;
    let row = row.ok_or_else(|| unknown("operator", handle.as_str()));
    let person = operator_of(&row.map_err(crate::ledger::LedgerError::from)?)?;
    let id = args![person.id.as_str()];

    let sql = "SELECT fingerprint FROM keys \
               WHERE role = 'operator' AND subject = $1 AND removed_at IS NULL ORDER BY added_at";
    let keys = call.db().rows(sql, &id).await?;
    let keys = keys.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
    let sql = "SELECT course, completed_at, valid_until FROM training WHERE operator = $1 \
               ORDER BY course, completed_at";
    let mut courses = Vec::new();
    for row in call.db().rows(sql, &id).await? {
        let completed = Timestamp::from_micros(row.i64(1)?);
        courses.push((row.text(0)?, completed, Timestamp::from_micros(row.i64(2)?)));
    }
    let sql = "SELECT COUNT(*) FROM leases WHERE operator = $1 AND closed_at IS NULL";
    let live = call.db().row_opt(sql, &id).await?.map(|row| row.u64(0)).transpose()?;

    let mut text = pairs(&[
        ("name", person.handle.to_string()),
        ("id", person.id.to_string()),
        ("team", shown(&person.team)),
        ("employer", shown(&person.employing_entity)),
        ("country", shown(&person.country)),
        ("state", if person.enabled { "enabled".into() } else { "disabled".into() }),
        ("live channels", live.unwrap_or_default().to_string()),
    ]);
    for key in &keys {
        text += &format!("key            {}\n", shown(key));
    }
    for (course, _, until) in &courses {
        text += &format!("training       {} until {until}\n", shown(course));
    }
    let courses: Vec<_> = courses
        .iter()
        .map(|(course, completed, until)| {
            json!({ "course": course, "completed_at": completed, "valid_until": until })
        })
        .collect();
    Ok(Reply::Said {
        text,
        json: json!({ "operator": person, "keys": keys, "training": courses, "live": live }),
    })
}
