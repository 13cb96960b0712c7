//! Asks who calls, once for both protocols and before a body is read.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use tracing::Span;

use crate::error::{Error, Reason};
use crate::grpc::{METHODS, PrincipalId, refuse};
use crate::rest::refusal;
use crate::store::{AdminToken, Keys, Principal};

/// What opens the door.
#[derive(Clone)]
pub(super) struct Locks {
    pub keys: Keys,
    pub admin: Arc<AdminToken>,
}

/// Who calls.
enum Caller {
    Admin,
    Key(Principal),
}

/// Lets a request pass whose bearer token opens what it asks for.
pub(super) async fn authenticate(State(locks): State<Locks>, mut request: Request, next: Next) -> Response {
    match locks.caller(request.headers()).and_then(|caller| allowed(caller, wants_admin(&request))) {
        Ok(caller) => {
            let principal = match caller {
                Caller::Key(key) => {
                    Span::current().record("key", &*key.id);
                    key.id
                }
                Caller::Admin => "admin".into(),
            };
            request.extensions_mut().insert(PrincipalId(principal));
            next.run(request).await
        }
        Err(error) => refused(request.headers(), error),
    }
}

impl Locks {
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        let token = bearer(headers).ok_or_else(|| Error::new(Reason::Unauthenticated, "Not authenticated"))?;
        // Keys first: they are what nearly every call shows, and a token without their prefix costs them nothing.
        match self.keys.verify(token) {
            Ok(key) => Ok(Caller::Key(key)),
            Err(_) if self.admin.verify(token) => Ok(Caller::Admin),
            Err(_) => Err(Error::new(Reason::Unauthenticated, "Invalid or revoked API key")),
        }
    }
}

/// Returns the bearer token (RFC 6750); the scheme's case and further blanks do not matter.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

fn wants_admin(request: &Request) -> bool {
    let path = request.uri().path();
    let pattern = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    METHODS.iter().any(|method| method.admin && (method.grpc == path || method.rest.is_some_and(|(_, rest)| Some(rest) == pattern)))
}

fn allowed(caller: Caller, admin: bool) -> Result<Caller, Error> {
    match caller {
        Caller::Key(_) if admin => Err(Error::new(Reason::PermissionDenied, "this call wants the admin token, not an API key")),
        caller => Ok(caller),
    }
}

/// Refuses in the dialect of the caller.
fn refused(headers: &HeaderMap, error: Error) -> Response {
    if is_grpc(headers) {
        return refuse(error).into_http();
    }
    refusal(StatusCode::from_u16(error.reason().http()).unwrap_or(StatusCode::UNAUTHORIZED), error.detail())
}

/// Tells whether a request speaks gRPC or gRPC-Web.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
