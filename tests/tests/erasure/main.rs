//! Erasure: what the log says of a person goes from every file, and every proof stays.

mod erased;
mod held;
mod world;
