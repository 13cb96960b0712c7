//! What is kept: definitions, keys, sessions and the vault, all inside the data directory. Files are touched here only.

mod admin_token;
mod check;
mod data_dir;
mod definitions;
mod files;
mod key_file;
mod keys;
mod page;
mod sessions;
mod sqlite;
mod starter;
mod vault;
mod watched;
mod writer;

pub use admin_token::AdminToken;
pub use check::check;
pub use data_dir::{DataDirLock, create_data_dir};
pub use definitions::{DefinitionFiles, Definitions};
pub use key_file::KeyRecord;
pub use keys::{Keys, NewKey, Principal, Refusal};
pub use page::{Cursor, SessionPage};
pub use sessions::{Image, NewTurn, SessionSummary, Sessions, Turn};
pub use starter::write_starter;
pub use vault::Vault;
