//! What the product promises, tried with real clients against real VMs, on both stores.
//!
//! The promises are numbered as in the design; each has a file named after it. A test takes a
//! `Store`; `on_both_stores!` makes one test of it for SQLite and one for PostgreSQL.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

/// Makes of each function a test on SQLite and one on PostgreSQL.
macro_rules! on_both_stores {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $name() { super::$name(&mut crate::sqlite()); })*
        }
        mod on_postgres {
            $(#[test] fn $name() { super::$name(&mut crate::postgres()); })*
        }
    };
}
use on_both_stores;

mod asking_the_log;
mod crash;
mod dual_control;
mod forms;
mod logging_in;
mod malformed;
mod promise_1_no_log_no_login;
mod promise_2_no_consent_no_data;
mod promise_3_withdrawn_means_gone;
mod promise_4_nothing_hidden;
mod promise_5_one_vm_one_life;
mod promise_6_only_trained_operators;
mod races;
mod reaching_a_vm;
mod recordings;
mod refusals;
mod reports;
mod tamper;
mod two_gateways;
mod walk;

use bastion_tests::{postgres::Cluster, world::World};

/// The product, built with these tests.
const BASTION: &str = env!("CARGO_BIN_EXE_bastion-under-test");

/// A world on SQLite.
fn sqlite() -> World {
    World::start(BASTION, None)
}

/// A world on a PostgreSQL of its own.
fn postgres() -> World {
    World::start(BASTION, Some(Cluster::start()))
}
