//! Who decides for a customer, and that the provider's officers cannot become it.

use super::{
    super::{Caller, approvers::reset},
    World, text,
};
use crate::clock;
use bastion_core::limits::{RESET_REMINDER_SECONDS, RESET_WAIT_SECONDS};
use serde_json::Value;

const SET: &str = "approver-set@bastion.example";
const CONSENT: &str = "operator-consent@bastion.example";

impl World {
    /// Invites several, and then enrols each: the first set of a customer.
    pub async fn enrol_all(&self, names: &[&str], customer: &str) -> Vec<Caller> {
        let mut brought = Vec::new();
        for name in names {
            self.key(name);
            brought.push(self.invited(name, customer).await);
        }
        let mut people = Vec::new();
        for (name, brought) in names.iter().zip(brought) {
            let json = self.officer("approver enrol --json", &brought).await.json();
            let kind = audit_schema::event::ActorKind::Approver;
            let mut person = super::caller(kind, text(&json, "approver"), name);
            person.customer = Some(customer.parse().unwrap());
            people.push(person);
        }
        people
    }

    /// A new set that somebody proposes: its id and the exact bytes.
    async fn change(&self, who: &Caller, what: &str, stdin: &str) -> (String, String) {
        let line = format!("approver change {what} --json");
        let json = self.run(who, &line, stdin.as_bytes()).await.json();
        let id = text(&json, "change").to_owned();
        let bytes = self.run(who, &format!("approver statement {id}"), b"").await.done();
        (id, bytes)
    }

    /// Brings the signature of a key over a new set.
    async fn sign_set(&self, who: &Caller, (id, bytes): &(String, String), key: &str) -> Value {
        let signature = self.sign(key, SET, bytes.as_bytes());
        let line = format!("approver sign {id} --json");
        self.run(who, &line, signature.as_bytes()).await.json()
    }

    /// A pending ticket of olga's on pg-1.acme, and its statement.
    async fn asked(&self, reader: &Caller) -> (String, String) {
        let ask = "request pg-1.acme --account dba --reason SECURITY_REVIEW --for 1h --note x";
        let json = self.run(&self.olga, &format!("{ask} --json"), b"").await.json();
        let ticket = text(&json, "ticket").to_owned();
        let bytes = self.run(reader, &format!("consent statement {ticket}"), b"").await.done();
        (ticket, bytes)
    }
}

#[tokio::test]
async fn an_officer_who_tries_to_enrol_a_key_and_consent_with_it_fails() {
    let world = World::new().await;
    // The officer's own key, and a token from before: of a customer that had nobody yet.
    world.key("mallory");
    world.officer("customer add initech --name Initech", "").await.done();
    let other = world.invited("mallory", "initech").await;
    let before = world.tables().await;
    let size = world.size();
    world.officer("approver invite mallory --customer acme", "").await.fails(3, "they alone");
    assert_eq!(text(&world.events(size).await[0], "reason"), "approvers-decide");
    // Nor by any of the words that approvers use.
    for line in [
        "approver add mallory --customer acme --key -",
        "approver change --add mallory --key -",
        "approver sign as-0000000000",
        "approver remove ada --customer acme",
    ] {
        let key = std::fs::read_to_string(world.key_file("mallory").with_extension("pub"));
        world.officer(line, &key.unwrap()).await.fails(3, "no such command");
    }
    assert_eq!(world.tables().await, before);
    // An approver of another customer is nobody here.
    world.officer("approver enrol", &other).await.done();
    let (ticket, bytes) = world.asked(&world.ada).await;
    let forged = world.sign("mallory", CONSENT, bytes.as_bytes());
    let decide = format!("consent decide {ticket}");
    world.run(&world.ada, &decide, forged.as_bytes()).await.fails(4, "not enrolled");
    let status = world.run(&world.olga, &format!("status {ticket} --json"), b"").await.json();
    assert_eq!(text(&status, "state"), "pending");
}

#[tokio::test]
async fn a_token_is_used_once_by_whoever_proves_a_key() {
    let world = World::new().await;
    world.officer("customer add initech --name Initech", "").await.done();
    world.key("ian");
    let brought = world.invited("ian", "initech").await;
    let (token, signature) = brought.split_once('\n').unwrap();
    let tables = world.tables().await;
    assert!(!tables["invitations"].join("").contains(token), "the store keeps no token");
    // The signature over something else, in another namespace, and another token.
    let over = world.sign("ian", "approver-enrolment@bastion.example", b"{}");
    let elsewhere = world.sign("ian", CONSENT, b"{}");
    for wrong in [
        format!("{token}\n{over}"),
        format!("{token}\n{elsewhere}"),
        format!("{token}\n"),
        format!("{}\n{signature}", "0".repeat(32)),
        format!("{token}\n{}", signature.replace("BEGIN", "BEGUN")),
    ] {
        let answer = world.officer("approver enrol", &wrong).await;
        assert_eq!(answer.code, 4, "{wrong}: {}", answer.err);
    }
    assert_eq!(world.tables().await, tables);
    let said = world.officer("approver enrol", &brought).await.done();
    assert!(said.contains("enrolled ian"), "{said}");
    world.officer("approver enrol", &brought).await.fails(4, "was used");
}

#[tokio::test]
async fn what_was_invited_besides_is_told_and_any_approver_voids_it() {
    let world = World::new().await;
    world.officer("customer add duo --name Duo --signatures 2", "").await.done();
    world.key("dan");
    world.key("mallory");
    let dan = world.invited("dan", "duo").await;
    let mallory = world.invited("mallory", "duo").await;
    let said = world.officer("approver enrol", &dan).await.done();
    assert!(said.contains("invited besides: mallory"), "{said}");
    let list = world.officer("approver list --customer duo --json", "").await.json();
    let id = list["approvers"].as_array().unwrap().iter().find(|a| a["handle"] == "dan");
    let kind = audit_schema::event::ActorKind::Approver;
    let mut person = super::caller(kind, text(id.unwrap(), "id"), "dan");
    person.customer = Some("duo".parse().unwrap());
    world
        .run(&world.ada, "approver void mallory --customer duo", b"")
        .await
        .fails(3, "no customer");
    world.run(&person, "approver void mallory", b"").await.done();
    world.officer("approver enrol", &mallory).await.fails(4, "voided");
}

#[tokio::test]
async fn a_set_changes_by_the_word_of_the_set_and_of_the_keys_that_come_in() {
    let world = World::new().await;
    world.officer("customer add duo --name Duo --signatures 2", "").await.done();
    let people = world.enrol_all(&["dan", "dora", "dave"], "duo").await;
    let bea = world.key("bea");
    let change = world.change(&people[0], "--add bea --key -", &bea).await;
    assert!(change.1.contains("bea") && change.1.contains("revision 1"), "{}", change.1);
    // A stranger's key, and the same approver twice, count for nothing.
    let olgas = world.sign("olga", SET, change.1.as_bytes());
    let line = format!("approver sign {}", change.0);
    world.run(&people[0], &line, olgas.as_bytes()).await.fails(4, "neither");
    assert_eq!(world.sign_set(&people[0], &change, "dan").await["signatures_now"], 1);
    let again = world.sign("dan", SET, change.1.as_bytes());
    world.run(&people[1], &line, again.as_bytes()).await.fails(4, "already");
    // Two approvers are enough, but whoever comes in has to prove their key.
    let two = world.sign_set(&people[0], &change, "dora").await;
    assert_eq!((&two["made"], &two["signatures_now"]), (&Value::Bool(false), &Value::from(2)));
    let made = world.sign_set(&people[1], &change, "bea").await;
    assert_eq!(made["made"], true);
    let list = world.officer("approver list --customer duo", "").await.done();
    assert!(list.contains("bea"), "{list}");

    // Of two that wait the first to be made voids the other.
    let fewer = world.change(&people[0], "--remove dave --signatures 1", "").await;
    let other = world.change(&people[1], "--signatures 3", "").await;
    world.sign_set(&people[0], &fewer, "dan").await;
    let size = world.size();
    assert_eq!(world.sign_set(&people[0], &fewer, "dora").await["made"], true);
    let events = world.events(size).await;
    assert_eq!(text(&events[1], "type"), "approvers.changed");
    let late = world.sign("dan", SET, other.1.as_bytes());
    let line = format!("approver sign {}", other.0);
    world.run(&people[0], &line, late.as_bytes()).await.fails(1, "void");
    world.run(&people[2], "consent list", b"").await.fails(3, "has ended");
    // One of one now; and a set that could not decide is none.
    world.run(&people[0], "approver change --signatures 9", b"").await.fails(2, "nobody could");
    let dropped = world.change(&people[0], "--signatures 2", "").await;
    world.run(&people[1], &format!("approver drop {}", dropped.0), b"").await.done();
    let line = format!("approver sign {}", dropped.0);
    world.run(&people[0], &line, late.as_bytes()).await.fails(1, "dropped");
}

#[tokio::test]
async fn an_approver_who_goes_takes_their_open_consents_along() {
    let world = World::new().await;
    let bea = world.key("bea");
    let change = world.change(&world.ada, "--add bea --key -", &bea).await;
    world.sign_set(&world.ada, &change, "ada").await;
    world.sign_set(&world.ada, &change, "bea").await;
    let (ticket, bytes) = world.asked(&world.ada).await;
    let signature = world.sign("ada", CONSENT, bytes.as_bytes());
    let decide = format!("consent decide {ticket}");
    world.run(&world.ada, &decide, signature.as_bytes()).await.done();
    world.lease("l-on-it", Some(&ticket)).await;
    let change = world.change(&world.ada, "--remove ada", "").await;
    assert_eq!(world.sign_set(&world.ada, &change, "bea").await["made"], true);
    assert_eq!(world.cause("l-on-it").await.as_deref(), Some("consent_withdrawn"));
    let status = world.run(&world.olga, &format!("status {ticket} --json"), b"").await.json();
    assert_eq!(text(&status, "state"), "ended");
    world.run(&world.ada, "consent list", b"").await.fails(3, "has ended");
}

#[tokio::test]
async fn a_reset_waits_is_told_again_and_is_stopped_by_one_word() {
    let world = World::new().await;
    world.officer("customer notify acme --hook keep", "").await.done();
    let size = world.size();
    world.officer("approver reset acme --reason all left", "").await.done();
    assert_eq!(text(&world.events(size).await[0], "type"), "approvers.reset_begun");
    world.officer("approver reset acme --reason again", "").await.fails(1, "waits already");
    world.officer("approver invite mallory --customer acme", "").await.fails(3, "they alone");
    let now = clock::now();
    let size = world.size();
    assert_eq!(reset::sweep(&world.app, now.plus_seconds(60)).await.unwrap(), 0);
    assert_eq!(world.size(), size);
    // Neither the reminder nor the end comes before the log's own clock says so.
    let late = now.plus_seconds(RESET_WAIT_SECONDS + 60);
    assert_eq!(reset::sweep(&world.app, late).await.unwrap(), 0);
    world.run(&world.ada, "approver stop-reset", b"").await.done();
    world.run(&world.ada, "approver stop-reset", b"").await.fails(3, "no reset");
    let notices = world.tables().await["notices"].join("\n");
    for kind in ["approvers.reset_begun", "approvers.reset_stopped"] {
        assert_eq!(notices.matches(kind).count(), 1, "{kind}: {notices}");
    }
    world.run(&world.ada, "consent list", b"").await.done();
}

#[tokio::test]
async fn whoever_follows_a_reset_decides_nothing_about_what_lives() {
    let world = World::new().await;
    world.officer("customer notify acme --hook keep", "").await.done();
    let (ticket, bytes) = world.asked(&world.ada).await;
    let signature = world.sign("ada", CONSENT, bytes.as_bytes());
    let decide = format!("consent decide {ticket}");
    world.run(&world.ada, &decide, signature.as_bytes()).await.done();
    world.lease("l-on-it", Some(&ticket)).await;
    world.officer("approver reset acme --reason all left", "").await.done();
    // A day later they are told again, and once.
    let day = "UPDATE approver_resets SET told_at = told_at - 90000000000";
    world.write(day).await;
    let now = clock::now();
    assert_eq!(reset::sweep(&world.app, now).await.unwrap(), 0);
    assert_eq!(reset::sweep(&world.app, now).await.unwrap(), 0);
    let notices = world.tables().await["notices"].join("\n");
    assert_eq!(notices.matches("approvers.reset_reminded").count(), 1, "{notices}");
    const { assert!(RESET_REMINDER_SECONDS < 90_000 && RESET_WAIT_SECONDS == 72 * 3600) };
    // The wait is over.
    world.write("UPDATE approver_resets SET effective_at = 1").await;
    assert_eq!(reset::sweep(&world.app, now).await.unwrap(), 1);
    assert_eq!(world.cause("l-on-it").await.as_deref(), Some("consent_withdrawn"));
    world.run(&world.ada, "consent list", b"").await.fails(3, "has ended");
    // A new first set, which is nobody's on the VMs that live.
    let mallory = world.enrol("mallory", "acme").await;
    let (ticket, bytes) = world.asked(&mallory).await;
    let signature = world.sign("mallory", CONSENT, bytes.as_bytes());
    let decide = format!("consent decide {ticket}");
    world.run(&mallory, &decide, signature.as_bytes()).await.fails(4, "rebuilt");
    world.officer("vm rebuild pg-1.acme", "").await.done();
    let (ticket, bytes) = world.asked(&mallory).await;
    let signature = world.sign("mallory", CONSENT, bytes.as_bytes());
    let decide = format!("consent decide {ticket}");
    world.run(&mallory, &decide, signature.as_bytes()).await.done();
    let ask = "report --customer acme --from 2020-01-01 --to 2126-01-01 --format html";
    let report = world.officer(ask, "").await.done();
    assert!(report.contains("take no consent of those who follow"), "{report}");
}
