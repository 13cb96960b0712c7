//! The door: listeners, one router for both protocols, keys checked once, health, metrics and a graceful stop.

mod authenticate;
mod connection;
mod health;
mod linger;
mod observe;
mod router;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::config::Config;
use crate::engine::{Engine, Live, Logs, Turnstile};
use crate::metrics::Metrics;
use crate::provider::{Models, Provider};
use crate::python::{Python, own_program};
use crate::store::{AdminToken, DataDirLock, DefinitionFiles, Keys, Sessions, Store, Vault};
use crate::tool::Toolbox;
use crate::tool::mcp::Servers;
use connection::Acceptor;

/// What stops a start, told to the operator.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// How long streams get to say goodbye once their time is up.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long callers wait at the start for runs that are taken up.
const FIRST: Duration = Duration::from_millis(100);

/// How often the last use of keys is written.
const LAST_USE: Duration = Duration::from_mins(1);

/// A server that listens.
pub struct Server {
    config: Config,
    listener: TcpListener,
    grpc_listener: Option<TcpListener>,
    acceptor: Arc<Acceptor>,
    keys: Keys,
    sessions: Sessions,
    store: Store,
    engine: Arc<Engine>,
    servers: Arc<Servers>,
    /// Chats that go on.
    chats: TaskTracker,
    definitions: Arc<DefinitionFiles>,
    health: HealthReporter,
    ready: health::Readiness,
    entrances: router::Entrances,
    /// Cancelled when streams must end.
    streams: CancellationToken,
    _lock: DataDirLock,
}

impl Server {
    /// Opens everything that the server needs, and listens.
    pub async fn start(config: Config, local: Option<Arc<dyn Provider>>) -> Result<Self, StartError> {
        let lock = DataDirLock::take(&config.data_dir)?;
        let definitions = Arc::new(DefinitionFiles::open(&config.data_dir, &config.settings).map_err(|problems| lines(&problems))?);
        let keys = Keys::open(&config.data_dir)?;
        let admin = Arc::new(AdminToken::open(&config.data_dir, config.admin_token.as_ref())?);
        let store = Store::open(&config.data_dir).await?;
        let sessions = store.sessions();
        let metrics = Metrics::default();
        let streams = CancellationToken::new();
        let vault = Vault::open(&config.data_dir);
        let python = Python::new(config.python.clone(), own_program()?);
        let toolbox = Toolbox::new(&config, &vault, python.clone());
        let servers = toolbox.servers().clone();
        let chats = TaskTracker::new();
        let engine = Arc::new(Engine {
            definitions: definitions.clone(),
            sessions: sessions.clone(),
            model_calls: store.model_calls(),
            vault,
            models: Models::new(&config, local),
            metrics: metrics.clone(),
            toolbox,
            python,
            logs: Logs::new(store.runs()),
            live: Arc::new(Live::default()),
            step_time: config.limits.step_time,
            run_time: config.limits.run_time,
            model_time: config.limits.model_time,
            tool_time: config.limits.tool_time,
            stop: streams.clone(),
            tasks: chats.clone(),
            turnstile: Turnstile::default(),
        });
        let (health, health_service) = tonic_health::server::health_reporter();
        let ready = health::Readiness::new(definitions.clone(), keys.clone(), store.clone());
        let door = router::Door { engine: engine.clone(), keys: keys.clone(), admin, metrics: metrics.clone(), ready: ready.clone() };
        let entrances = router::entrances(&door, &config, Routes::new(health_service))?;
        let listener = listen(SocketAddr::new(config.host, config.port)).await?;
        let grpc_listener = match config.grpc_port {
            Some(port) => Some(listen(SocketAddr::new(config.host, port)).await?),
            None => None,
        };
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let acceptor = Arc::new(Acceptor::new(tls, config.limits.clone(), metrics));
        Ok(Self {
            config,
            listener,
            grpc_listener,
            acceptor,
            keys,
            sessions,
            store,
            engine,
            servers,
            chats,
            definitions,
            health,
            ready,
            entrances,
            streams,
            _lock: lock,
        })
    }

    /// Returns the address for REST and gRPC.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns the address of the gRPC-only listener.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc_listener.as_ref()?.local_addr().ok()
    }

    /// Tells whether the settings name a local model.
    pub fn wants_local_model(&self) -> bool {
        self.definitions.current().settings.text("model").is_some_and(|model| model.split('.').next() == Some("local"))
    }

    /// Returns the keys of the server.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Serves until `stop` is cancelled, then lets what is going on come to its end within the configured time.
    pub async fn serve(mut self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let no_more = CancellationToken::new();
        let engine = self.engine.clone();
        let mut recovery = Box::pin(engine.recover());
        // Whoever calls at once finds a server that is ready, unless there is much to take up.
        let mut recovered = timeout(FIRST, &mut recovery).await.is_ok();
        if recovered {
            self.ready.start();
        }
        tasks.spawn(self.acceptor.clone().accept(self.listener, self.entrances.everything, no_more.clone()));
        if let Some(listener) = self.grpc_listener {
            tasks.spawn(self.acceptor.clone().accept(listener, self.entrances.grpc, no_more.clone()));
        }
        tasks.spawn(self.store.clone().keep_recent(self.definitions.clone(), no_more.clone()));
        tasks.spawn(self.definitions.clone().watch(no_more.clone()));
        tasks.spawn(self.servers.clone().watch(self.definitions.clone(), no_more.clone()));
        tasks.spawn(self.keys.clone().watch(no_more.clone()));
        tasks.spawn(note_last_use(self.keys.clone(), no_more.clone()));
        tasks.spawn(self.engine.clone().watch_the_clock(no_more.clone()));
        tasks.close();
        if !recovered {
            // Callers are served meanwhile; the server is ready once every run of the last process goes on.
            recovered = stop.run_until_cancelled(recovery).await.is_some();
        }
        if recovered {
            health::tell(&self.health, ServingStatus::Serving).await;
            self.ready.start();
        }

        stop.cancelled().await;
        tracing::info!("stopping: no new work is taken");
        self.ready.stop();
        health::tell(&self.health, ServingStatus::NotServing).await;
        health::end(&mut self.health).await;
        no_more.cancel();
        if timeout(self.config.limits.shutdown_time, tasks.wait()).await.is_err() {
            tracing::warn!("the time for stopping is up; streams are ended");
            self.streams.cancel();
            let _ = timeout(GOODBYE, tasks.wait()).await;
        }
        // Runs stop where they are, and the next process goes on; what they have to keep comes first.
        self.streams.cancel();
        self.chats.close();
        let _ = timeout(GOODBYE, self.chats.wait()).await;
        self.servers.close().await;
        if let Err(error) = self.keys.flush_last_used().await {
            tracing::error!(%error, "the last use of keys could not be written");
        }
        if let Err(error) = self.store.runs().release_all().await {
            tracing::error!(%error, "runs could not be released; the next start counts a crash");
        }
        if let Err(error) = self.sessions.flush().await {
            tracing::error!(%error, "the last turns could not be kept");
        }
        tracing::info!("stopped");
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}").into())
}

async fn note_last_use(keys: Keys, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(LAST_USE)).await.is_some() {
        if let Err(error) = keys.flush_last_used().await {
            tracing::error!(%error, "the last use of keys could not be written");
        }
    }
}

fn lines(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
