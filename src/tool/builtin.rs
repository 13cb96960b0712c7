//! A tool that is part of the server: a description, and a function of typed arguments.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Call, Failure, Origin, Output, Tool};
use crate::provider::ToolDescription;

/// The function, once its arguments have a type.
type Work = dyn Fn(Call) -> BoxFuture<'static, Result<Output, Failure>> + Send + Sync;

/// A tool made of a description and a function.
pub(super) struct BuiltIn {
    description: Arc<ToolDescription>,
    in_order: bool,
    work: Box<Work>,
}

impl BuiltIn {
    /// Makes a tool. The function gets the arguments, which keep `schema`, and returns a text.
    pub(super) fn tool<A, F>(name: &str, description: &str, schema: Value, work: impl Fn(A) -> F + Send + Sync + 'static) -> Arc<dyn Tool>
    where
        A: DeserializeOwned,
        F: Future<Output = Result<String, Failure>> + Send + 'static,
    {
        Arc::new(Self::new(name, description, schema, work))
    }

    /// Makes a tool whose calls wait for each other.
    pub(super) fn in_order<A, F>(
        name: &str,
        description: &str,
        schema: Value,
        work: impl Fn(A) -> F + Send + Sync + 'static,
    ) -> Arc<dyn Tool>
    where
        A: DeserializeOwned,
        F: Future<Output = Result<String, Failure>> + Send + 'static,
    {
        Arc::new(Self { in_order: true, ..Self::new(name, description, schema, work) })
    }

    fn new<A, F>(name: &str, description: &str, schema: Value, work: impl Fn(A) -> F + Send + Sync + 'static) -> Self
    where
        A: DeserializeOwned,
        F: Future<Output = Result<String, Failure>> + Send + 'static,
    {
        let description = ToolDescription { name: name.to_owned(), description: description.to_owned(), schema };
        let work = move |call: Call| match serde_json::from_value(Value::Object(call.arguments)) {
            Ok(arguments) => work(arguments).map(|text| text.map(Output::text)).boxed(),
            Err(error) => std::future::ready(Err(Failure::new(format!("the arguments cannot be read: {error}")))).boxed(),
        };
        Self { description: Arc::new(description), in_order: false, work: Box::new(work) }
    }
}

impl Tool for BuiltIn {
    fn description(&self) -> &Arc<ToolDescription> {
        &self.description
    }

    fn origin(&self) -> Origin {
        Origin::BuiltIn
    }

    fn in_order(&self) -> bool {
        self.in_order
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Output, Failure>> {
        (self.work)(call)
    }
}
