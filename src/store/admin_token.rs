//! The admin token, which may make and delete keys.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::files::{self, refused};
use crate::clock;
use crate::error::{Error, Reason, Result};

/// The file of a token that was made here, inside the data directory.
pub(super) const ADMIN_TOKEN_FILE: &str = "admin_token";

/// What a token that was made here begins with.
const PREFIX: &str = "syn-admin-";

/// The shortest token that is accepted from the file, in characters.
const SHORTEST: usize = 16;

/// The token of the administrator.
#[derive(Debug, Clone)]
pub struct AdminToken(SecretString);

impl AdminToken {
    /// Takes the configured token, or that of the data directory, where one is made unless it exists. It blocks on the disk.
    pub fn open(data_dir: &Path, configured: Option<&SecretString>) -> Result<Self> {
        if let Some(token) = configured {
            return Ok(Self(token.clone()));
        }
        let path = data_dir.join(ADMIN_TOKEN_FILE);
        let made = format!("{PREFIX}{}", clock::hex(&clock::secret_bytes::<32>().map_err(Error::internal)?));
        if files::create(&path, format!("{made}\n").as_bytes()).map_err(|error| refused(&path, error))? {
            return Ok(Self(made.into()));
        }
        let kept = files::read_text(&path).map_err(|error| refused(&path, error))?.unwrap_or_default();
        let kept = kept.trim();
        if kept.len() < SHORTEST {
            let detail = format!("`{}` holds no token of at least {SHORTEST} characters; delete it to have one made", path.display());
            return Err(Error::new(Reason::FailedPrecondition, detail));
        }
        Ok(Self(kept.into()))
    }

    /// Tells whether this is the token, in a time that says nothing about it.
    pub fn verify(&self, raw: &str) -> bool {
        Sha256::digest(raw).ct_eq(&Sha256::digest(self.0.expose_secret())).into()
    }

    /// Returns the token, for the operator's own calls.
    pub const fn secret(&self) -> &SecretString {
        &self.0
    }
}
