//! `audit query --sql`: the documented views, and nothing else, whatever is asked.

use crate::{approver, objects, on_both_stores};
use audit_schema::event::{Actor, ActorKind, Event};
use bastion::{
    app::App,
    ledger::{NewEntry, projection::views::VIEWS},
};
use bastion_core::sql::Selection;
use bastion_tests::deployment::{World, caller, run};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqlSafeStr as _};

on_both_stores!(
    each_column_is_documented_and_there,
    selections_are_answered,
    hostile_statements_reach_nothing,
    what_takes_too_long_ends_and_what_is_too_much_is_cut,
);

/// The columns of the index's views, as the database has them.
async fn columns(world: &World, view: &str) -> Vec<String> {
    let (url, sql) = match &world.postgres {
        Some(cluster) => (
            cluster.url(),
            format!(
                "SELECT column_name::text FROM information_schema.columns \
                 WHERE table_schema = 'projection' AND table_name = '{view}' \
                 ORDER BY ordinal_position"
            ),
        ),
        None => (
            format!("sqlite:{}", world.dir.join("index.db").display()),
            format!("SELECT name FROM pragma_table_info('{view}')"),
        ),
    };
    let sql = AssertSqlSafe(sql).into_sql_str();
    if world.postgres.is_some() {
        let mut conn = sqlx::PgConnection::connect(&url).await.expect("connects");
        let rows = sqlx::query(sql).fetch_all(&mut conn).await.expect("reads");
        return rows.iter().map(|row| row.get(0)).collect();
    }
    let mut conn = sqlx::SqliteConnection::connect(&url).await.expect("connects");
    let rows = sqlx::query(sql).fetch_all(&mut conn).await.expect("reads");
    rows.iter().map(|row| row.get(0)).collect()
}

/// The columns of each view in the page that describes them.
fn documented() -> Vec<(String, Vec<String>)> {
    let mut views: Vec<(String, Vec<String>)> = Vec::new();
    for line in include_str!("../../../bastion/SQL.md").lines() {
        if let Some(view) = line.strip_prefix("## ") {
            views.push((view.to_owned(), Vec::new()));
        } else if let Some(row) = line.strip_prefix("| `") {
            let column = row.split('`').next().expect("a column");
            views.last_mut().expect("a view").1.push(column.to_owned());
        }
    }
    views
}

async fn each_column_is_documented_and_there(world: &World, app: &App) {
    objects(world, app, "audit stats --json").await;
    let known: Vec<(String, Vec<String>)> = VIEWS
        .iter()
        .map(|(view, columns)| {
            ((*view).to_owned(), columns.iter().map(|column| (*column).to_owned()).collect())
        })
        .collect();
    assert_eq!(documented(), known);
    for (view, expected) in known {
        assert_eq!(columns(world, &view).await, expected, "{view}");
    }
}

async fn session(app: &App, number: u32) {
    let operator = Actor { id: "op-0000000001".into(), kind: ActorKind::Operator };
    let id = format!("s-{number:010}");
    let opened = Event::SessionOpened {
        fingerprint: "SHA256:x".into(),
        method: "key".into(),
        session: id.clone(),
    };
    let closed = Event::SessionClosed { channels: 0, reason: "left".into(), session: id };
    let entries = [opened, closed]
        .map(|event| NewEntry::new(operator.clone(), event).with("source", "203.0.113.77"));
    app.ledger.append("test", entries.into()).await.expect("entered").into_inner();
}

async fn selections_are_answered(world: &World, app: &App) {
    for number in 0..3 {
        session(app, number).await;
    }
    let ask = |sql: &str| format!("audit query --format csv --sql \"{sql}\"");
    for (sql, expected) in [
        (
            "select session, operator, reason from sessions order by session limit 1",
            "session,operator,reason\r\ns-0000000000,op-0000000001,left\r\n",
        ),
        (
            "SELECT e.event AS kind, COUNT(*) AS n FROM entries AS e \
             WHERE e.event LIKE 'session.%' GROUP BY e.event ORDER BY kind",
            "kind,n\r\nsession.closed,3\r\nsession.opened,3\r\n",
        ),
        (
            "with n as (select event, sum(entries) as many from weeks group by event) \
             select many from n where event = 'session.opened'",
            "many\r\n3\r\n",
        ),
        ("select seq, time from entries where seq < 0", "\r\n"),
        ("select 'it''s =1' as x, -1 + 2 as y, nullif(1, 1) as z", "x,y,z\r\n\"it's =1\",1,\r\n"),
        ("select sum(closed_seq - opened_seq) as steps from sessions", "steps\r\n3\r\n"),
    ] {
        assert_eq!(world.done(app, &ask(sql), "").await, expected, "{sql}");
    }
    let row =
        &objects(world, app, "audit query --json --sql select time, micros from entries").await[0];
    let (time, micros) = (row["time"].as_str().expect("text"), row["micros"].as_i64().expect("n"));
    let at = audit_schema::time::Timestamp::from_micros(micros).to_string();
    assert_eq!(at[..19], time[..19], "{row}");
    let last = objects(world, app, "audit query --json --event log.read").await;
    let asked = last[1]["said"]["arguments"].as_str().expect("the statement");
    assert!(asked.contains("select time"), "{asked}");
    let acme = approver(app, "acme").await;
    let olga = caller(ActorKind::Operator, "op-0000000001", "olga");
    for who in [acme, olga] {
        let (code, out, _) = run(app, &who, "audit query --sql select 1", "").await;
        assert_eq!((code, out.as_str()), (3, ""));
    }
}

/// Each is refused before a database hears it.
const HOSTILE: &[&str] = &[
    "select 1; drop table events",
    "attach database '/etc/passwd' as x",
    "pragma query_only = off",
    "vacuum into '/tmp/x'",
    "with x as (delete from entries returning seq) select * from x",
    "with x as (insert into entries values (1)) select 1",
    "select 1 into x from entries",
    "select * from entries for update",
    "select load_extension('/tmp/x.so')",
    "select readfile('/etc/passwd')",
    "select writefile('/tmp/x', 'y')",
    "select fts3_tokenizer('simple')",
    "select * from pragma_database_list",
    "select * from sqlite_schema",
    "select * from dbstat",
    "select * from main.events",
    "select * from temp.x",
    "select * from events",
    "select * from words",
    "select * from words_data",
    "select * from counts",
    "select * from contexts",
    "select * from projection_state",
    "select * from public.openings",
    "select * from openings",
    "select * from keys",
    "select * from json_each('[1]')",
    "select * from entries as events, events",
    "select 1 as words from words",
    "with dbstat as (select 1 as x) select * from dbstat",
    "with json_each as (select 1 as x) select * from json_each",
    "select pg_read_file('/etc/passwd')",
    "select pg_ls_dir('/')",
    "select lo_import('/etc/passwd')",
    "select pg_sleep(1000)",
    "select pg_terminate_backend(1)",
    "select set_config('role', 'none', true)",
    "select current_setting('data_directory')",
    "select query_to_xml('select 1', true, true, '')",
    "select dblink('x', 'select 1')",
    "select * from pg_shadow",
    "select * from pg_catalog.pg_authid",
    "select * from information_schema.tables",
    "copy entries to '/tmp/x'",
    "copy entries to program 'id'",
    "do $$ begin perform 1; end $$",
    "set role none",
    "reset role",
    "commit",
    "explain select 1",
    "select * from generate_series(1, 1000000000)",
    "select randomblob(1000000000)",
    "select zeroblob(1000000000)",
    "select printf('%1000000000d', 1)",
    "select repeat('x', 1000000000)",
    "select replace(event, '', event) from entries",
    "select group_concat(event) from entries",
    "select string_agg(event, event) from entries",
    "select 'a' || 'b'",
    "select e'\\\\x'",
    "select u&'x'",
    "select 1 -- x",
    "select 1 /* x */",
    "select 1) as x, (select 1",
    "select 1 limit 1) union select (select 1",
    "select * from entries as a where a.seq = $1",
    "select \u{ff11}",
    "table entries",
    "values (1)",
    "",
];

async fn hostile_statements_reach_nothing(world: &World, app: &App) {
    session(app, 1).await;
    let before = objects(world, app, "audit stats --event session. --json").await;
    for sql in HOSTILE {
        let line = format!("audit query --sql \"{}\"", sql.replace('\\', "\\\\"));
        let (code, out, err) = run(app, &world.odile, &line, "").await;
        assert_eq!((code, out.as_str()), (2, ""), "{sql}: {err}");
    }
    assert_eq!(objects(world, app, "audit stats --event session. --json").await, before);
    // Were one of them let through, the database would not do it either.
    let index = app.projection().await.expect("an index");
    let columns: &[&str] = &["seq", "line", "rolname", "columns_json"];
    let wider = [
        ("entries", columns),
        ("contexts", columns),
        ("openings", columns),
        ("pg_authid", columns),
    ];
    for sql in ["select * from contexts", "select * from openings", "select * from pg_authid"] {
        let selection = Selection::read(sql, &wider).expect("a selection");
        let answer = index.ask(&selection).await;
        // SQLite's file has the index alone, all of which an officer may read.
        let may = world.postgres.is_none() && sql.ends_with("contexts");
        assert_eq!(answer.is_ok(), may, "{sql}: {answer:?}");
        let said = answer.err().map(|error| error.to_string()).unwrap_or_default();
        let denied = said.contains("permission denied")
            || said.contains("no such table")
            || said.contains("does not exist");
        assert!(may || denied, "{sql}: {said}");
    }
}

async fn what_takes_too_long_ends_and_what_is_too_much_is_cut(world: &World, app: &App) {
    for number in 0..150 {
        session(app, number).await;
    }
    let line = "audit query --format csv --sql \
                select a.seq from entries as a cross join entries as b";
    let (code, out, err) = run(app, &world.odile, line, "").await;
    assert_eq!((code, out.lines().count()), (0, 10_001));
    assert!(err.contains("there is more"), "{err}");
    let line = "audit query --sql select count(*) as n from entries as a cross join entries as b \
                cross join entries as c cross join entries as d";
    let began = std::time::Instant::now();
    world.fails(app, line, 1, "longer than 10 s").await;
    assert!(began.elapsed().as_secs() < 40, "{:?}", began.elapsed());
    // The gateway goes on.
    assert!(!objects(world, app, "audit stats --json").await.is_empty());
}
