//! The small language model that runs inside the server, so that the first question needs no account with anybody.

mod choose;
mod generate;
mod matrix;
mod network;
mod prompt;
mod vocabulary;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::quantized::gguf_file::Content;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;

use self::network::{Memory, Network};
use self::vocabulary::Vocabulary;
use super::{Choice, Chosen, Chunk, Kind, ModelError, ModelRequest, Provider, weights};

/// The prompt is read in portions of this many tokens; between them the worker looks whether anybody still waits.
const TOKENS_AT_ONCE: usize = 32;

/// A model with its words.
struct Model {
    vocabulary: Vocabulary,
    network: Network,
}

/// The local model. Nothing is loaded before the first call or [`Local::warm`].
#[derive(Clone)]
pub struct Local {
    model_dir: PathBuf,
    loaded: Arc<Mutex<Option<Arc<Model>>>>,
    workers: Arc<Semaphore>,
}

impl Local {
    /// Names the directory of the weights, and how many calls may run at once, each on one thread; others wait for their turn.
    pub fn new(model_dir: impl Into<PathBuf>, threads: usize) -> Self {
        let workers = Arc::new(Semaphore::new(threads.clamp(1, Semaphore::MAX_PERMITS)));
        Self { model_dir: model_dir.into(), loaded: Arc::default(), workers }
    }

    /// Loads the weights now, so that the first call need not wait for them.
    pub async fn warm(&self) -> Result<(), ModelError> {
        let local = self.clone();
        spawn_blocking(move || local.model().map(drop)).await.unwrap_or_else(|error| Err(broken(error)))
    }

    /// Returns the tokens that the model reads a text as.
    pub async fn tokens(&self, text: impl Into<String>) -> Result<Vec<u32>, ModelError> {
        let (local, text) = (self.clone(), text.into());
        spawn_blocking(move || local.model()?.vocabulary.encode(&text)).await.unwrap_or_else(|error| Err(broken(error)))
    }

    /// Returns the model, loading it if that has not happened. Calls that come meanwhile wait.
    fn model(&self) -> Result<Arc<Model>, ModelError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = &*loaded {
            return Ok(Arc::clone(model));
        }
        tracing::info!("loading the local model");
        let started = Instant::now();
        let model = Arc::new(Model::load(&self.model_dir)?);
        tracing::info!(seconds = started.elapsed().as_secs_f64(), "the local model is loaded");
        *loaded = Some(Arc::clone(&model));
        Ok(model)
    }

    /// Waits for a free worker.
    async fn turn(&self, model: &str, deadline: Instant) -> Result<OwnedSemaphorePermit, ModelError> {
        if !weights::is_name(model) {
            let detail = format!("the local model `{model}` does not exist; set `model` to `local.{}` in settings.json", weights::NAME);
            return Err(ModelError::new(Kind::NotConfigured, detail));
        }
        let turn = timeout_at(deadline, Arc::clone(&self.workers).acquire_owned()).await;
        turn.map_err(|_| too_late())?.map_err(broken)
    }

    async fn answer(self, request: ModelRequest) -> Result<ReceiverStream<Result<Chunk, ModelError>>, ModelError> {
        let turn = self.turn(&request.model, request.deadline).await?;
        // There is room for a whole answer, so a reader that dawdles keeps no worker.
        let (sender, receiver) = mpsc::channel(generate::MAX_ANSWER_TOKENS + 2);
        spawn_blocking(move || {
            let patience = Patience { deadline: request.deadline, left: &|| sender.is_closed() };
            let tell = |text| drop(sender.try_send(Ok(Chunk::Text(text))));
            let result = self.model().and_then(|model| generate::answer(&model, &request, &patience, tell));
            drop(turn);
            drop(sender.try_send(result.map(Chunk::End)));
        });
        Ok(ReceiverStream::new(receiver))
    }

    async fn decide(self, choice: Choice) -> Result<Chosen, ModelError> {
        let turn = self.turn(&choice.model, choice.deadline).await?;
        let (sender, receiver) = oneshot::channel();
        spawn_blocking(move || {
            let patience = Patience { deadline: choice.deadline, left: &|| sender.is_closed() };
            let result = self.model().and_then(|model| choose::choose(&model, &choice, &patience));
            drop(turn);
            drop(sender.send(result));
        });
        receiver.await.unwrap_or_else(|error| Err(broken(error)))
    }
}

impl Provider for Local {
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<Chunk, ModelError>> {
        stream::once(self.clone().answer(request)).try_flatten().boxed()
    }

    fn choose(&self, choice: Choice) -> BoxFuture<'static, Result<Chosen, ModelError>> {
        self.clone().decide(choice).boxed()
    }
}

impl Model {
    fn load(model_dir: &Path) -> Result<Self, ModelError> {
        if !weights::present(model_dir) {
            let detail = "the local model is not here: run `synapse model fetch`, or set another `model` in settings.json";
            return Err(ModelError::new(Kind::NotConfigured, detail));
        }
        let path = weights::path(model_dir);
        Self::read_file(&path).map_err(|error| {
            let detail = format!("the weights in `{}` cannot be read: {error}; run `synapse model fetch`", path.display());
            ModelError::new(Kind::NotConfigured, detail)
        })
    }

    fn read_file(path: &Path) -> candle_core::Result<Self> {
        let mut file = File::open(path)?;
        let content = Content::read(&mut file)?;
        Ok(Self { vocabulary: Vocabulary::read(&content)?, network: Network::read_file(&mut file, &content)? })
    }

    /// Reads tokens and returns the vector of the last one.
    fn read(&self, memory: &mut Memory, tokens: &[u32], patience: &Patience<'_>) -> Result<Vec<f32>, ModelError> {
        let mut vectors = Vec::new();
        for tokens in tokens.chunks(TOKENS_AT_ONCE) {
            patience.check()?;
            vectors = self.network.read(memory, tokens);
        }
        Ok(vectors.split_off(vectors.len().saturating_sub(self.network.width())))
    }
}

/// How long a worker goes on: until the deadline, or until nobody waits for the answer any more.
struct Patience<'a> {
    deadline: Instant,
    left: &'a dyn Fn() -> bool,
}

impl Patience<'_> {
    fn check(&self) -> Result<(), ModelError> {
        if (self.left)() {
            Err(ModelError::new(Kind::Unavailable, "the caller left"))
        } else if Instant::now() >= self.deadline {
            Err(too_late())
        } else {
            Ok(())
        }
    }
}

fn too_late() -> ModelError {
    ModelError::new(Kind::TimedOut, "the local model did not finish in time")
}

fn broken(error: impl std::fmt::Display) -> ModelError {
    ModelError::new(Kind::Unavailable, format!("the local model's worker ended: {error}"))
}
