//! Erasure: what the log says of a person goes from every file, and every proof stays.

mod asked;
mod erased;
mod held;

use bastion_tests::deployment as world;
