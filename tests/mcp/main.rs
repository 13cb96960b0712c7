//! Tool servers that behave and that do not: real processes and real sockets, through the interface that agents use.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod fake;
mod remote;
mod setup;
mod sign_in;
mod starting;
mod stdio;
