//! From a model's name to the provider that answers for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

use super::abilities::{Abilities, abilities};
use super::remembered::Remembered;
use super::remote::{self, Clients, Remote, Service};
use super::retry::Retrying;
use super::scripted::Scripted;
use super::text_tools::{NativeOrText, TextTools};
use super::{Kind, ModelError, Provider};
use crate::config::Config;
use crate::definition::Settings;

/// All models that this server can ask, by name.
pub struct Models {
    keys: BTreeMap<&'static str, SecretString>,
    clients: Arc<Clients>,
    local: Option<Arc<dyn Provider>>,
    refusals: Arc<Remembered>,
}

/// A model that can be asked.
#[derive(Clone)]
pub struct Model {
    /// Who answers.
    pub provider: Arc<dyn Provider>,
    /// The model's own name, without the prefix that chose the provider; empty for the local provider's usual one.
    pub name: String,
    /// The family of the provider, for logs and metrics.
    pub family: &'static str,
    /// Whether the model takes images.
    pub sees: bool,
}

impl fmt::Debug for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Model").field("family", &self.family).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Models {
    /// Takes the keys of the environment, and the provider that runs models in process where there is one.
    pub fn new(config: &Config, local: Option<Arc<dyn Provider>>) -> Self {
        Self { keys: config.provider_keys.clone(), clients: Arc::default(), local, refusals: Arc::default() }
    }

    /// Finds the provider for a model's name. This is cheap and opens nothing: settings may change between two calls.
    pub fn resolve(&self, model: &str, settings: &Settings) -> Result<Model, ModelError> {
        let written = model.trim();
        let found = |provider: Arc<dyn Provider>, name: &str, family, sees| Model { provider, name: name.to_owned(), family, sees };
        match route(written) {
            Route::Remote(service, name) => {
                let can = abilities(written, service.family, checked(name)?, settings);
                Ok(found(self.remote(service, name, can, settings)?, name, service.family, can.images))
            }
            Route::Local(name) => Ok(found(Arc::new(TextTools::new(self.local()?)), name, "local", false)),
            Route::Scripted(name) => {
                let script = Scripted::new(name, settings)?;
                let sees = script.sees();
                Ok(found(Arc::new(script), name, "scripted", sees))
            }
            Route::Nowhere(why) => Err(not_configured(why)),
        }
    }

    fn remote(&self, service: &'static Service, name: &str, can: Abilities, settings: &Settings) -> Result<Arc<dyn Provider>, ModelError> {
        let key = settings.secret(service.key_setting).or_else(|| self.keys.get(service.key_setting).cloned());
        if let (None, Some(variable)) = (&key, service.key_variable) {
            let (title, setting) = (service.title, service.key_setting);
            return Err(not_configured(format!("no key for {title}: set `{setting}` in settings.json or `{variable}`")));
        }
        let base = service.base(settings)?;
        let model = format!("{name} at {base}");
        let provider = Arc::new(Retrying::new(Remote::new(Arc::clone(&self.clients), service, base, key, can.streaming)));
        if can.tools {
            return Ok(Arc::new(NativeOrText::new(provider, Arc::clone(&self.refusals), model)));
        }
        Ok(Arc::new(TextTools::new(provider)))
    }

    fn local(&self) -> Result<Arc<dyn Provider>, ModelError> {
        self.local.clone().ok_or_else(|| {
            not_configured("this build has no local model: build it with the feature `local`, or name a model of another provider")
        })
    }
}

/// Who answers for a name, and what the model is called there.
enum Route<'a> {
    Remote(&'static Service, &'a str),
    Local(&'a str),
    Scripted(&'a str),
    Nowhere(&'static str),
}

/// Prefixes that are ours alone: they choose the provider and are no part of the model's name.
const CHOSEN: [(&str, &Service); 4] = [
    ("bedrock.", &remote::BEDROCK),
    ("oaic.", &remote::OPENAI_COMPATIBLE),
    ("locv1.", &remote::LOCAL_COMPATIBLE),
    ("ollama.", &remote::OLLAMA),
];

/// Beginnings by which a model's own name tells its maker. `gpt-oss` is served by nobody but the machines that run it.
const KNOWN: [(&str, &Service); 14] = [
    ("gpt-oss", &remote::OLLAMA),
    ("gpt", &remote::OPENAI),
    ("chatgpt", &remote::OPENAI),
    ("o1", &remote::OPENAI),
    ("o3", &remote::OPENAI),
    ("o4", &remote::OPENAI),
    ("claude", &remote::ANTHROPIC),
    ("gemini", &remote::GOOGLE),
    ("gemma", &remote::GOOGLE),
    ("lyria", &remote::GOOGLE),
    ("grok", &remote::XAI),
    ("deepseek", &remote::DEEPSEEK),
    ("bedrock", &remote::BEDROCK),
    // Ollama's own way to name a model of the hub; the prefix `hf.` is another thing.
    ("hf.co/", &remote::OLLAMA),
];

/// Reads the provider off a name; upper and lower case are alike in it.
fn route(model: &str) -> Route<'_> {
    let lower = model.to_ascii_lowercase();
    let begins = |prefix: &&str| lower.starts_with(*prefix);
    let after = |prefix: &str| &model[prefix.len()..];
    if let Some((prefix, service)) = CHOSEN.iter().find(|(prefix, _)| begins(prefix)) {
        Route::Remote(service, after(prefix))
    } else if let Some((_, service)) = KNOWN.iter().find(|(prefix, _)| begins(prefix)) {
        Route::Remote(service, model)
    } else if lower == "local" {
        Route::Local("")
    } else if begins(&"local.") {
        Route::Local(after("local."))
    } else if begins(&"scripted.") {
        Route::Scripted(after("scripted."))
    } else if begins(&"hf.") {
        Route::Nowhere("models named `hf.` are not run here: serve the model over the OpenAI protocol and name it `locv1.`")
    } else if begins(&"cli.") {
        Route::Nowhere("models named `cli.` are not run here: name the provider's own model, for example `claude-sonnet-4-5`")
    } else {
        Route::Remote(&remote::OLLAMA, model)
    }
}

/// Lets only a name through that stays one segment of an address and one word of a protocol.
fn checked(name: &str) -> Result<&str, ModelError> {
    if name.is_empty() {
        return Err(not_configured("no model is named: set `model` on the agent or in settings.json"));
    }
    let usual = |character: char| character.is_alphanumeric() || "-_.:/@+".contains(character);
    if !name.chars().all(usual) || name.contains("..") || name.contains("::") {
        return Err(not_configured(format!("`{}` is no name of a model", name.escape_debug())));
    }
    Ok(name)
}

fn not_configured(detail: impl Into<String>) -> ModelError {
    ModelError::new(Kind::NotConfigured, detail)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt;
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::provider::{Chunk, Message, ModelRequest, Role, ToolDescription};

    fn models(environment: &[(&str, &str)]) -> Models {
        let get = |name: &str| environment.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
        Models::new(&Config::read(get).unwrap(), None)
    }

    fn all_keys() -> Settings {
        let mut settings = Settings::default();
        for name in ["openai_key", "anthropic_key", "gemini_key", "grok_key", "deepseek_key", "bedrock_api_key"] {
            settings.set(name, "k".into());
        }
        settings.set("openai_compatible_base_url", "https://h/v1".into());
        settings.set("local_compatible_base_url", "http://127.0.0.1:8080".into());
        settings
    }

    fn error(models: &Models, model: &str, settings: &Settings) -> ModelError {
        models.resolve(model, settings).unwrap_err()
    }

    #[test]
    fn a_name_finds_its_provider() {
        for (model, family, name) in [
            ("gpt-4o", "openai", "gpt-4o"),
            ("GPT-4o", "openai", "GPT-4o"),
            ("o3-mini", "openai", "o3-mini"),
            ("o1", "openai", "o1"),
            ("o4-mini", "openai", "o4-mini"),
            ("chatgpt-4o-latest", "openai", "chatgpt-4o-latest"),
            ("claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
            ("gemini-2.5-flash", "google", "gemini-2.5-flash"),
            ("gemma-3-27b-it", "google", "gemma-3-27b-it"),
            ("grok-4", "xai", "grok-4"),
            ("deepseek-chat", "deepseek", "deepseek-chat"),
            ("bedrock.amazon.nova-pro-v1:0", "bedrock", "amazon.nova-pro-v1:0"),
            ("Bedrock.amazon.nova-pro-v1:0", "bedrock", "amazon.nova-pro-v1:0"),
            ("oaic.gpt-4o", "openai_compatible", "gpt-4o"),
            ("locv1.claude-like", "local_compatible", "claude-like"),
            ("LOCV1.Qwen/Qwen3", "local_compatible", "Qwen/Qwen3"),
            ("ollama.mistral", "ollama", "mistral"),
            ("ollama.gpt-4", "ollama", "gpt-4"),
            ("mistral", "ollama", "mistral"),
            ("qwen3:8b", "ollama", "qwen3:8b"),
            ("olmo", "ollama", "olmo"),
            ("gpt-oss:20b", "ollama", "gpt-oss:20b"),
            ("hf.co/org/model:Q4_K_M", "ollama", "hf.co/org/model:Q4_K_M"),
            ("scripted.echo", "scripted", "echo"),
            (" gpt-4o ", "openai", "gpt-4o"),
        ] {
            let found = models(&[]).resolve(model, &all_keys()).unwrap_or_else(|error| panic!("{model}: {error}"));
            assert_eq!((found.family, found.name.as_str()), (family, name), "{model}");
        }
    }

    #[test]
    fn a_missing_key_is_named_by_setting_and_variable() {
        let error = error(&models(&[]), "claude-sonnet-4-5", &Settings::default());
        assert_eq!(error.kind, Kind::NotConfigured);
        assert_eq!(error.detail, "no key for Anthropic: set `anthropic_key` in settings.json or `ANTHROPIC_API_KEY`");
    }

    #[test]
    fn the_environment_may_hold_the_key() {
        for (variable, model) in [
            ("OPENAI_API_KEY", "gpt-4o"),
            ("ANTHROPIC_API_KEY", "claude-x"),
            ("GOOGLE_API_KEY", "gemini-x"),
            ("XAI_API_KEY", "grok-4"),
            ("DEEPSEEK_API_KEY", "deepseek-chat"),
            ("AWS_BEARER_TOKEN_BEDROCK", "bedrock.m"),
        ] {
            assert!(models(&[(variable, "k")]).resolve(model, &Settings::default()).is_ok(), "{variable}");
        }
    }

    #[test]
    fn what_is_not_run_here_says_so() {
        for (model, told) in [
            ("hf.gpt2", "`locv1.`"),
            ("cli.claude", "`cli.`"),
            ("local", "`local`"),
            ("", "no model"),
            ("oaic.m", "`openai_compatible_base_url`"),
        ] {
            let error = error(&models(&[]), model, &Settings::default());
            assert_eq!(error.kind, Kind::NotConfigured, "{model}");
            assert!(error.detail.contains(told), "{model}: {error}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_an_address() {
        for model in ["gemini-x/../../other", "gemini-x?alt=json", "gpt 4", "gpt\n4", "openai::gpt-4", "gpt-4#x", "gpt%2f"] {
            assert!(error(&models(&[]), model, &all_keys()).detail.contains("no name of a model"), "{model}");
        }
    }

    #[test]
    fn the_local_provider_answers_where_there_is_one() {
        let echo: Arc<dyn Provider> = Arc::new(Scripted::new("echo", &Settings::default()).unwrap());
        let models = Models::new(&Config::read(|_| None).unwrap(), Some(echo));
        for (model, name) in [("local", ""), ("local.smollm2", "smollm2"), ("Local.SmolLM2", "SmolLM2")] {
            let found = models.resolve(model, &Settings::default()).unwrap();
            assert_eq!((found.family, found.name.as_str()), ("local", name));
        }
    }

    #[tokio::test]
    async fn the_local_model_is_told_of_tools_in_words() {
        let mut settings = Settings::default();
        settings.set("scripted", json!({"it": {"text": "{system}"}}));
        let says_its_system: Arc<dyn Provider> = Arc::new(Scripted::new("it", &settings).unwrap());
        let local = Models::new(&Config::read(|_| None).unwrap(), Some(says_its_system)).resolve("local", &Settings::default()).unwrap();
        let tool = ToolDescription { name: "look".to_owned(), description: String::new(), schema: json!({}) };
        let request = ModelRequest {
            model: local.name,
            system: String::new(),
            messages: vec![Message::text(Role::User, "hi")],
            tools: vec![tool.into()].into(),
            deadline: Instant::now() + Duration::from_mins(1),
        };
        let chunks: Vec<Chunk> = local.provider.stream(request).map(Result::unwrap).collect().await;
        let said = |chunk: &Chunk| if let Chunk::Text(text) = chunk { text.clone() } else { String::new() };
        let text: String = chunks.iter().map(said).collect();
        assert!(text.starts_with("You can call tools.") && text.contains("- `look`"), "{chunks:?}");
    }

    #[test]
    fn a_model_tells_whether_it_sees() {
        let mut settings = all_keys();
        settings.set("scripted", json!({"blind": {"sees": false}}));
        settings.set("model_abilities", json!({"ollama.mistral": {"images": true}}));
        for (model, sees) in [
            ("gpt-4o", true),
            ("gpt-3.5-turbo", false),
            ("mistral", false),
            ("ollama.mistral", true),
            ("scripted.echo", true),
            ("scripted.blind", false),
        ] {
            assert_eq!(models(&[]).resolve(model, &settings).unwrap().sees, sees, "{model}");
        }
    }

    #[test]
    fn a_script_is_read_from_the_settings() {
        let mut settings = Settings::default();
        settings.set("scripted", json!({"greeting": {"text": "Hello."}}));
        assert_eq!(models(&[]).resolve("scripted.greeting", &settings).unwrap().name, "greeting");
        assert_eq!(error(&models(&[]), "scripted.nothing", &settings).kind, Kind::NotConfigured);
    }
}
