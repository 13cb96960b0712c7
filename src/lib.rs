//! Synapse runs AI agents and orchestrations for other programs, over gRPC and REST alike.
//!
//! The floors of the house, lowest first. A module uses only floors below its own (`tests/layers.rs` checks it).

pub mod error; //       1  what can go wrong, and how each protocol tells it
pub mod clock; //       2  time and ids
pub mod config; //      2  the environment
pub mod definition; //  2  what users write
pub mod wire; //        2  generated messages, and our JSON types inside them
pub mod provider; //    3  models
pub mod python; //      3  people's Python, in a worker process inside a kernel sandbox
pub mod store; //       3  what is kept
pub mod metrics; //     4  what is counted
pub mod tool; //        4  what models can call
pub mod engine; //      5  what agents do
pub mod grpc; //        6  the generated service traits, implemented
pub mod rest; //        7  what the generated REST handlers stand on
pub mod server; //      8  the door
pub mod command; //     9  the command line
