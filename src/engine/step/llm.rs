//! Llm steps: a model is asked once, without tools and without what was said before.

use super::{Attempt, Done, Failure, prompt};
use crate::engine::run::Told;
use crate::provider::{Message, Role};

/// Asks the model.
pub(super) async fn perform(attempt: &mut Attempt) -> Result<Done, Failure> {
    let model = attempt.model()?;
    let message = Message::text(Role::User, prompt::message(&attempt.place())?);
    let request = attempt.scope.request(&model.model, prompt::system(&attempt.place()), vec![message], [].into());
    let mut teller = attempt.teller.again();
    let answer = attempt.engine.ask(attempt.asker(&model), request, Some(&mut teller)).await.map_err(Failure::model)?;
    Ok(Done { output: Some(answer.text.clone().into()), told: Told::Text(answer.text), ..Done::default() })
}
