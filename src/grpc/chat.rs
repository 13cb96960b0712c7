//! `ChatService`.

use std::sync::Arc;

use futures_util::StreamExt;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::caller::caller;
use super::reserved::last_event_id;
use super::{accepted, refuse};
use crate::engine::{ChatEvents, Engine};
use crate::error::Result;
use crate::wire::v1::chat_service_server::ChatService;
use crate::wire::v1::{CancelChatRequest, ChatEvent, ChatRequest, ChatResponse, GetChatRequest, RunStatus, WatchChatRequest};

/// Answers `ChatService` from the engine.
pub struct Chats(pub Arc<Engine>);

#[tonic::async_trait]
impl ChatService for Chats {
    async fn chat(&self, request: Request<ChatRequest>) -> Result<Response<ChatResponse>, Status> {
        let (caller, request) = caller(request)?;
        let background = request.background;
        let events = self.0.chat(request, caller).await.map_err(refuse)?;
        let answer = if background { events.begun() } else { events.outcome().await.map_err(refuse)? };
        let complete = answer.status() == RunStatus::Completed;
        let response = Response::new(answer);
        Ok(if complete { response } else { accepted(response) })
    }

    async fn stream_chat(&self, request: Request<ChatRequest>) -> Result<Response<BoxStream<ChatEvent>>, Status> {
        let (caller, request) = caller(request)?;
        stream(self.0.chat(request, caller).await)
    }

    async fn get_chat(&self, request: Request<GetChatRequest>) -> Result<Response<ChatResponse>, Status> {
        self.0.get_chat(&request.into_inner().run_id).await.map(Response::new).map_err(refuse)
    }

    async fn watch_chat(&self, request: Request<WatchChatRequest>) -> Result<Response<BoxStream<ChatEvent>>, Status> {
        let last = last_event_id(request.metadata()).map_err(refuse)?;
        stream(self.0.watch_chat(request.into_inner(), last).await)
    }

    async fn cancel_chat(&self, request: Request<CancelChatRequest>) -> Result<Response<ChatResponse>, Status> {
        self.0.cancel_chat(request.into_inner()).await.map(Response::new).map_err(refuse)
    }
}

fn stream(events: Result<ChatEvents>) -> Result<Response<BoxStream<ChatEvent>>, Status> {
    let events = events.map_err(refuse)?.into_stream();
    Ok(Response::new(Box::pin(events.map(|event| event.map_err(refuse)))))
}
