//! The log, on both stores: what it promises, one test each.

mod appends;
mod faults;
mod opens;
mod projects;
mod recovers;
mod shared;
mod world;
