//! The store against real directories, files and processes.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod data_dir;
mod definitions;
mod keys;
mod model_calls;
mod process;
mod retention;
mod runs;
mod sessions;
mod vault;
mod vault_files;
