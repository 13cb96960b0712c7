//! The real binary, every scenario through REST and through gRPC alike.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails a test")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test programs use the rest")]
mod support;

mod agents;
mod bodies;
mod chat;
mod command_line;
mod compaction;
mod connections;
mod definitions;
mod delegates;
mod door;
mod failing;
mod golden;
mod images;
mod keys;
mod local;
mod openapi;
mod protocols;
mod runs;
mod sessions;
mod starter;
mod stopping;
mod tool_servers;
mod tools;
mod tools_import;
mod usage;
mod validating;
