//! Another attempt where one makes sense, and an end to every call at its deadline.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt, TryFutureExt, stream};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Choice, Chosen, Chunk, Kind, ModelError, ModelRequest, Provider};
use crate::clock;

/// How often a failed call is tried again.
const RETRIES: u32 = 4;
/// The wait before the first retry; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// A provider that is asked again after a failure that may pass, within the deadline of the request.
///
/// Once a piece of the answer was given out there is no further attempt: the caller would hear it twice.
pub struct Retrying<P>(Arc<P>);

impl<P> Retrying<P> {
    /// Wraps a provider.
    pub fn new(provider: P) -> Self {
        Self(Arc::new(provider))
    }
}

impl<P: Provider + 'static> Provider for Retrying<P> {
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<Chunk, ModelError>> {
        let provider = Arc::clone(&self.0);
        let deadline = request.deadline;
        let begin = move || begin(provider.stream(request.clone()));
        let answer = retry(deadline, begin).map_ok(|(first, rest)| stream::iter([Ok(first)]).chain(rest)).try_flatten_stream();
        within(deadline, answer).boxed()
    }

    fn choose(&self, choice: Choice) -> BoxFuture<'static, Result<Chosen, ModelError>> {
        let provider = Arc::clone(&self.0);
        let deadline = choice.deadline;
        let attempt = move || provider.choose(choice.clone());
        async move { timeout_at(deadline, retry(deadline, attempt)).await.unwrap_or_else(|_| Err(timed_out())) }.boxed()
    }
}

/// Ends a stream with [`Kind::TimedOut`] where it is still going on at the deadline.
pub(super) fn within<S>(deadline: Instant, answer: S) -> impl Stream<Item = Result<Chunk, ModelError>> + Send
where
    S: Stream<Item = Result<Chunk, ModelError>> + Send,
{
    stream::unfold(Some(Box::pin(answer)), move |answer| async move {
        let mut answer = answer?;
        match timeout_at(deadline, answer.next()).await {
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(answer))),
            Ok(item) => Some((item?, None)),
            Err(_) => Some((Err(timed_out()), None)),
        }
    })
}

/// A stream and what came out of it first.
type Begun = (Chunk, BoxStream<'static, Result<Chunk, ModelError>>);

/// Waits until a stream gives its first piece, which shows that the call was taken.
async fn begin(mut answer: BoxStream<'static, Result<Chunk, ModelError>>) -> Result<Begun, ModelError> {
    match answer.next().await {
        Some(first) => Ok((first?, answer)),
        None => Err(ModelError::new(Kind::Garbled, "the model ended its answer before it began")),
    }
}

/// Repeats an attempt while its failure may pass and the wait for the next one ends before the deadline.
async fn retry<T, F>(deadline: Instant, mut attempt: impl FnMut() -> F) -> Result<T, ModelError>
where
    F: Future<Output = Result<T, ModelError>>,
{
    for number in 0..RETRIES {
        let error = match attempt().await {
            Err(error) if matches!(error.kind, Kind::RateLimited | Kind::Unavailable) => error,
            result => return result,
        };
        let wait = wait_before(number, error.retry_after);
        // What the provider asks for may be more than a clock can hold.
        if Instant::now().checked_add(wait).is_none_or(|end| end >= deadline) {
            return Err(error);
        }
        tracing::info!(%error, wait_ms = wait.as_millis(), "the model is asked again");
        sleep(wait).await;
    }
    attempt().await
}

/// Returns what the provider asked for, or else a wait that doubles; both with something random on top, so that
/// callers who failed together do not come back together.
fn wait_before(retry: u32, asked: Option<Duration>) -> Duration {
    let wait = FIRST_WAIT * 2_u32.pow(retry);
    let [random] = clock::secret_bytes().unwrap_or_default();
    asked.unwrap_or(wait).saturating_add(wait.mul_f64(f64::from(random) / 1024.0))
}

/// Makes the error of a call whose time ran out.
pub(super) fn timed_out() -> ModelError {
    ModelError::new(Kind::TimedOut, "the model did not answer in time")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::provider::{Message, Role, ToolCall, Usage};

    /// What one attempt does.
    enum Attempt {
        Fail(Kind, Option<Duration>),
        Say(Vec<Result<&'static str, Kind>>),
        Call,
        Hang,
    }

    #[derive(Default)]
    struct Plan {
        attempts: Mutex<Vec<Attempt>>,
        made: AtomicUsize,
    }

    impl Provider for Arc<Plan> {
        fn stream(&self, _: ModelRequest) -> BoxStream<'static, Result<Chunk, ModelError>> {
            self.made.fetch_add(1, Ordering::SeqCst);
            match self.attempts.lock().unwrap().remove(0) {
                Attempt::Fail(kind, retry_after) => stream::iter([Err(ModelError { retry_after, ..ModelError::new(kind, "no") })]).boxed(),
                Attempt::Say(parts) => stream::iter(parts)
                    .map(|part| part.map(|text| Chunk::Text(text.to_owned())).map_err(|kind| ModelError::new(kind, "broke")))
                    .chain(stream::iter([Ok(Chunk::End(Usage::default()))]))
                    .boxed(),
                Attempt::Call => {
                    stream::iter([Ok(Chunk::Call(Box::new(call()))), Err(ModelError::new(Kind::Unavailable, "broke"))]).boxed()
                }
                Attempt::Hang => stream::pending().boxed(),
            }
        }

        fn choose(&self, _: Choice) -> BoxFuture<'static, Result<Chosen, ModelError>> {
            self.made.fetch_add(1, Ordering::SeqCst);
            match self.attempts.lock().unwrap().remove(0) {
                Attempt::Fail(kind, _) => async move { Err(ModelError::new(kind, "no")) }.boxed(),
                Attempt::Say(_) => async { Ok(Chosen { id: "a".to_owned(), ..Chosen::default() }) }.boxed(),
                Attempt::Call | Attempt::Hang => futures_util::future::pending().boxed(),
            }
        }
    }

    fn call() -> ToolCall {
        ToolCall { id: "a".to_owned(), name: "f".to_owned(), arguments: serde_json::Value::Null, signatures: Vec::new() }
    }

    struct Outcome {
        chunks: Vec<Chunk>,
        error: Option<ModelError>,
        attempts: usize,
        took: Duration,
    }

    async fn ask(attempts: Vec<Attempt>, deadline: Duration) -> Outcome {
        let plan = Arc::new(Plan { attempts: Mutex::new(attempts), made: AtomicUsize::new(0) });
        let start = Instant::now();
        let request = ModelRequest {
            model: "m".to_owned(),
            system: String::new(),
            messages: vec![Message::text(Role::User, "hi")],
            tools: Vec::new().into(),
            deadline: start + deadline,
        };
        let mut answer = Retrying::new(Arc::clone(&plan)).stream(request);
        let (mut chunks, mut error) = (Vec::new(), None);
        while let Some(item) = answer.next().await {
            match item {
                Ok(chunk) => chunks.push(chunk),
                Err(failure) => error = Some(failure),
            }
        }
        Outcome { chunks, error, attempts: plan.made.load(Ordering::SeqCst), took: start.elapsed() }
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_passing_failure_is_tried_again_after_a_growing_wait() {
        let fail = || Attempt::Fail(Kind::Unavailable, None);
        let outcome = ask(vec![fail(), fail(), Attempt::Say(vec![Ok("yes")])], MINUTE).await;
        assert_eq!(outcome.chunks, [Chunk::Text("yes".to_owned()), Chunk::End(Usage::default())]);
        assert_eq!(outcome.attempts, 3);
        assert!((Duration::from_millis(1500)..Duration::from_millis(1900)).contains(&outcome.took), "{:?}", outcome.took);
    }

    #[tokio::test(start_paused = true)]
    async fn the_fifth_failure_is_the_last() {
        let outcome = ask((0..6).map(|_| Attempt::Fail(Kind::RateLimited, None)).collect(), MINUTE).await;
        assert_eq!(outcome.error.unwrap().kind, Kind::RateLimited);
        assert_eq!(outcome.attempts, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_that_the_provider_asks_for_is_kept() {
        let asked = Duration::from_secs(20);
        let outcome = ask(vec![Attempt::Fail(Kind::RateLimited, Some(asked)), Attempt::Say(vec![Ok("yes")])], MINUTE).await;
        assert!(outcome.error.is_none());
        assert!((asked..asked + Duration::from_secs(1)).contains(&outcome.took), "{:?}", outcome.took);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_beyond_the_deadline_fails_at_once() {
        let outcome = ask(vec![Attempt::Fail(Kind::RateLimited, Some(MINUTE * 2))], MINUTE).await;
        let error = outcome.error.unwrap();
        assert_eq!((error.kind, error.retry_after), (Kind::RateLimited, Some(MINUTE * 2)));
        assert_eq!((outcome.attempts, outcome.took), (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_stays_is_not_tried_again() {
        for kind in [Kind::Rejected, Kind::NotConfigured, Kind::Garbled, Kind::TimedOut] {
            let outcome = ask(vec![Attempt::Fail(kind, None)], MINUTE).await;
            assert_eq!((outcome.error.unwrap().kind, outcome.attempts), (kind, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_said_twice() {
        let outcome = ask(vec![Attempt::Say(vec![Ok("half"), Err(Kind::Unavailable)])], MINUTE).await;
        assert_eq!(outcome.chunks, [Chunk::Text("half".to_owned())]);
        assert_eq!((outcome.error.unwrap().kind, outcome.attempts), (Kind::Unavailable, 1));
        let outcome = ask(vec![Attempt::Call], MINUTE).await;
        assert_eq!((outcome.chunks, outcome.attempts), (vec![Chunk::Call(Box::new(call()))], 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_that_says_nothing_is_ended_at_the_deadline() {
        let outcome = ask(vec![Attempt::Hang], MINUTE).await;
        assert_eq!((outcome.error.unwrap().kind, outcome.took), (Kind::TimedOut, MINUTE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_choice_is_tried_again_and_ended_at_the_deadline() {
        let deadline = Instant::now() + MINUTE;
        let choice = Choice { model: String::new(), instruction: String::new(), message: String::new(), options: Vec::new(), deadline };
        let attempts = vec![Attempt::Fail(Kind::Unavailable, None), Attempt::Say(Vec::new()), Attempt::Hang];
        let provider = Retrying::new(Arc::new(Plan { attempts: Mutex::new(attempts), made: AtomicUsize::new(0) }));
        assert_eq!(provider.choose(choice.clone()).await.unwrap().id, "a");
        assert_eq!(provider.choose(choice).await.unwrap_err().kind, Kind::TimedOut);
        assert!(Instant::now() >= deadline);
    }
}
