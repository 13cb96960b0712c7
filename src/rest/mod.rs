//! What the generated REST handlers stand on: a request comes in as a message, an answer goes out as JSON or as a stream of events.

mod docs;
mod read;
mod refusal;
mod stream;

use std::sync::Arc;

use axum::response::Response;
use futures_util::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

pub use docs::{docs_file, docs_home, docs_page, openapi};
pub use refusal::{refusal, status_refusal};

pub use generated::router;

use crate::config::Limits;
use crate::grpc::Accepted;
use crate::wire::StreamEvent;
use read::Binding;

/// A handler for every route, and the router of all of them.
#[allow(unused_qualifications, clippy::pedantic, clippy::allow_attributes, reason = "generated")]
mod generated {
    use super::Gateway;
    use super::read::{Binding, Parameter, Shape};
    use crate::grpc::Services;
    use crate::wire::v1;

    include!(concat!(env!("OUT_DIR"), "/rest.rs"));
}

/// What every handler needs to know.
#[derive(Clone)]
pub struct Gateway {
    limits: Arc<Limits>,
}

impl Gateway {
    /// Makes the gateway, which keeps the limits of bodies and the heartbeat of streams.
    pub fn new(limits: &Limits) -> Self {
        Self { limits: Arc::new(limits.clone()) }
    }

    /// Reads the message of a request, or says what is wrong with it.
    async fn read<M: DeserializeOwned>(
        &self,
        request: Request<axum::body::Body>,
        binding: &Binding,
    ) -> Result<tonic::Request<M>, Response> {
        read::message(request, binding, &self.limits).await.map_err(|refused| refusal(refused.status, &refused.detail))
    }

    /// Answers with one JSON value; with status 202 where the handler marked it as accepted.
    #[expect(clippy::unused_self, reason = "the generated handlers speak to the gateway alone")]
    fn single<M, B: Serialize>(&self, answer: Result<tonic::Response<M>, Status>, body: impl FnOnce(&M) -> &B) -> Response {
        let answer = match answer {
            Ok(answer) => answer,
            Err(status) => return status_refusal(&status),
        };
        let mut response = match serde_json::to_vec(body(answer.get_ref())) {
            Ok(bytes) => json(bytes),
            Err(error) => return status_refusal(&crate::grpc::refuse(crate::error::Error::internal(error))),
        };
        if answer.extensions().get::<Accepted>().is_some() {
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        response
    }

    /// Answers with a stream of events. A call that is refused before its first event is a plain refusal.
    fn stream<E, S>(&self, answer: Result<tonic::Response<S>, Status>) -> Response
    where
        E: Serialize + StreamEvent + Send + 'static,
        S: Stream<Item = Result<E, Status>> + Send + 'static,
    {
        match answer {
            Ok(answer) => stream::events(answer.into_inner(), self.limits.heartbeat),
            Err(status) => status_refusal(&status),
        }
    }
}

fn json(bytes: Vec<u8>) -> Response {
    let mut response = Response::new(bytes.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::grpc::accepted;

    #[test]
    fn an_accepted_answer_is_a_202_and_no_header_says_so() {
        let gateway = Gateway::new(&Config::read(|_| None).unwrap().limits);
        let plain = || tonic::Response::new("run_1");
        let answers = [gateway.single(Ok(plain()), |id| id), gateway.single(Ok(accepted(plain())), |id| id)];
        assert_eq!(answers.each_ref().map(|answer| answer.status().as_u16()), [200, 202]);
        assert_eq!(answers[0].headers(), answers[1].headers());
        assert!(accepted(plain()).metadata().is_empty());
    }
}
