//! Choices by channel scoring: the option whose description makes the message likeliest (Min et al., Noisy Channel Language Model Prompting, ACL 2022).
//!
//! Asked to name an option, a model this small guesses; asked how likely a message about the option is, it is right most of the time.

use super::network::Memory;
use super::prompt::{DEFAULT_SYSTEM, close, closed, open};
use super::{Model, Patience, TOKENS_AT_ONCE};
use crate::provider::{Choice, Chosen, DescribedOption, Kind, ModelError, Usage};

/// The beginning of a message tells what it is about; the rest only costs time.
const MESSAGE_TOKENS: usize = 128;

/// A longer message is cut before it is split into tokens.
const MESSAGE_CHARACTERS: usize = 16 * MESSAGE_TOKENS;

/// A longer description is cut.
const DESCRIPTION_CHARACTERS: usize = 1000;

/// Chooses the option whose description makes the message likeliest.
pub(super) fn choose(model: &Model, choice: &Choice, patience: &Patience<'_>) -> Result<Chosen, ModelError> {
    let message: String = choice.message.trim().chars().take(MESSAGE_CHARACTERS).collect();
    let mut message = model.vocabulary.encode(&message)?;
    message.truncate(MESSAGE_TOKENS);
    let mut shared = closed(&model.vocabulary, "system", DEFAULT_SYSTEM)?;
    shared.extend(open(&model.vocabulary, "user", "Write a short message about")?);
    let mut memory = model.network.blank();
    model.read(&mut memory, &shared, patience)?;
    let mut input_tokens = shared.len();
    let mut scores = Vec::with_capacity(choice.options.len());
    for option in &choice.options {
        let request = rest_of_request(model, option)?;
        input_tokens += request.len() + message.len();
        scores.push(likelihood(model, memory.clone(), &request, &message, patience)?);
    }
    // `max_by` prefers the last of equals; the first is the fairer default.
    let best = choice.options.iter().zip(&scores).rev().max_by(|(_, one), (_, other)| one.total_cmp(other));
    let (option, _) = best.ok_or_else(|| ModelError::new(Kind::Rejected, "there is no option to choose from"))?;
    Ok(Chosen {
        id: option.id.clone(),
        reasoning: String::new(),
        scores,
        usage: Usage { input_tokens: input_tokens as u64, ..Usage::default() },
    })
}

/// Makes what follows "Write a short message about" into tokens, up to where the message begins.
fn rest_of_request(model: &Model, option: &DescribedOption) -> Result<Vec<u32>, ModelError> {
    let description = if option.description.trim().is_empty() { &option.id } else { &option.description };
    let description: String = description.trim().trim_end_matches('.').chars().take(DESCRIPTION_CHARACTERS).collect();
    let mut tokens = model.vocabulary.encode(&format!(" {description}."))?;
    close(&model.vocabulary, &mut tokens)?;
    tokens.extend(open(&model.vocabulary, "assistant", "")?);
    Ok(tokens)
}

/// Returns the logarithm of the probability that `message` follows `request`.
fn likelihood(model: &Model, mut memory: Memory, request: &[u32], message: &[u32], patience: &Patience<'_>) -> Result<f64, ModelError> {
    let Some((first, others)) = message.split_first() else { return Ok(0.0) };
    let mut sum = log_share(&model.network.scores(&model.read(&mut memory, request, patience)?), *first);
    for (read, following) in message.chunks(TOKENS_AT_ONCE).zip(others.chunks(TOKENS_AT_ONCE)) {
        patience.check()?;
        let scores = model.network.scores(&model.network.read(&mut memory, &read[..following.len()]));
        sum += scores.chunks_exact(model.network.vocabulary()).zip(following).map(|(scores, &token)| log_share(scores, token)).sum::<f64>();
    }
    Ok(sum)
}

/// Returns the logarithm of a token's share among all (log-softmax).
fn log_share(scores: &[f32], token: u32) -> f64 {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.iter().map(|score| f64::from((score - highest).exp())).sum();
    f64::from(scores.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY) - highest) - sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_tokens_add_up_to_one() {
        let scores = [0.5, -2.0, 7.0, 6.5];
        let sum: f64 = (0..4).map(|token| log_share(&scores, token).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6);
        assert!(log_share(&scores, 2) > log_share(&scores, 3));
    }
}
