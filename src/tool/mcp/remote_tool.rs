//! One tool of a tool server, as agents see it.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::server::Server;
use crate::provider::ToolDescription;
use crate::tool::{Call, Failure, Origin, Output, Tool};

/// A tool as its server listed it.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    /// The name that the server knows.
    pub(super) name: String,
    /// What models are told of it.
    pub(super) description: Arc<ToolDescription>,
}

/// A tool together with the server that has it.
pub(super) struct RemoteTool {
    server: Arc<Server>,
    listed: Listed,
}

impl RemoteTool {
    pub(super) fn new(server: Arc<Server>, listed: Listed) -> Self {
        Self { server, listed }
    }
}

impl Tool for RemoteTool {
    fn description(&self) -> &Arc<ToolDescription> {
        &self.listed.description
    }

    fn origin(&self) -> Origin {
        Origin::Mcp
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Output, Failure>> {
        let (server, name) = (self.server.clone(), self.listed.name.clone());
        Box::pin(async move { server.call(&name, call).await })
    }
}
