//! The generated service traits, implemented: a few lines for each rpc, and one check in front of all of them.

mod accepted;
mod agents;
mod caller;
mod chat;
mod keys;
mod orchestrations;
mod patience;
mod runs;
mod reserved;
mod sessions;
mod status;

use std::future::Future;
use std::sync::Arc;

use tonic::{Request, Response, Status};

pub use accepted::{Accepted, accepted};
pub use agents::Agents;
pub use caller::PrincipalId;
pub use chat::Chats;
pub use keys::ApiKeys;
pub use orchestrations::Orchestrations;
pub use runs::Runs;
pub use sessions::Conversations;
pub use status::{reason, refuse};

use crate::error::Error;
use crate::wire::{Validate, v1};

pub use generated::{METHODS, Services};

/// The services as one value, the wrapper that checks every call, and the table of methods.
#[allow(unused_qualifications, clippy::pedantic, clippy::allow_attributes, reason = "generated")]
mod generated {
    use super::{Arc, Checked, Method, call, v1};

    include!(concat!(env!("OUT_DIR"), "/checked.rs"));
}

/// A service whose requests are checked before it sees them. REST and gRPC both call this one.
pub struct Checked<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Clone for Checked<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// An rpc and where each protocol has it.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// The path of the gRPC call.
    pub grpc: &'static str,
    /// The verb and path of the REST route.
    pub rest: Option<(&'static str, &'static str)>,
    /// Whether it wants the admin token.
    pub admin: bool,
}

/// Calls a method, once the request keeps the rules of the schema.
async fn call<I: Validate, O, F>(
    method: &'static str,
    request: Request<I>,
    inner: impl FnOnce(Request<I>) -> F,
) -> Result<Response<O>, Status>
where
    F: Future<Output = Result<Response<O>, Status>>,
{
    request.get_ref().validate().map_err(|violation| refuse(Error::invalid(violation.to_string())))?;
    tracing::debug!(method, "called");
    inner(request).await
}
