//! What models cost, as `model_pricing.json` describes it.

use std::collections::HashMap;

use serde_json::Value;

use super::Problem;
use super::record::json;

/// The file of the prices, inside the data directory.
pub const PRICING_FILE: &str = "model_pricing.json";

/// The prices of one model, in US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Tokens read.
    pub input: f64,
    /// Tokens written.
    pub output: f64,
    /// Tokens read from the provider's cache; those cost as much as others where the file does not say.
    pub cached: f64,
}

impl Price {
    /// Returns what a call costs in US dollars. Cached tokens are some of those read.
    pub fn cost(&self, input_tokens: u64, output_tokens: u64, cached_tokens: u64) -> f64 {
        let cached = cached_tokens.min(input_tokens);
        let millionths = (input_tokens - cached) as f64 * self.input + cached as f64 * self.cached + output_tokens as f64 * self.output;
        millionths / 1e6
    }
}

/// The prices of models by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pricing(HashMap<String, Price>);

impl Pricing {
    /// Returns the price of a model, by the name that agents give it or by its own name without the prefix that chooses a provider.
    pub fn of(&self, model: &str) -> Option<Price> {
        let own = || model.split_once('.').map(|(_, name)| name);
        self.0.get(model).or_else(|| self.0.get(own()?)).copied()
    }
}

/// Reads prices. It fails only if the file holds no JSON object.
pub fn pricing(text: &str) -> Result<(Pricing, Vec<Problem>), Problem> {
    let Value::Object(models) = json(PRICING_FILE, text)? else {
        return Err(Problem::fatal(PRICING_FILE, "is no JSON object; write `{` and `}` around the models"));
    };
    let (mut prices, mut problems) = (HashMap::new(), Vec::new());
    for (model, record) in &models {
        match price(record) {
            Ok(price) => drop(prices.insert(model.clone(), price)),
            Err(field) => {
                problems.push(Problem::of_record(PRICING_FILE, model, "is no number from 0 up, so the model has no price").in_field(field));
            }
        }
    }
    Ok((Pricing(prices), problems))
}

fn price(record: &Value) -> Result<Price, &'static str> {
    let amount = |field| record.get(field).and_then(Value::as_f64).filter(|amount| *amount >= 0.0);
    let needed = |field| amount(field).ok_or(field);
    let input = needed("input_per_1m")?;
    let cached = if record.get("cache_read_per_1m").is_some_and(|cached| !cached.is_null()) { needed("cache_read_per_1m")? } else { input };
    Ok(Price { input, output: needed("output_per_1m")?, cached })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_with_and_without_its_prefix_and_a_wrong_price_is_named() {
        let (pricing, problems) = pricing(
            r#"{"gpt-x": {"provider": "openai", "input_per_1m": 2, "output_per_1m": 8.5, "cache_read_per_1m": 0.5},
                "m": {"input_per_1m": 1, "output_per_1m": 1, "cache_read_per_1m": null}, "bad": {"input_per_1m": "2"}}"#,
        )
        .unwrap();
        assert_eq!(pricing.of("gpt-x"), Some(Price { input: 2.0, output: 8.5, cached: 0.5 }));
        assert_eq!(pricing.of("locv1.m"), Some(Price { input: 1.0, output: 1.0, cached: 1.0 }));
        assert_eq!(pricing.of("bad"), None);
        assert_eq!(
            problems[0].to_string(),
            "`model_pricing.json`, `bad`, `input_per_1m`: is no number from 0 up, so the model has no price"
        );
    }

    #[test]
    fn cached_tokens_are_some_of_those_read_and_have_a_price_of_their_own() {
        let price = Price { input: 2.0, output: 8.0, cached: 0.5 };
        let near = |cost: f64, dollars: f64| (cost - dollars).abs() < 1e-12;
        assert!(near(price.cost(1_000_000, 0, 0), 2.0));
        assert!(near(price.cost(1_000_000, 500_000, 400_000), 1.2 + 0.2 + 4.0));
        assert!(near(price.cost(10, 0, 20), 10.0 * 0.5 / 1e6), "no more is cached than was read");
    }
}
