//! The real server, killed again and again while it works: what it promised before is true afterwards.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod customer;
mod disk;
mod ledger;
mod line;
mod notebook;
mod orders;
mod recovering;
mod storm;
mod talking;

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test programs use the rest")]
#[expect(unused_imports, reason = "other test programs use the rest")]
mod support;
