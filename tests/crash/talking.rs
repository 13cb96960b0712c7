//! A customer who talks to an agent that pays: with a key, in the background, or neither, so that the talk ends with the server.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::customer::Shop;
use crate::notebook::Notebook;

/// How a customer talks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Keyed,
    Background,
    Plain,
}

/// A talk, and what was told of it.
pub(crate) struct Talk {
    shop: Arc<Shop>,
    manner: Manner,
    order: String,
    run_id: String,
    notebook: Notebook,
    done: bool,
}

impl Talk {
    /// Makes the talk of a number, which says in which manner.
    pub(crate) fn new(shop: &Arc<Shop>, number: usize) -> Self {
        let manner = [Manner::Keyed, Manner::Background, Manner::Plain][number % 3];
        let order = format!("order-talk-{number}");
        Self { shop: shop.clone(), manner, order, run_id: String::new(), notebook: Notebook::default(), done: false }
    }

    /// Talks until there is an answer, or until the server dies where that is the end.
    pub(crate) async fn held(mut self) -> Self {
        match self.manner {
            Manner::Keyed => self.ask_again_and_again().await,
            Manner::Background => self.begin_and_watch().await,
            Manner::Plain => self.listen().await,
        }
        self
    }

    fn request(&self) -> Value {
        json!({"message": self.order, "agent": "clerk", "session_id": self.order, "background": self.manner == Manner::Background})
    }

    async fn ask_again_and_again(&mut self) {
        loop {
            let told = self.shop.line.once("POST", "/chat", Some(&self.request()), &[("idempotency-key", &self.order)]).await;
            let Some((status, answer)) = told else { continue };
            assert_eq!((status, answer["response"].as_str()), (200, Some("pay is done")), "{answer}");
            answer["run_id"].as_str().unwrap().clone_into(&mut self.run_id);
            return;
        }
    }

    async fn begin_and_watch(&mut self) {
        let name = self.order.clone();
        for attempt in 1.. {
            if let Some((status, answer)) = self.shop.line.once("POST", "/chat", Some(&self.request()), &[]).await {
                assert_eq!(status, 202, "{answer}");
                answer["run_id"].as_str().unwrap().clone_into(&mut self.run_id);
                break;
            }
            self.order = format!("{name}-{attempt}");
        }
        while !self.done {
            let path = format!("/chat/runs/{}/stream?after={}", self.run_id, self.notebook.last());
            if let Some(opened) = self.shop.line.open("GET", &path, None, &[]).await {
                self.read(opened.unwrap_or_else(|refused| panic!("{refused:?}"))).await;
            }
        }
    }

    async fn listen(&mut self) {
        if let Some(opened) = self.shop.line.open("POST", "/chat/stream", Some(&self.request()), &[]).await {
            self.read(opened.unwrap_or_else(|refused| panic!("{refused:?}"))).await;
        }
        if let Some(session) = self.notebook.of_type("session").next() {
            session["run_id"].as_str().unwrap().clone_into(&mut self.run_id);
        }
    }

    async fn read(&mut self, mut stream: crate::line::Frames) {
        let mut before = self.notebook.last();
        while let Some((id, event)) = stream.next().await {
            if id > 0 {
                self.notebook.take(before, id, &event);
                before = id;
            }
            self.done |= event["type"] == "done";
        }
    }

    /// Looks once more at everything that was promised, now that it is over.
    pub(crate) async fn check(&self) {
        if self.run_id.is_empty() {
            return; // it broke off before it was named
        }
        let run = self.shop.line.get(&format!("/chat/runs/{}", self.run_id)).await;
        let kept = self.manner != Manner::Plain || self.done;
        let status = run["status"].as_str().unwrap();
        assert!(status == "completed" || !kept && status == "cancelled", "{}: {run}", self.order);
        let calls = self.shop.ledger.ids("pay", &self.order);
        assert!(calls.len() <= 1 && (status != "completed" || calls.len() == 1), "{}: {calls:?}", self.order);
        if kept {
            let session = self.shop.line.get(&format!("/sessions/{}?agent_id=clerk", self.order)).await;
            assert_eq!(session["turns"].as_array().unwrap().len(), 1, "{session}");
        }
        if self.done {
            let path = format!("/chat/runs/{}/stream", self.run_id);
            let mut again = Self { notebook: Notebook::default(), done: false, ..Self::new(&self.shop, 0) };
            again.read(self.shop.line.open("GET", &path, None, &[]).await.unwrap().unwrap_or_else(|refused| panic!("{refused:?}"))).await;
            assert_eq!(again.notebook.all(), self.notebook.all(), "{} is told otherwise than before", self.run_id);
        }
    }
}
