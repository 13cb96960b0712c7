//! `synapse keys`.

use std::process::ExitCode;

use clap::Subcommand;
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::Failure;
use crate::clock;
use crate::config::Config;
use crate::store::{Keys, create_data_dir};

/// What can be done with API keys. A running server sees the change within two seconds.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes a key and prints it, once.
    Create {
        /// What the key is for.
        name: String,
        /// From when on it opens nothing, as RFC 3339, for example `2027-01-01T00:00:00Z`.
        #[arg(long)]
        expires_at: Option<Timestamp>,
    },
    /// Lists the keys without their secrets.
    List,
    /// Deletes a key.
    Revoke {
        /// The id of the key.
        id: String,
    },
}

/// Works on the key file.
pub(super) async fn keys(command: KeyCommand, config: &Config) -> Result<ExitCode, Failure> {
    create_data_dir(&config.data_dir)?;
    let keys = Keys::open(&config.data_dir)?;
    match command {
        KeyCommand::Create { expires_at: Some(moment), .. } if moment <= clock::now() => {
            return Err("`--expires-at` must be in the future".into());
        }
        KeyCommand::Create { name, expires_at } => {
            let made = keys.create(&name, expires_at).await?;
            eprintln!("`{}` has the id {}; the key is shown only now:", made.record.name, made.record.id);
            println!("{}", made.secret.expose_secret());
        }
        KeyCommand::List => {
            for key in keys.list() {
                let state = if key.is_active { "active" } else { "revoked" };
                let (used, expires) = (key.last_used_at.as_deref().unwrap_or("never"), key.expires_at.as_deref().unwrap_or("never"));
                println!(
                    "{}  {}…  {state}  created {}  used {used}  expires {expires}  {}",
                    key.id, key.key_prefix, key.created_at, key.name
                );
            }
        }
        KeyCommand::Revoke { id } if keys.delete(&id).await? => println!("revoked {id}"),
        KeyCommand::Revoke { id } => return Err(format!("key `{id}` does not exist; `synapse keys list` shows those that do").into()),
    }
    Ok(ExitCode::SUCCESS)
}
