//! `RunService`.

use std::sync::Arc;

use futures_util::StreamExt;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::caller::caller;
use super::reserved::last_event_id;
use super::{accepted, refuse};
use crate::engine::{Engine, RunEvents};
use crate::error::Result;
use crate::wire::v1::run_service_server::RunService;
use crate::wire::v1::{
    CancelRunRequest, GetRunRequest, ListRunsRequest, ListRunsResponse, ResumeRequest, RetryRunRequest, RunDetails, RunEvent, RunRequest,
    RunResponse, RunStatus, WatchRunRequest,
};

/// Answers `RunService` from the engine.
pub struct Runs(pub Arc<Engine>);

#[tonic::async_trait]
impl RunService for Runs {
    async fn run(&self, request: Request<RunRequest>) -> Result<Response<RunResponse>, Status> {
        let (caller, request) = caller(request)?;
        let background = request.background;
        answer(self.0.run(request, caller).await, background).await
    }

    async fn stream_run(&self, request: Request<RunRequest>) -> Result<Response<BoxStream<RunEvent>>, Status> {
        let (caller, request) = caller(request)?;
        stream(self.0.run(request, caller).await)
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<RunResponse>, Status> {
        let (caller, request) = caller(request)?;
        let background = request.background;
        answer(self.0.resume(request, caller).await, background).await
    }

    async fn stream_resume(&self, request: Request<ResumeRequest>) -> Result<Response<BoxStream<RunEvent>>, Status> {
        let (caller, request) = caller(request)?;
        stream(self.0.resume(request, caller).await)
    }

    async fn list_runs(&self, request: Request<ListRunsRequest>) -> Result<Response<ListRunsResponse>, Status> {
        self.0.list_runs(request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Result<Response<RunDetails>, Status> {
        self.0.get_run(&request.into_inner().run_id).await.map(Response::new).map_err(refuse)
    }

    async fn watch_run(&self, request: Request<WatchRunRequest>) -> Result<Response<BoxStream<RunEvent>>, Status> {
        let last = last_event_id(request.metadata()).map_err(refuse)?;
        stream(self.0.watch_run(request.into_inner(), last).await)
    }

    async fn cancel_run(&self, request: Request<CancelRunRequest>) -> Result<Response<RunResponse>, Status> {
        self.0.cancel(request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn retry_run(&self, request: Request<RetryRunRequest>) -> Result<Response<RunResponse>, Status> {
        let (caller, request) = caller(request)?;
        let background = request.background;
        answer(self.0.retry(request, caller).await, background).await
    }

    async fn stream_retry_run(&self, request: Request<RetryRunRequest>) -> Result<Response<BoxStream<RunEvent>>, Status> {
        let (caller, request) = caller(request)?;
        stream(self.0.retry(request, caller).await)
    }
}

/// Answers a call that waits for the outcome, or, in the background, for the start alone.
async fn answer(events: Result<RunEvents>, background: bool) -> Result<Response<RunResponse>, Status> {
    let events = events.map_err(refuse)?;
    let answer = if background { events.begun() } else { events.outcome().await.map_err(refuse)? };
    let waits = answer.status() == RunStatus::Running;
    let response = Response::new(answer);
    Ok(if waits { accepted(response) } else { response })
}

fn stream(events: Result<RunEvents>) -> Result<Response<BoxStream<RunEvent>>, Status> {
    let events = events.map_err(refuse)?.into_stream();
    Ok(Response::new(Box::pin(events.map(|event| event.map_err(refuse)))))
}
