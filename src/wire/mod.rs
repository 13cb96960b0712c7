//! The messages of the API, generated from `proto/synapse/v1`, and our own JSON types inside them.

pub mod ascii;
mod event;
pub mod json;
mod time;
pub mod validate;
#[allow(dead_code, clippy::allow_attributes, reason = "whether there are enums depends on the schema")]
mod word;

pub use event::StreamEvent;
pub use json::{JsonObject, JsonValue};
pub use time::Time;
pub use validate::{Validate, Violation};
pub use word::Words;

/// The messages and services of `synapse.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("synapse.v1");
}

/// The encoded descriptors of the API, for reflection.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// The OpenAPI document of the REST side.
pub const OPENAPI: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));
