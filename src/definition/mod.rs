//! What users write: agents, orchestrations and settings, read tolerantly from existing files.

mod settings;

pub use settings::Settings;
