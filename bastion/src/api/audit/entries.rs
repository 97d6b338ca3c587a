//! `audit show|verify|export`: the log itself, and whether it holds.

use super::Verify;
use crate::{
    api::{Call, Fault, Reply, print, reading},
    ledger::{OpenError, told::is_withheld},
};
use audit_schema::{commit::Opening, entry::Entry, merkle::Frontier};
use bastion_core::id::CustomerId;
use serde_json::json;

/// Bytes of an export that go out together.
const PIECE: usize = 64 * 1024;

/// Entries whose openings are read together.
const OPENINGS_OF: u64 = 512;

pub(super) async fn show(call: &mut Call<'_>, seq: u64) -> Result<Reply, Fault> {
    let scope = reading::scope(call, None)?;
    reading::enter(call, scope.as_ref()).await?;
    let found = call.app.ledger.entry(seq).await?;
    let theirs = |entry: &Entry| match &scope {
        Some(own) => entry.customer.as_ref().is_some_and(|link| link.id == own.as_str()),
        None => true,
    };
    let Some(found) = found.filter(|found| theirs(&found.entry)) else {
        return Err(Fault::refused("unknown", format!("no entry {seq} here")));
    };
    let openings = reading::openings(call, &found.entry).await?;
    let state = |field: &str| match openings.iter().find(|opening| opening.field == field) {
        Some(opening) => (print::quoted(&opening.value), json!(opening.value)),
        None if reading::withholds(call) && is_withheld(&found.entry, field) => {
            ("(withheld)".into(), json!({ "withheld": true }))
        }
        None => ("(erased)".into(), json!({ "erased": true })),
    };
    let entry = serde_json::to_value(&found.entry).unwrap_or_default();
    let mut text = format!("entry {seq}\nleaf hash {}\n", found.leaf);
    // The canonical line is one line; people get it indented, its strings made safe by JSON and
    // then for the terminal.
    let pretty = serde_json::to_string_pretty(&entry).unwrap_or_default();
    text += &print::shown_lines(&pretty).replace("\\\\", "\\");
    text.push('\n');
    let mut said = serde_json::Map::new();
    for field in found.entry.commit.keys() {
        let (shown, value) = state(field);
        text += &format!("{field}: {shown}\n");
        said.insert(field.clone(), value);
    }
    let line = String::from_utf8_lossy(&found.line);
    let json = json!({
        "seq": seq, "leaf": found.leaf.to_string(), "entry": entry, "said": said, "line": line,
    });
    Ok(Reply::Said { text, json })
}

pub(super) async fn verify(call: &mut Call<'_>, ask: &Verify) -> Result<Reply, Fault> {
    if ask.file.is_some() {
        let how = "a file is verified on the machine where it is: bastion audit verify --file …";
        return Err(Fault::Usage(how.into()));
    }
    let scope = reading::scope(call, None)?;
    let size = reading::enter(call, scope.as_ref()).await?;
    let whole = ask.from.is_none() && ask.to.is_none();
    let from = ask.from.unwrap_or(0);
    let to = ask.to.map_or(size, |to| to.saturating_add(1));
    if from >= to || to > size {
        let sentence = format!("there are entries 0 to {}; give a range of these", size - 1);
        return Err(Fault::Usage(sentence));
    }
    if whole {
        // Against the stored head too: a cut-off end shows there.
        call.app.ledger.verify().await?;
    }
    let mut tree = (from == 0).then(Frontier::new);
    let mut opened = 0;
    let ledger = &call.app.ledger;
    let mut lines = ledger.lines(from, to).await?;
    let mut openings = Vec::new().into_iter().peekable();
    while let Some(found) = lines.next().await? {
        if let Some(tree) = &mut tree {
            tree.push(found.leaf);
        }
        let seq = found.entry.seq;
        if (seq - from).is_multiple_of(OPENINGS_OF) {
            let end = seq.saturating_add(OPENINGS_OF).min(to);
            openings = ledger.openings_between(seq..end).await?.into_iter().peekable();
        }
        while let Some(opening) = openings.next_if(|opening: &Opening| opening.seq == seq) {
            opening.check(&found.entry).map_err(|bad| {
                broken(format!("entry {seq}: the opening of {}: {bad}", opening.field))
            })?;
            opened += 1;
        }
    }
    let root = tree.as_ref().map(|tree| tree.root().to_string());
    let what = if whole { "the log holds" } else { "the range holds" };
    let mut text = format!(
        "{what}: entries {from} to {}, each linked to the one before, and each customer's to the \
         customer's one before; {opened} openings fit their commitments\n",
        to - 1
    );
    if let Some(root) = &root {
        text += &format!("root of {to} entries: {root}\n");
    }
    let witnessed = ledger.shown().await?.witnessed;
    text += &super::prove::said(witnessed.as_deref());
    let json = json!({
        "holds": true, "from": from, "to": to - 1, "openings": opened, "root": root,
        "witnessed": witnessed.is_some(),
    });
    Ok(Reply::Said { text, json })
}

fn broken(sentence: String) -> Fault {
    Fault::Unverified { code: "log-broken", sentence }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error.into(),
            OpenError::Broken { seq, fault } => {
                broken(format!("the log is broken at entry {seq}: {fault}"))
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

pub(super) async fn export(
    call: &mut Call<'_>,
    customer: Option<&CustomerId>,
    openings: bool,
) -> Result<Reply, Fault> {
    let scope = reading::scope(call, customer)?;
    let size = reading::enter(call, scope.as_ref()).await?;
    let mut lines = call.app.ledger.lines(0, size).await?;
    let mut piece = Vec::with_capacity(PIECE * 2);
    while let Some(found) = lines.next().await? {
        let owner = found.entry.customer.as_ref().map(|link| link.id.as_str());
        if scope.as_ref().is_some_and(|scope| owner != Some(scope.as_str())) {
            continue;
        }
        if openings {
            for opening in reading::openings(call, &found.entry).await? {
                piece.extend(opening.to_line().map_err(|bad| Fault::Failed(bad.to_string()))?);
                piece.push(b'\n');
            }
        } else {
            piece.extend(&found.line);
            piece.push(b'\n');
        }
        if piece.len() >= PIECE {
            call.out.out(&piece).await?;
            piece.clear();
        }
    }
    call.out.out(&piece).await?;
    Ok(Reply::Written)
}
