//! `KeyService`.

use secrecy::ExposeSecret;
use tonic::{Request, Response, Status};

use super::refuse;
use crate::clock;
use crate::error::Error;
use crate::store::{KeyRecord, Keys};
use crate::wire::Time;
use crate::wire::v1::key_service_server::KeyService;
use crate::wire::v1::{CreateKeyRequest, CreateKeyResponse, DeleteKeyRequest, DeleteKeyResponse, Key, ListKeysRequest, ListKeysResponse};

/// Answers `KeyService` from the key file.
pub struct ApiKeys(pub Keys);

#[tonic::async_trait]
impl KeyService for ApiKeys {
    async fn create_key(&self, request: Request<CreateKeyRequest>) -> Result<Response<CreateKeyResponse>, Status> {
        let CreateKeyRequest { name, expires_at } = request.into_inner();
        if expires_at.is_some_and(|Time(moment)| moment <= clock::now()) {
            return Err(refuse(Error::invalid("`expires_at` must be in the future")));
        }
        let made = self.0.create(&name, expires_at.map(|Time(moment)| moment)).await.map_err(refuse)?;
        let key = key(&made.record);
        Ok(Response::new(CreateKeyResponse {
            key: made.secret.expose_secret().to_owned(),
            id: key.id,
            name: key.name,
            key_prefix: key.key_prefix,
            created_at: key.created_at,
            expires_at: key.expires_at,
        }))
    }

    async fn list_keys(&self, _request: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        Ok(Response::new(ListKeysResponse { keys: self.0.list().iter().map(key).collect() }))
    }

    async fn delete_key(&self, request: Request<DeleteKeyRequest>) -> Result<Response<DeleteKeyResponse>, Status> {
        let id = request.into_inner().id;
        if self.0.delete(&id).await.map_err(refuse)? {
            return Ok(Response::new(DeleteKeyResponse { status: "deleted".to_owned(), id }));
        }
        Err(refuse(Error::not_found("API key not found")))
    }
}

fn key(record: &KeyRecord) -> Key {
    let time = |text: &String| text.parse().ok().map(Time);
    Key {
        id: record.id.clone(),
        name: record.name.clone(),
        key_prefix: record.key_prefix.clone(),
        created_at: time(&record.created_at),
        last_used_at: record.last_used_at.as_ref().and_then(time),
        is_active: record.is_active,
        expires_at: record.expires_at.as_ref().and_then(time),
    }
}
