//! What people and programs read: tables, CSV, HTML, archives. Everything goes through exactly one
//! of core's escape functions on its way.

pub mod report;
pub mod tar;
