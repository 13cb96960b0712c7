//! `synapse serve`.

use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit, setrlimit};
use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failure, first_call, log, model};
use crate::config::Config;
use crate::provider::{Provider, weights};
use crate::python::{Python, own_program};
use crate::server::Server;
use crate::store::{create_data_dir, write_starter};

/// How many calls of the local model run at once, each on a thread of its own.
#[cfg(feature = "local")]
const LOCAL_CALLS: usize = 1;

/// Serves until a signal comes.
pub(super) async fn serve(config: Config) -> Result<ExitCode, Failure> {
    let _log = log::start(&config)?;
    create_data_dir(&config.data_dir)?;
    let first = write_starter(&config.data_dir)?;
    let stop = stop_signal()?;
    let server = open(&config).await?;
    println!("{}", listening(&server)?);
    if config.python.unsandboxed {
        tokio::spawn(tell_sandbox(config.clone()));
    }
    if first {
        println!("Agents, an orchestration and settings to begin with were written to `{}`.", config.data_dir.display());
    }
    // Not told by `first`: a first start that failed half-way has written its files, but shown no key.
    if server.keys().list().is_empty() {
        let key = first_key(&server, "first key").await?;
        println!("{}", first_call::text(&server.address()?, key.expose_secret(), config.tls.is_some()));
        if config.model_fetch && server.wants_local_model() && !weights::present(&config.model_dir) {
            // Not awaited: other agents can answer meanwhile, and a failure is printed.
            tokio::spawn(model::fetch_in_background(config.clone()));
        }
    }
    server.serve(stop).await;
    Ok(ExitCode::SUCCESS)
}

/// Opens a server with the local model behind it, where the build has one.
pub(super) async fn open(config: &Config) -> Result<Server, Failure> {
    allow_many_files();
    #[cfg(feature = "local")]
    let local: Option<Arc<dyn Provider>> = Some(Arc::new(crate::provider::local::Local::new(&config.model_dir, LOCAL_CALLS)));
    #[cfg(not(feature = "local"))]
    let local: Option<Arc<dyn Provider>> = None;
    Server::start(config.clone(), local).await
}

/// Says in the log what people's Python runs in. Only the operator who lets it go without a sandbox has to know at the start.
async fn tell_sandbox(config: Config) {
    let Ok(program) = own_program() else { return };
    match Python::new(config.python, program).check().await {
        Ok(readiness) if readiness.sandboxed => tracing::info!("{readiness}"),
        Ok(readiness) => tracing::warn!("{readiness}"),
        Err(fault) => tracing::warn!("Python does not run: {fault}"),
    }
}

/// Raises the limit on open files, of which each connection is one, as far as a user may: where it starts is often 1,024.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}

/// Makes a key for the person at the terminal.
pub(super) async fn first_key(server: &Server, name: &str) -> Result<SecretString, Failure> {
    Ok(server.keys().create(name, None).await?.secret)
}

/// Says where the server listens.
pub(super) fn listening(server: &Server) -> Result<String, Failure> {
    let grpc = server.grpc_address().map(|address| format!(", and on {address} (gRPC only)")).unwrap_or_default();
    Ok(format!("listening on {} (REST, SSE, gRPC, gRPC-Web){grpc}", server.address()?))
}

/// Returns a token that is cancelled by SIGTERM and by Ctrl-C.
pub(super) fn stop_signal() -> Result<CancellationToken, Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}
