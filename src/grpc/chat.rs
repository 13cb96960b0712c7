//! `ChatService`.

use std::sync::Arc;

use futures_util::StreamExt;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::patience::patience;
use super::refuse;
use crate::engine::{Engine, answer};
use crate::wire::v1::chat_service_server::ChatService;
use crate::wire::v1::{ChatEvent, ChatRequest, ChatResponse};

/// Answers `ChatService` from the engine.
pub struct Chats(pub Arc<Engine>);

#[tonic::async_trait]
impl ChatService for Chats {
    async fn chat(&self, request: Request<ChatRequest>) -> Result<Response<ChatResponse>, Status> {
        let patience = patience(request.metadata());
        let events = self.0.chat(request.into_inner(), patience).map_err(refuse)?;
        answer(events).await.map(Response::new).map_err(refuse)
    }

    async fn stream_chat(&self, request: Request<ChatRequest>) -> Result<Response<BoxStream<ChatEvent>>, Status> {
        let patience = patience(request.metadata());
        let events = self.0.chat(request.into_inner(), patience).map_err(refuse)?;
        Ok(Response::new(Box::pin(events.map(|event| event.map_err(refuse)))))
    }
}
