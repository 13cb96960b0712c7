//! `RunService`.

use std::sync::Arc;

use crate::engine::Engine;
use crate::wire::v1::run_service_server::RunService;

/// Answers `RunService` from the engine.
pub struct Runs(pub Arc<Engine>);

#[tonic::async_trait]
impl RunService for Runs {}
