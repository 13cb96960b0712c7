//! Why a tool server cannot be used, in words that tell no secret.

use std::error::Error;
use std::io;

use rmcp::service::{ClientInitializeError, ServiceError};
use rmcp::transport::streamable_http_client::{InsufficientScopeError, StreamableHttpError};

/// What an operator has to do about a server that asks who is there.
pub(super) fn sign_in_needed(server: &str) -> String {
    format!("it asks for a sign-in: run `synapse tools sign-in {server}`")
}

/// Says why no connection came about. `end` is what the transport knows of its end.
pub(super) fn of_start(server: &str, error: &ClientInitializeError, end: Option<&str>) -> String {
    if error.is_authorization_required() {
        return sign_in_needed(server);
    }
    match (error, end) {
        (_, Some(end)) => end.to_owned(),
        (ClientInitializeError::JsonRpcError(error), None) => format!("it refuses to begin: {}", error.message),
        (ClientInitializeError::TransportError { error, .. }, None) => innermost(error.error.as_ref()),
        (ClientInitializeError::ConnectionClosed(_), None) => "it closed the connection".to_owned(),
        _ => "it does not keep to the protocol".to_owned(),
    }
}

/// Says who has to do what before a request is done; nothing for one that is no question of rights.
pub(super) fn of_rights(server: &str, error: &ServiceError) -> Option<String> {
    if error.is_authorization_required() {
        return Some(sign_in_needed(server));
    }
    let ServiceError::TransportSend(error) = error else { return None };
    let refused = causes(error.error.as_ref()).find_map(|cause| cause.downcast_ref::<InsufficientScopeError>())?;
    let scope = refused.get_required_scope().map(|scope| format!(" --scope \"{scope}\"")).unwrap_or_default();
    Some(format!("its sign-in does not allow that: run `synapse tools sign-in {server}{scope}`"))
}

/// Says why a request failed.
pub(super) fn of_request(server: &str, error: &ServiceError, end: Option<&str>) -> String {
    if let Some(reason) = of_rights(server, error) {
        return reason;
    }
    match (error, end) {
        (ServiceError::McpError(error), _) => error.message.to_string(),
        (_, Some(end)) => end.to_owned(),
        (ServiceError::TransportSend(error), None) => innermost(error.error.as_ref()),
        (ServiceError::TransportClosed, None) => "it closed the connection".to_owned(),
        (ServiceError::UnexpectedResponse, None) => "it answered something else than what was asked".to_owned(),
        (error, None) => error.to_string(),
    }
}

/// Tells whether a request that failed cannot have reached the server as a whole, so that repeating it is safe.
pub(super) fn never_sent(error: &ServiceError) -> bool {
    let ServiceError::TransportSend(error) = error else { return false };
    causes(error.error.as_ref()).any(|cause| {
        let refused = cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect);
        let broken = cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        refused || broken
    })
}

/// Returns an error, its cause, the cause of that, and so on.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| match error.downcast_ref() {
        // It does not name its cause as one.
        Some(StreamableHttpError::<reqwest::Error>::Client(cause)) => Some(cause as &(dyn Error + 'static)),
        _ => (*error).source(),
    })
}

/// Returns the innermost cause, which says best what happened. Those of the HTTP client would tell the address, where tokens may stand.
fn innermost(error: &(dyn Error + 'static)) -> String {
    match causes(error).last() {
        Some(cause) if !cause.is::<reqwest::Error>() => cause.to_string(),
        _ => "the request failed".to_owned(),
    }
}
