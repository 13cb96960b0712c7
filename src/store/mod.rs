//! What is kept: definitions, keys, sessions, model calls and the vault, all inside the data directory. Files are touched here only.

mod admin_token;
mod check;
mod custom_tool_file;
mod data_dir;
mod database;
mod definitions;
mod files;
mod key_file;
mod keys;
mod model_calls;
mod mcp_tokens;
mod page;
mod retention;
mod runs;
mod sessions;
mod sqlite;
mod starter;
mod vault;
mod watched;
mod writer;

pub use admin_token::AdminToken;
pub use check::check;
pub use custom_tool_file::{PutTools, put_custom_tools, read_document};
pub use data_dir::{DataDirLock, create_data_dir};
pub use database::Store;
pub use definitions::{DefinitionFiles, Definitions};
pub use key_file::KeyRecord;
pub use keys::{Keys, NewKey, Principal, Refusal};
pub use mcp_tokens::McpTokens;
pub use model_calls::{Calls, ModelCall, ModelCalls, Outcome, Totals};
pub use page::{Cursor, PAGE_BYTES, SessionPage};
pub use runs::{
    Append, Appended, Created, FIRST_EPOCH, NewRun, PinnedDefinition, ROW_BYTES, Repeat, Repeated, RunFacts, RunFilter, RunKind, RunPage,
    RunRow, RunStatus, RunStore, RunSummary,
};
pub use sessions::{Image, NewTurn, SessionSummary, Sessions, Turn};
pub use starter::write_starter;
pub use vault::{Entry, Excerpt, Existing, Listing, Place, VAULT_FILE_BYTES, Vault};
