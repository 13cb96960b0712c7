//! Who calls: the key, and what the call says beside its message.

use std::sync::Arc;

use tonic::{Request, Status};

use super::patience::patience;
use super::refuse;
use super::reserved::idempotency_key;
use crate::engine::Caller;

/// The id of the key that opened the door, which the door writes into the request.
#[derive(Debug, Clone)]
pub struct PrincipalId(pub Arc<str>);

/// Parts a request into the caller and the message.
pub(super) fn caller<T>(request: Request<T>) -> Result<(Caller, T), Status> {
    let principal = request.extensions().get::<PrincipalId>().map_or_else(|| Arc::from(""), |principal| principal.0.clone());
    let idempotency_key = idempotency_key(request.metadata()).map_err(refuse)?;
    let patience = patience(request.metadata());
    Ok((Caller { principal, idempotency_key, patience }, request.into_inner()))
}
