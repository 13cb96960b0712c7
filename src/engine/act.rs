//! The calls of one answer: checked, made side by side, and told in the model's order.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout_at};

use super::teller::{Gone, Teller};
use super::tool_set::check;
use super::turn::Turn;
use super::{Engine, images};
use crate::provider::{Image, ToolCall, ToolResult};
use crate::tool::vault::READ;
use crate::tool::{Call, Origin, Output, Tool, cut_long, stash};
use crate::wire::JsonObject;
use crate::wire::v1::chat_event::{Event, ToolExecution, ToolResult as ResultEvent};

/// The most calls of one answer that run at once.
const AT_ONCE: usize = 8;

/// The most calls of one answer; those beyond are refused.
const CALLS: usize = 64;

/// The most bytes that a tool may return.
const OUTPUT_BYTES: usize = 8 << 20;

/// How long a sub-agent may work, its own rounds and tools included.
const AGENT_TIME: Duration = Duration::from_hours(1);

/// Characters of a result that are told in an event.
pub(super) const PREVIEW: usize = 500;

/// A call that was made, or refused.
pub(super) struct Made {
    /// What the model hears.
    pub result: ToolResult,
    /// Images that it sees.
    pub images: Vec<Image>,
    /// Where the tool comes from, where it returned something.
    pub origin: Option<Origin>,
}

impl Made {
    /// Tells whether a tool server wants its user to log in first.
    pub(super) fn wants_login(&self) -> bool {
        self.origin == Some(Origin::Mcp) && self.result.text.contains("auth_required") && {
            let json: Option<Value> = serde_json::from_str(&self.result.text).ok();
            json.is_some_and(|json| json["error"] == "auth_required")
        }
    }
}

impl Engine {
    /// Makes the calls of an answer. A failed call is a result like any other.
    pub(super) async fn act<'a>(&'a self, turn: &'a Turn, calls: &'a [ToolCall], teller: &mut Teller) -> Result<Vec<Made>, Gone> {
        for call in calls {
            let args = JsonObject(call.arguments.as_object().cloned().unwrap_or_default());
            let (tool_name, call_id) = (call.name.clone(), call.id.clone());
            teller.tell(Event::ToolExecution(ToolExecution { tool_name, args: Some(args), call_id, delegate: None })).await?;
        }
        // A crash from here on leaves a trace of what was about to happen.
        teller.kept().await?;
        let begin =
            |(place, call): (usize, &'a ToolCall)| self.make(turn, place, call, turn.effects.id(&call.name, &call.arguments)).boxed();
        let calls: Vec<BoxFuture<'_, Made>> = calls.iter().enumerate().map(begin).collect();
        let (finished, mut results) = mpsc::unbounded_channel();
        // While a slow reader is told one result, the other calls go on.
        let run = async {
            let mut running = stream::iter(calls).buffered(AT_ONCE);
            while let Some(made) = running.next().await {
                finished.send(made).map_err(|_| Gone)?;
            }
            drop(finished);
            Ok(())
        };
        let tell = async {
            let mut made = Vec::new();
            while let Some(next) = results.recv().await {
                if !next.wants_login() {
                    teller.tell(Event::ToolResult(told(&next.result))).await?;
                }
                made.push(next);
            }
            Ok(made)
        };
        let ((), made) = tokio::try_join!(run, tell)?;
        Ok(made)
    }

    async fn make(&self, turn: &Turn, place: usize, call: &ToolCall, idempotency_id: String) -> Made {
        let outcome = if place < CALLS {
            self.attempt(turn, call, idempotency_id).await
        } else {
            Err(format!("Error: more than {CALLS} calls in one answer"))
        };
        let settings = &turn.scope.definitions.settings;
        let (mut text, mut images, origin) = match outcome {
            Ok((output, origin)) => (self.shorten(turn, &call.name, output.text).await, output.images, Some(origin)),
            Err(refusal) => (cut_long(settings, refusal, "it is a failure"), Vec::new(), None),
        };
        if !turn.model.sees && !images.is_empty() {
            text += "\n[the result has images, which cannot be shown to this model]";
            images.clear();
        }
        let all = images.len();
        images.retain(images::is_image);
        if images.len() < all {
            text += "\n[the result has images that are no PNG, JPEG, GIF or WebP, and are left out]";
        }
        let result = ToolResult { call_id: call.id.clone(), name: call.name.clone(), text };
        Made { result, images, origin }
    }

    /// Checks a call and makes it. The error is what the model hears.
    async fn attempt(&self, turn: &Turn, call: &ToolCall, idempotency_id: String) -> Result<(Output, Origin), String> {
        let Some(tool) = turn.tools.find(&call.name) else { return Err(self.not_there(turn, &call.name)) };
        // Sub-agents are bounded by their own rounds.
        let time = if tool.origin() == Origin::Agent { AGENT_TIME } else { self.tool_time };
        let output = call_tool(&**tool, call, idempotency_id, &turn.order, turn.scope.end(time)).await;
        Ok((output.map_err(|failure| format!("Error: {failure}"))?, tool.origin()))
    }

    /// Puts what is too long for the conversation where the agent can read it, and cuts it if there is no such place.
    async fn shorten(&self, turn: &Turn, tool: &str, text: String) -> String {
        let settings = &turn.scope.definitions.settings;
        if turn.tools.find(READ).is_some() {
            stash(&self.vault, settings, tool, text).await
        } else {
            cut_long(settings, text, "this agent has no tool to read the rest with")
        }
    }

    fn not_there(&self, turn: &Turn, name: &str) -> String {
        if self.toolbox.knows(&turn.scope.definitions, name) {
            return "Blocked: Tool not available for this agent".to_owned();
        }
        format!("Error: tool not found; {}", turn.tools.names())
    }
}

/// Checks the arguments of a call and makes it. The error is what went wrong.
pub(super) async fn call_tool(
    tool: &dyn Tool,
    call: &ToolCall,
    idempotency_id: String,
    order: &Mutex<()>,
    deadline: Instant,
) -> Result<Output, String> {
    let arguments = check(tool.description(), &call.arguments)?;
    let call = |deadline| Call { id: call.id.clone(), arguments, deadline, output_bytes: OUTPUT_BYTES, idempotency_id };
    perform(tool, order, deadline, call).await
}

/// Calls a tool and takes nothing from it but a result in time and of a fitting size. The error is what went wrong.
async fn perform(tool: &dyn Tool, order: &Mutex<()>, deadline: Instant, call: impl FnOnce(Instant) -> Call) -> Result<Output, String> {
    let begun = Instant::now();
    let late = |_| format!("the tool did not return within {} s", (deadline - begun).as_secs_f64());
    // A call that got its turn too late is not begun: nobody could tell whether it was done.
    let _before_others = if tool.in_order() { Some(timeout_at(deadline, order.lock()).await.map_err(late)?) } else { None };
    let work = AssertUnwindSafe(async { tool.call(call(deadline)).await }).catch_unwind();
    let returned = timeout_at(deadline, work).await.map_err(late)?;
    let output = returned.map_err(|_| "the tool crashed".to_owned())?.map_err(|failure| failure.to_string())?;
    if output.text.len() > OUTPUT_BYTES {
        return Err(format!("the tool returned more than {OUTPUT_BYTES} bytes; ask for less"));
    }
    Ok(output)
}

fn told(result: &ToolResult) -> ResultEvent {
    ResultEvent { tool_name: result.name.clone(), preview: preview(&result.text), call_id: result.call_id.clone(), delegate: None }
}

fn preview(text: &str) -> String {
    text.char_indices().nth(PREVIEW).map_or_else(|| text.to_owned(), |(end, _)| format!("{}...", &text[..end]))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::provider::ToolDescription;
    use crate::tool::Failure;

    /// A tool that does one thing.
    struct Odd(Arc<ToolDescription>, fn() -> BoxFuture<'static, Result<Output, Failure>>);

    impl Tool for Odd {
        fn description(&self) -> &Arc<ToolDescription> {
            &self.0
        }

        fn origin(&self) -> Origin {
            Origin::BuiltIn
        }

        fn in_order(&self) -> bool {
            true
        }

        fn call(&self, _: Call) -> BoxFuture<'static, Result<Output, Failure>> {
            (self.1)()
        }
    }

    async fn outcome(does: fn() -> BoxFuture<'static, Result<Output, Failure>>, order: &Mutex<()>) -> String {
        let description = ToolDescription { name: "odd".to_owned(), description: String::new(), schema: Value::Null };
        let call = |deadline| Call {
            id: String::new(),
            arguments: serde_json::Map::new(),
            deadline,
            output_bytes: 1,
            idempotency_id: String::new(),
        };
        let deadline = Instant::now() + Duration::from_secs(2);
        perform(&Odd(Arc::new(description), does), order, deadline, call).await.map_or_else(|error| error, |output| output.text)
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_a_tool_does_there_is_a_result() {
        let free = Mutex::new(());
        assert_eq!(outcome(|| async { Ok(Output::text("fine")) }.boxed(), &free).await, "fine");
        assert_eq!(outcome(|| async { panic!("inside") }.boxed(), &free).await, "the tool crashed");
        assert_eq!(outcome(|| panic!("before"), &free).await, "the tool crashed");
        assert_eq!(outcome(|| std::future::pending().boxed(), &free).await, "the tool did not return within 2 s");
        let told = outcome(|| async { Ok(Output::text("x".repeat(OUTPUT_BYTES + 1))) }.boxed(), &free).await;
        assert_eq!(told, "the tool returned more than 8388608 bytes; ask for less");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_turn_comes_too_late_is_not_begun() {
        let order = Mutex::new(());
        let _held = order.lock().await;
        assert_eq!(outcome(|| panic!("it was begun"), &order).await, "the tool did not return within 2 s");
    }

    #[test]
    fn a_preview_is_cut_between_characters_only_where_there_is_more() {
        let exact = "é".repeat(PREVIEW);
        assert_eq!(preview(&exact), exact);
        assert_eq!(preview(&format!("{exact}é")), format!("{exact}..."));
    }
}
