//! One client for both protocols: it takes requests as JSON, and tells an outcome that is the same whichever protocol it spoke.

use std::net::SocketAddr;

use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use super::{Events, grpc, rest};

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Rest,
    Grpc,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The answer, as REST tells it.
    Answered(Value),
    /// The refusal: REST's status, or that which stands for the code of gRPC.
    Refused { status: u16, detail: String },
}

/// Returns the outcome of a call that is answered.
pub(crate) fn answered(answer: Value) -> Outcome {
    Outcome::Answered(answer)
}

/// Returns the outcome of a call that is refused.
pub(crate) fn refused(status: u16, detail: &str) -> Outcome {
    Outcome::Refused { status, detail: detail.to_owned() }
}

impl Outcome {
    /// Returns the answer of a call that must have one.
    pub(crate) fn answer(self) -> Value {
        match self {
            Self::Answered(answer) => answer,
            Self::Refused { status, detail } => panic!("refused with {status}: {detail}"),
        }
    }

    /// Returns status and detail of a call that must be refused.
    pub(crate) fn refusal(self) -> (u16, String) {
        match self {
            Self::Answered(answer) => panic!("answered with {answer}"),
            Self::Refused { status, detail } => (status, detail),
        }
    }
}

/// A client of one server.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) dialect: Dialect,
    pub(crate) address: SocketAddr,
    /// The `authorization` that every call carries.
    pub(crate) authorization: Option<String>,
    /// What every call says beside its message: headers, or metadata.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) http: reqwest::Client,
    pub(crate) channel: Channel,
}

impl Client {
    /// Makes a client without a key.
    pub(crate) fn new(dialect: Dialect, address: SocketAddr) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Self { dialect, address, authorization: None, headers: Vec::new(), http: rest::http(), channel }
    }

    /// Returns a client with another key.
    pub(crate) fn bearer(&self, bearer: &str) -> Self {
        self.authorization(&format!("Bearer {bearer}"))
    }

    /// Returns a client with another `authorization`.
    pub(crate) fn authorization(&self, authorization: &str) -> Self {
        Self { authorization: Some(authorization.to_owned()), ..self.clone() }
    }

    /// Returns a client without a key.
    pub(crate) fn stranger(&self) -> Self {
        Self { authorization: None, ..self.clone() }
    }

    /// Returns a client that says something beside every message.
    #[expect(clippy::needless_pass_by_value, reason = "it reads better where it is called")]
    pub(crate) fn header(&self, name: &'static str, value: impl ToString) -> Self {
        let mut client = self.clone();
        client.headers.push((name, value.to_string()));
        client
    }

    /// Returns a client whose calls have an idempotency key.
    pub(crate) fn keyed(&self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// Calls an rpc that answers once.
    pub(crate) async fn call(&self, rpc: &str, request: Value) -> Outcome {
        match self.dialect {
            Dialect::Rest => rest::call(self, rpc, request).await,
            Dialect::Grpc => grpc::call(self, rpc, request).await,
        }
    }

    /// Chats and waits for the answer.
    pub(crate) async fn chat(&self, request: Value) -> Outcome {
        self.call("Chat", request).await
    }

    /// Chats and returns the text of the answer.
    pub(crate) async fn say(&self, request: Value) -> String {
        self.chat(request).await.answer()["response"].as_str().unwrap().to_owned()
    }

    /// Chats and streams what happens.
    pub(crate) async fn stream(&self, request: Value) -> Result<Events, Outcome> {
        self.open("StreamChat", request).await
    }

    /// Calls an rpc that answers with a stream.
    pub(crate) async fn open(&self, rpc: &str, request: Value) -> Result<Events, Outcome> {
        match self.dialect {
            Dialect::Rest => rest::stream(self, rpc, request).await,
            Dialect::Grpc => grpc::stream(self, rpc, request).await,
        }
    }

    /// Chats and returns all events of the stream, which keeps its promises.
    pub(crate) async fn events(&self, request: Value) -> Vec<Value> {
        self.stream(request).await.unwrap_or_else(|refused| panic!("{refused:?}")).whole().await
    }
}
