//! Synapse runs AI agents and orchestrations for other programs, over gRPC and REST alike.
//!
//! The floors of the house, lowest first. A module uses only floors below its own (`tests/layers.rs` checks it).

pub mod clock; //       2  time and ids
pub mod config; //      2  the environment
pub mod definition; //  2  what users write
pub mod error; //       1  what can go wrong, and how each protocol tells it
pub mod provider; //    3  models
pub mod store; //       3  what is kept
