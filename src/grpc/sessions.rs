//! `SessionService`.

use tonic::{Request, Response, Status};

use super::refuse;
use crate::error::{Error, Result};
use crate::store::{self, Cursor, Sessions};
use crate::wire::v1::session::Turn;
use crate::wire::v1::session_service_server::SessionService;
use crate::wire::v1::{
    DeleteSessionRequest, DeleteSessionResponse, GetSessionRequest, ListSessionsRequest, ListSessionsResponse, Session, SessionSummary,
    Usage,
};

/// How many items a page has where the request names no number.
const PAGE_SIZE: u32 = 50;

/// Answers `SessionService` from the kept conversations.
pub struct Conversations(pub Sessions);

#[tonic::async_trait]
impl SessionService for Conversations {
    async fn list_sessions(&self, request: Request<ListSessionsRequest>) -> Result<Response<ListSessionsResponse>, Status> {
        self.list(request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn get_session(&self, request: Request<GetSessionRequest>) -> Result<Response<Session>, Status> {
        self.get(request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn delete_session(&self, request: Request<DeleteSessionRequest>) -> Result<Response<DeleteSessionResponse>, Status> {
        self.delete(request.into_inner()).await.map(Response::new).map_err(refuse)
    }
}

impl Conversations {
    async fn list(&self, request: ListSessionsRequest) -> Result<ListSessionsResponse> {
        let after = some(&request.page_token).map(Cursor::decode).transpose()?;
        let page = self.0.list(some(&request.agent_id), after, page_size(request.page_size)).await?;
        let next_page_token = page.next.map(Cursor::encode).unwrap_or_default();
        Ok(ListSessionsResponse { sessions: page.sessions.into_iter().map(summary).collect(), next_page_token })
    }

    async fn get(&self, request: GetSessionRequest) -> Result<Session> {
        let after =
            some(&request.page_token).map(str::parse::<u64>).transpose().map_err(|_| Error::invalid("`page_token` is not one of ours"))?;
        let session = self.0.get(&request.session_id, some(&request.agent_id)).await?.ok_or_else(|| unknown(&request.session_id))?;
        let turns = self.0.turns(&session, after.unwrap_or(0), page_size(request.page_size)).await?;
        let next = turns.last().map(|turn| turn.number).filter(|number| *number < session.turns);
        let SessionSummary { session_id, agent_id, agent_name, turn_count, created_at, updated_at } = summary(session);
        Ok(Session {
            session_id,
            agent_id,
            agent_name,
            turn_count,
            created_at,
            updated_at,
            turns: turns.into_iter().map(turn).collect(),
            next_page_token: next.map(|number| number.to_string()).unwrap_or_default(),
        })
    }

    async fn delete(&self, request: DeleteSessionRequest) -> Result<DeleteSessionResponse> {
        if self.0.delete(&request.session_id, some(&request.agent_id)).await? {
            return Ok(DeleteSessionResponse { status: "deleted".to_owned(), session_id: request.session_id });
        }
        Err(unknown(&request.session_id))
    }
}

fn unknown(id: &str) -> Error {
    Error::not_found(format!("Session '{id}' not found"))
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn page_size(asked: u32) -> u32 {
    if asked == 0 { PAGE_SIZE } else { asked }
}

fn summary(session: store::SessionSummary) -> SessionSummary {
    SessionSummary {
        session_id: session.session_id,
        agent_id: session.agent_id,
        agent_name: session.agent_name,
        turn_count: session.turns,
        created_at: Some(session.created_at.into()),
        updated_at: Some(session.updated_at.into()),
    }
}

fn turn(turn: store::Turn) -> Turn {
    let told = turn.input_tokens + turn.output_tokens > 0;
    let usage = told.then_some(Usage { input_tokens: turn.input_tokens, output_tokens: turn.output_tokens, cached_tokens: 0 });
    Turn {
        user: turn.user,
        images: turn.images.iter().map(|image| format!("data:{};base64,{}", image.media_type, image.base64)).collect(),
        assistant: turn.assistant,
        model: turn.model,
        usage,
        created_at: Some(turn.created_at.into()),
    }
}
