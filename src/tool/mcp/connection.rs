//! One connection to a tool server: the handshake, the list of its tools, and requests.

use std::future::{Future, ready};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use rmcp::ClientHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ClientRequest, Implementation, ListToolsRequest,
    PaginatedRequestParams, PingRequest, ProtocolVersion, RequestMetaObject, ServerResult,
};
use rmcp::service::{ClientInitializeError, NotificationContext, Peer, RoleClient, RunningService, ServiceError, ServiceExt};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::list::List;
use super::name::Names;
use super::remote_tool::Listed;
use super::stdio::ChildServer;
use super::{Setup, http, reason};
use crate::definition::{McpServer, Reach};
use crate::tool::Call;

/// The most pages of a list of tools that are read.
const PAGES: usize = 100;

/// How long a server may take to answer a ping.
const PING_TIME: Duration = Duration::from_secs(2);

/// The least time between two readings of a list that a server says has changed.
const LIST_PAUSE: Duration = Duration::from_secs(1);

/// Where the id of a call stands in its `_meta`, the same for every attempt.
const IDEMPOTENCY_ID: &str = "synapse/idempotency-id";

/// A server that answered, with the tools that it has.
pub(super) struct Connection {
    peer: Peer<RoleClient>,
    end: Arc<OnceLock<String>>,
    tools: ArcSwap<Vec<Listed>>,
    close: CancellationToken,
}

/// What keeps a connection; dropping it closes the connection.
pub(super) struct Line {
    service: RunningService<RoleClient, Client>,
    changed: Arc<Notify>,
}

impl Connection {
    /// Reaches a server and asks what it has.
    pub(super) async fn open(record: &McpServer, names: &Names, setup: &Setup) -> Result<(Self, Line), String> {
        let (end, changed) = (Arc::new(OnceLock::new()), Arc::new(Notify::new()));
        let client = Client { changed: changed.clone() };
        let started = match &record.reach {
            reach @ Reach::Stdio { .. } => client.serve(ChildServer::start(&record.name, reach, setup, end.clone())?).await,
            Reach::Remote { url, token: Some(token) } => client.serve(http::with_token(url, token, end.clone())?).await,
            Reach::Remote { url, token: None } => {
                client.serve(http::with_sign_in(&record.name, url, &setup.tokens, end.clone()).await?).await
            }
        };
        let said = |error: &ClientInitializeError| reason::of_start(&record.name, error, end.get().map(String::as_str));
        let service = started.map_err(|error| said(&error))?;
        let connection =
            Self { peer: service.peer().clone(), end: end.clone(), tools: ArcSwap::default(), close: CancellationToken::new() };
        let listed = connection.list(names).await;
        connection.tools.store(Arc::new(listed.map_err(|error| connection.reason(&record.name, &error))?));
        Ok((connection, Line { service, changed }))
    }

    /// Returns the tools of the server.
    pub(super) fn tools(&self) -> Arc<Vec<Listed>> {
        self.tools.load_full()
    }

    /// Calls a tool. Dropping the future tells the server that nobody waits any more.
    pub(super) async fn call(&self, tool: &str, call: &Call) -> Result<CallToolResult, ServiceError> {
        let mut meta = RequestMetaObject::new();
        meta.insert(IDEMPOTENCY_ID.to_owned(), call.idempotency_id.clone().into());
        let mut params = CallToolRequestParams::new(tool.to_owned()).with_arguments(call.arguments.clone());
        params.meta = Some(meta);
        self.peer.call_tool(params).await
    }

    /// Tells whether the server answers a ping, be it with an error.
    pub(super) async fn answers(&self) -> bool {
        let ping = self.peer.send_request(ClientRequest::PingRequest(PingRequest::default()));
        matches!(timeout(PING_TIME, ping).await, Ok(Ok(_) | Err(ServiceError::McpError(_))))
    }

    /// Tells whether nothing can be sent any more.
    pub(super) fn is_closed(&self) -> bool {
        self.peer.is_transport_closed()
    }

    /// Says why a request failed.
    pub(super) fn reason(&self, server: &str, error: &ServiceError) -> String {
        reason::of_request(server, error, self.end.get().map(String::as_str))
    }

    /// Closes the connection, and says to those who wait for an answer why.
    pub(super) fn close(&self, why: &str) {
        let _ = self.end.set(why.to_owned()); // the first reason is the true one
        self.close.cancel();
    }

    /// Says why the connection ended.
    pub(super) fn end(&self) -> &str {
        self.end.get().map_or("it closed the connection", String::as_str)
    }

    /// Reads the list of tools, page by page.
    async fn list(&self, names: &Names) -> Result<Vec<Listed>, ServiceError> {
        let (mut list, mut cursor) = (List::new(names), None);
        for _ in 0..PAGES {
            let (page, next) = self.page(cursor).await?;
            cursor = next;
            if !list.add(page) || cursor.is_none() {
                break;
            }
        }
        Ok(list.into_tools())
    }

    /// Reads one page of the list, and where the next one begins. A tool that is none spoils no other.
    async fn page(&self, cursor: Option<String>) -> Result<(Vec<Value>, Option<String>), ServiceError> {
        let params = PaginatedRequestParams::default().with_cursor(cursor);
        let request = ClientRequest::ListToolsRequest(ListToolsRequest { params: Some(params), ..Default::default() });
        let page = match self.peer.send_request(request).await? {
            ServerResult::ListToolsResult(page) => serde_json::to_value(page).map_err(|_| ServiceError::UnexpectedResponse)?,
            ServerResult::CustomResult(page) => page.0,
            _ => return Err(ServiceError::UnexpectedResponse),
        };
        let next = page.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
        match page {
            Value::Object(mut page) => match page.remove("tools") {
                Some(Value::Array(tools)) => Ok((tools, next)),
                _ => Err(ServiceError::UnexpectedResponse),
            },
            _ => Err(ServiceError::UnexpectedResponse),
        }
    }
}

impl Line {
    /// Keeps the list of tools up to date until the server is gone or the connection is to be closed.
    pub(super) async fn hold(self, connection: &Connection, server: &str, names: &Names, list_time: Duration) {
        let close = self.service.cancellation_token();
        let mut ended = pin!(self.service.waiting());
        let refresh = async {
            loop {
                self.changed.notified().await;
                if let Ok(Ok(tools)) = timeout(list_time, connection.list(names)).await {
                    connection.tools.store(Arc::new(tools));
                } else {
                    tracing::warn!(server, "a tool server's list has changed and cannot be read; the old one stays");
                }
                sleep(LIST_PAUSE).await;
            }
        };
        tokio::select! {
            _ = &mut ended => return,
            () = connection.close.cancelled() => {}
            () = refresh => {}
        }
        close.cancel();
        let _ = ended.await; // fails only if its task panicked
    }
}

/// Our side of a connection. What a server may ask of it is answered by rmcp: pings, and that there are no roots; there is nobody to be
/// asked anything, so elicitations are declined, and no model to be borrowed.
#[derive(Default)]
pub(super) struct Client {
    changed: Arc<Notify>,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(ClientCapabilities::default(), Implementation::new("synapse", env!("CARGO_PKG_VERSION")))
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) -> impl Future<Output = ()> + Send + '_ {
        self.changed.notify_one();
        ready(())
    }
}
