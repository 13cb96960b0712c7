//! A customer: orders something, watches it, answers, cancels and tries again, however often the server dies meanwhile.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::ledger::{DELIVER, Ledger};
use crate::line::{Frames, Line};
use crate::notebook::{Notebook, stands};
use crate::orders::Kind;
use crate::storm::Moment;
use crate::support::Client;

/// What every customer has.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) line: Line,
    pub(crate) ledger: Ledger,
    pub(crate) moments: UnboundedSender<Moment>,
}

/// Calls of a tool that belong to results which were told, and how often each had arrived by then.
type Sealed = (&'static str, Vec<(String, usize)>);

/// A customer, and what it was told so far.
pub(crate) struct Customer {
    shop: Arc<Shop>,
    kind: Kind,
    number: usize,
    /// The name of the order; a start without a key that broke off may have happened, so the next one has another name.
    order: String,
    run_id: String,
    notebook: Notebook,
    /// Whole streams beside the one that is watched.
    asides: Vec<Vec<(u64, Value)>>,
    sealed: Vec<Sealed>,
    /// The answers that were accepted, and the step that asked.
    answers: Vec<(String, String)>,
    retried: usize,
    over: bool,
}

impl Customer {
    /// Makes the customer of a number, who says how everything is ordered.
    pub(crate) fn new(shop: &Arc<Shop>, number: usize) -> Self {
        Self {
            shop: shop.clone(),
            kind: Kind::ALL[number % Kind::ALL.len()],
            number: number / Kind::ALL.len(),
            order: format!("order-{number}"),
            run_id: String::new(),
            notebook: Notebook::default(),
            asides: Vec::new(),
            sealed: Vec::new(),
            answers: Vec::new(),
            retried: 0,
            over: false,
        }
    }

    /// Orders and stays until the run has ended.
    pub(crate) async fn served(mut self) -> Self {
        self.start().await;
        if self.kind == Kind::Endless {
            self.cancel().await;
        }
        self.react().await; // to what the start has told already
        while !self.over {
            self.watch().await;
        }
        self
    }

    async fn start(&mut self) {
        let path = format!("/orchestrations/{}/run", self.kind.id());
        match self.number % 4 {
            // An order that never ends has no progress, and fails if the server dies too often before it is cancelled.
            _ if self.kind == Kind::Endless => self.start_in_background(&path, self.number.is_multiple_of(2)).await,
            0 => self.start_in_background(&path, true).await,
            1 => self.start_in_background(&path, false).await,
            2 => self.start_stream(&format!("{path}/stream")).await,
            _ => self.start_and_wait(&path).await,
        }
        assert!(self.run_id.starts_with("run_"), "{}", self.run_id);
    }

    async fn start_in_background(&mut self, path: &str, keyed: bool) {
        let name = self.order.clone();
        for attempt in 1.. {
            let key = self.order.clone();
            let header = [("idempotency-key", key.as_str())];
            let body = json!({"message": self.order, "background": true});
            if let Some((status, answer)) = self.shop.line.once("POST", path, Some(&body), if keyed { &header } else { &[] }).await {
                self.happens(Moment::Accepted);
                assert_eq!(status, 202, "{answer}");
                answer["run_id"].as_str().unwrap().clone_into(&mut self.run_id);
                return;
            }
            if !keyed {
                self.order = format!("{name}-{attempt}");
            }
        }
    }

    async fn start_and_wait(&mut self, path: &str) {
        let (order, body) = (self.order.clone(), json!({"message": self.order}));
        let (status, answer) = loop {
            if let Some(told) = self.shop.line.once("POST", path, Some(&body), &[("idempotency-key", &order)]).await {
                break told;
            }
        };
        assert_eq!(status, 200, "{answer}");
        answer["run_id"].as_str().unwrap().clone_into(&mut self.run_id);
    }

    /// Starts with a key and reads on; where that breaks off before the run was named, the same request tells everything again.
    async fn start_stream(&mut self, path: &str) {
        let (order, body) = (self.order.clone(), json!({"message": self.order}));
        while self.run_id.is_empty() {
            let Some(opened) = self.shop.line.open("POST", path, Some(&body), &[("idempotency-key", &order)]).await else { continue };
            self.read(opened.unwrap(), 0).await;
            if let Some(start) = self.notebook.of_type("orchestration_start").next() {
                start["run_id"].as_str().unwrap().clone_into(&mut self.run_id);
            }
        }
    }

    async fn watch(&mut self) {
        let after = self.notebook.last();
        let (path, header) = (format!("/orchestrations/runs/{}/stream", self.run_id), after.to_string());
        let Some(opened) = self.shop.line.open("GET", &path, None, &[("last-event-id", &header)]).await else { return };
        let stream = opened.unwrap_or_else(|refused| panic!("{} after {after}: {refused:?}", self.run_id));
        self.read(stream, after).await;
        self.react().await;
    }

    /// Takes a stream down until it ends, breaks off, or somebody has to do something.
    async fn read(&mut self, mut stream: Frames, mut before: u64) {
        while let Some((id, event)) = stream.next().await {
            match event["type"].as_str().unwrap() {
                "done" => return,
                "text_delta" | "reasoning_delta" => continue,
                _ => {}
            }
            self.notebook.take(before, id, &event);
            before = id;
            self.seal(&event);
            self.happens(Moment::Told(event["type"].as_str().unwrap().to_owned()));
            if !self.run_id.is_empty() && (event["type"] == "human_input_required" || is_end(&event)) {
                return;
            }
        }
    }

    /// Notes which calls belong to results that are recorded: they must not arrive again.
    fn seal(&mut self, event: &Value) {
        let tool = self.kind.effects().iter().find(|(tool, _)| event["type"] == "step_complete" && stands(event) == *tool);
        if let Some((tool, _)) = tool {
            let done = self.notebook.of_step("step_complete", tool);
            let calls = self.shop.ledger.ids(tool, &self.order).into_iter().take(done).collect::<Vec<_>>();
            assert_eq!(calls.len(), done, "{tool} of {} is recorded more often than it happened", self.order);
            self.sealed.push((tool, calls));
        }
    }

    /// Answers what is asked, and tries again what failed.
    async fn react(&mut self) {
        while let Some(question) = self.unanswered() {
            self.answer(question).await;
        }
        let ends = self.notebook.of_type("final").filter(|event| is_end(event)).count();
        if ends > self.retried {
            if self.kind == Kind::Refused && self.retried == 0 {
                assert_eq!(self.notebook.last_of("orchestration_complete").unwrap()["status"], "failed");
                self.retry().await;
            } else {
                self.over = true;
            }
        }
    }

    fn unanswered(&self) -> Option<Value> {
        self.notebook.of_type("human_input_required").nth(self.answers.len()).cloned()
    }

    async fn answer(&mut self, question: Value) {
        let (name, step) = (question["question_id"].clone(), question["orch_step_id"].as_str().unwrap().to_owned());
        let text = format!("answer to {} of {}", name.as_str().unwrap(), self.order);
        let keyed = self.number.is_multiple_of(2);
        let body = json!({"response": text, "step_id": name, "background": !keyed});
        let mut broke_off = false;
        while !if keyed { self.answer_and_read(&body).await } else { self.answer_once(&body, broke_off).await } {
            broke_off = true;
        }
        self.happens(Moment::Answered);
        self.answers.push((step, text));
        self.answer_again(&json!({"response": "too late", "step_id": name})).await;
    }

    /// Answers without a key; where an earlier call broke off, it may have been heard.
    async fn answer_once(&self, body: &Value, broke_off: bool) -> bool {
        let path = format!("/orchestrations/runs/{}/resume", self.run_id);
        match self.shop.line.once("POST", &path, Some(body), &[]).await {
            Some((202, _)) => true,
            Some((status, answer)) => {
                assert!(status == 400 && broke_off, "{status}: {answer}");
                true
            }
            None => false,
        }
    }

    /// Answers with a key, so that it may be said again, and reads what follows.
    async fn answer_and_read(&mut self, body: &Value) -> bool {
        let path = format!("/orchestrations/runs/{}/resume/stream", self.run_id);
        let key = format!("{}.{}", self.order, body["step_id"].as_str().unwrap());
        let Some(opened) = self.shop.line.open("POST", &path, Some(body), &[("idempotency-key", &key)]).await else { return false };
        let mut stream = opened.unwrap_or_else(|refused| panic!("{refused:?}"));
        self.happens(Moment::Answered);
        let mut events = Vec::new();
        while let Some((id, event)) = stream.next().await {
            if id > 0 && event["type"] != "done" {
                events.push((id, event));
            }
        }
        self.asides.push(events);
        true
    }

    /// A second answer to a question is refused.
    async fn answer_again(&self, body: &Value) {
        let path = format!("/orchestrations/runs/{}/resume", self.run_id);
        loop {
            if let Some((status, answer)) = self.shop.line.once("POST", &path, Some(body), &[]).await {
                assert_eq!(status, 400, "{answer}");
                return;
            }
        }
    }

    async fn retry(&mut self) {
        self.shop.ledger.allow(&self.order);
        let path = format!("/orchestrations/runs/{}/retry", self.run_id);
        for attempt in 0.. {
            if let Some((status, answer)) = self.shop.line.once("POST", &path, Some(&json!({"background": true})), &[]).await {
                assert!(status == 202 || status == 400 && attempt > 0, "{status}: {answer}");
                self.happens(Moment::Accepted);
                break;
            }
        }
        self.retried += 1;
    }

    async fn cancel(&self) {
        let path = format!("/orchestrations/runs/{}/cancel", self.run_id);
        for attempt in 0.. {
            if let Some((status, answer)) = self.shop.line.once("POST", &path, Some(&json!({})), &[]).await {
                assert!(answer["status"] == "cancelled" || status == 400 && attempt > 0, "{status}: {answer}");
                return;
            }
        }
    }

    fn happens(&self, moment: Moment) {
        let _ = self.shop.moments.send(moment);
    }

    /// Returns how often a step of the run was interrupted.
    pub(crate) fn interruptions(&self) -> usize {
        self.notebook.of_type("step_start").filter(|event| event["attempt"].as_u64() > Some(1)).count()
    }

    /// Looks once more at everything that was promised, now that it is over.
    pub(crate) async fn check(&self, other: &Client) {
        let (run_id, order) = (&self.run_id, &self.order);
        let whole = self.replay().await;
        let mut told = other.open("WatchRun", json!({"run_id": run_id})).await.unwrap().numbered().await;
        told.pop(); // `done`
        assert_eq!(told, whole, "{run_id} is told otherwise in the other protocol");
        let known = self.notebook.all();
        assert_eq!(whole, known, "{run_id} is told otherwise than before");
        for aside in &self.asides {
            let from = aside.first().map_or(0, |(id, _)| usize::try_from(*id).unwrap() - 1);
            assert_eq!(aside[..], whole[from..from + aside.len()], "{run_id} was told otherwise to somebody else");
        }
        let finals = self.notebook.of_type("final").filter(|event| is_end(event)).count();
        let ends: Vec<&Value> = self.notebook.of_type("orchestration_complete").filter(|event| event["orch_step_id"].is_null()).collect();
        assert_eq!((ends.len(), finals), (1 + self.retried, 1 + self.retried), "{run_id}");
        assert_eq!(ends.last().unwrap()["status"], self.kind.status(), "{order}: {:?}", ends.last());
        let run = self.shop.line.get(&format!("/orchestrations/runs/{run_id}")).await;
        assert_eq!((&run["status"], &run["last_event_id"]), (&json!(self.kind.status()), &json!(known.len())), "{run}");
        assert_eq!(self.answers.len(), self.kind.answers(), "{order}");
        if self.kind.status() == "completed" {
            let last = self.notebook.last_of("final").unwrap();
            assert_eq!(last["response"], self.kind.response(order, &self.answers), "{order} of {run_id}");
        }
        self.check_effects();
    }

    async fn replay(&self) -> Vec<(u64, Value)> {
        let path = format!("/orchestrations/runs/{}/stream", self.run_id);
        let mut stream = self.shop.line.open("GET", &path, None, &[]).await.unwrap().unwrap_or_else(|refused| panic!("{refused:?}"));
        let (mut events, mut done) = (Vec::new(), 0);
        while let Some((id, event)) = stream.next().await {
            assert_eq!(done, 0, "{event} after `done`");
            if event["type"] == "done" {
                done += 1;
            } else {
                events.push((id, event));
            }
        }
        assert_eq!(done, 1, "a stream without `done`");
        events
    }

    /// What is recorded had its effect once; what was interrupted had it at most once an attempt, and always under the same id.
    fn check_effects(&self) {
        let order = &self.order;
        let tools = self.kind.effects().iter().copied().chain((self.kind == Kind::Refused).then_some((DELIVER, 1)));
        for (tool, expected) in tools {
            let calls = self.shop.ledger.ids(tool, order);
            let (attempts, times) = (self.notebook.of_step("step_start", tool), calls.iter().map(|(_, times)| times).sum::<usize>());
            assert_eq!(calls.len(), expected, "{tool} of {order}: {calls:?}");
            assert!(times <= attempts, "{tool} of {order} was called {times} times in {attempts} attempts");
        }
        for (tool, sealed) in &self.sealed {
            let calls = self.shop.ledger.ids(tool, order);
            assert_eq!(calls[..sealed.len()], sealed[..], "{tool} of {order} was done again after it was recorded");
        }
    }
}

/// Tells whether an event is the last one of the run itself, before `done`.
fn is_end(event: &Value) -> bool {
    event["type"] == "final" && event["orch_step_id"].is_null()
}
