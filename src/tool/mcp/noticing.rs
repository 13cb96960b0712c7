//! The HTTP client of remote servers, with two kinds of answers made into failures for which otherwise nobody would wait.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue};
use reqwest::Client;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use sse_stream::Sse;

/// The codes of the errors that servers define themselves. Where one comes without an id, the server did not know our session.
pub(super) const SERVER_ERRORS: std::ops::RangeInclusive<i32> = -32099..=-32000;

/// A client that notices refusals.
#[derive(Clone)]
pub(super) struct NoticingClient {
    client: Client,
    /// Why the connection will be at its end.
    end: Arc<OnceLock<String>>,
}

type Headers = HashMap<HeaderName, HeaderValue>;
type Events = BoxStream<'static, Result<Sse, sse_stream::Error>>;
type Outcome<T> = Result<T, StreamableHttpError<reqwest::Error>>;

impl NoticingClient {
    pub(super) fn new(client: Client, end: Arc<OnceLock<String>>) -> Self {
        Self { client, end }
    }

    /// Remembers why a stream breaks off.
    fn noticing(&self, stream: Events) -> Events {
        let end = self.end.clone();
        let noticed = stream.inspect(move |event| {
            let text = event.as_ref().err().and_then(|error| error.source()).map(ToString::to_string);
            if let Some(text) = text.filter(|text| text.contains("exceeded")) {
                let _ = end.set(text); // the first reason is the true one
            }
        });
        noticed.boxed()
    }

    /// Makes a failure of an error that names no request: none would be told of it.
    fn noticed(&self, response: StreamableHttpPostResponse, in_session: bool) -> Outcome<StreamableHttpPostResponse> {
        match response {
            StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Error(error), _) if error.id.is_none() => {
                if in_session && SERVER_ERRORS.contains(&error.error.code.0) {
                    return Err(StreamableHttpError::SessionExpired);
                }
                Err(StreamableHttpError::UnexpectedServerResponse(error.error.message))
            }
            StreamableHttpPostResponse::Sse(stream, session) => Ok(StreamableHttpPostResponse::Sse(self.noticing(stream), session)),
            other => Ok(other),
        }
    }
}

impl StreamableHttpClient for NoticingClient {
    type Error = reqwest::Error;

    fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
    ) -> impl Future<Output = Outcome<StreamableHttpPostResponse>> + Send + '_ {
        self.post_message_with_response_limits(uri, message, session, token, headers, StreamableHttpResponseLimits::default())
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Outcome<StreamableHttpPostResponse> {
        let in_session = session.is_some();
        let response = self.client.post_message_with_response_limits(uri, message, session, token, headers, limits).await?;
        self.noticed(response, in_session)
    }

    fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        token: Option<String>,
        headers: Headers,
    ) -> impl Future<Output = Outcome<()>> + Send + '_ {
        self.client.delete_session(uri, session, token, headers)
    }

    fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        token: Option<String>,
        headers: Headers,
    ) -> impl Future<Output = Outcome<Events>> + Send + '_ {
        self.client.get_stream(uri, session, last_event, token, headers)
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        token: Option<String>,
        headers: Headers,
        max_event: usize,
    ) -> Outcome<Events> {
        let stream = self.client.get_stream_with_max_sse_event_size(uri, session, last_event, token, headers, max_event).await?;
        Ok(self.noticing(stream))
    }
}
