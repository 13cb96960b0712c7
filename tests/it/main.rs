//! The real binary, every scenario through REST and through gRPC alike.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails a test")]

#[path = "../support/mod.rs"]
mod support;

mod agents;
mod chat;
mod definitions;
mod failing;
mod images;
mod sessions;
