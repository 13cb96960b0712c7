//! Runs: whatever keeps them passes everything in `conformance`; the rest is about SQLite and its files.

mod conformance;
mod disk;
mod kill;
mod power;
pub(crate) mod sample;
mod sqlite;
