//! The services that models are reached through: their addresses, keys and protocols.

use genai::adapter::AdapterKind;
use reqwest::Url;

use crate::definition::Settings;
use crate::provider::{Kind, ModelError};

/// A service that answers for models of one family.
#[derive(Debug)]
pub(in crate::provider) struct Service {
    /// The family, as logs and metrics name it.
    pub(in crate::provider) family: &'static str,
    /// The name that people know.
    pub(in crate::provider) title: &'static str,
    /// The setting with the key.
    pub(in crate::provider) key_setting: &'static str,
    /// The environment variable with the key, where one is needed.
    pub(in crate::provider) key_variable: Option<&'static str>,
    /// The protocol, in genai's words.
    adapter: AdapterKind,
    /// The setting with the address.
    base_setting: &'static str,
    /// The address where the setting has none.
    base: Option<&'static str>,
    /// What the address must end in; added to one that names only a host.
    path: &'static str,
}

/// The services of the OpenAI protocol end their addresses so.
const OPENAI_PATH: &str = "/v1/";

pub(in crate::provider) static OPENAI: Service = Service {
    family: "openai",
    title: "OpenAI",
    key_setting: "openai_key",
    key_variable: Some("OPENAI_API_KEY"),
    adapter: AdapterKind::OpenAI,
    base_setting: "openai_base_url",
    base: Some("https://api.openai.com/v1/"),
    path: OPENAI_PATH,
};

pub(in crate::provider) static ANTHROPIC: Service = Service {
    family: "anthropic",
    title: "Anthropic",
    key_setting: "anthropic_key",
    key_variable: Some("ANTHROPIC_API_KEY"),
    adapter: AdapterKind::Anthropic,
    base_setting: "anthropic_base_url",
    base: Some("https://api.anthropic.com/v1/"),
    path: "/v1/",
};

pub(in crate::provider) static GOOGLE: Service = Service {
    family: "google",
    title: "Google",
    key_setting: "gemini_key",
    key_variable: Some("GEMINI_API_KEY"),
    adapter: AdapterKind::Gemini,
    base_setting: "gemini_base_url",
    base: Some("https://generativelanguage.googleapis.com/v1beta/"),
    path: "/v1beta/",
};

pub(in crate::provider) static XAI: Service = Service {
    family: "xai",
    title: "xAI",
    key_setting: "grok_key",
    key_variable: Some("XAI_API_KEY"),
    adapter: AdapterKind::Xai,
    base_setting: "grok_base_url",
    base: Some("https://api.x.ai/v1/"),
    path: OPENAI_PATH,
};

pub(in crate::provider) static DEEPSEEK: Service = Service {
    family: "deepseek",
    title: "DeepSeek",
    key_setting: "deepseek_key",
    key_variable: Some("DEEPSEEK_API_KEY"),
    adapter: AdapterKind::DeepSeek,
    base_setting: "deepseek_base_url",
    base: Some("https://api.deepseek.com/v1/"),
    path: OPENAI_PATH,
};

pub(in crate::provider) static BEDROCK: Service = Service {
    family: "bedrock",
    title: "Bedrock",
    key_setting: "bedrock_api_key",
    key_variable: Some("AWS_BEARER_TOKEN_BEDROCK"),
    adapter: AdapterKind::BedrockApi,
    base_setting: "bedrock_base_url",
    base: None,
    path: "/",
};

pub(in crate::provider) static OPENAI_COMPATIBLE: Service = Service {
    family: "openai_compatible",
    title: "the OpenAI-compatible endpoint",
    key_setting: "openai_compatible_key",
    key_variable: None,
    adapter: AdapterKind::OpenAI,
    base_setting: "openai_compatible_base_url",
    base: None,
    path: OPENAI_PATH,
};

pub(in crate::provider) static LOCAL_COMPATIBLE: Service = Service {
    family: "local_compatible",
    title: "the local OpenAI-compatible endpoint",
    key_setting: "local_compatible_key",
    key_variable: None,
    adapter: AdapterKind::OpenAI,
    base_setting: "local_compatible_base_url",
    base: None,
    path: OPENAI_PATH,
};

pub(in crate::provider) static OLLAMA: Service = Service {
    family: "ollama",
    title: "Ollama",
    key_setting: "ollama_key",
    key_variable: None,
    adapter: AdapterKind::Ollama,
    base_setting: "ollama_base_url",
    base: Some("http://127.0.0.1:11434/"),
    path: "/",
};

/// What people copy behind an address, though it is the client's to add.
const CALLS: [&str; 5] = ["/chat/completions", "/responses", "/messages", "/api/chat", "/api"];

impl Service {
    /// Returns the address of the service, ending as genai wants it.
    pub(in crate::provider) fn base(&self, settings: &Settings) -> Result<Url, ModelError> {
        let region = settings.text("aws_region").unwrap_or("us-east-1");
        let bedrock = (self.adapter == AdapterKind::BedrockApi).then(|| format!("https://bedrock-runtime.{region}.amazonaws.com/"));
        let Some(base) = settings.text(self.base_setting).or(self.base).or(bedrock.as_deref()) else {
            let detail = format!("no address for {}: set `{}` in settings.json", self.title, self.base_setting);
            return Err(ModelError::new(Kind::NotConfigured, detail));
        };
        self.tidy(base).ok_or_else(|| {
            let detail = format!("`{}` in settings.json is no address such as `http://127.0.0.1:8080/v1`", self.base_setting);
            ModelError::new(Kind::NotConfigured, detail)
        })
    }

    /// Brings an address as people write it into the form that genai wants.
    fn tidy(&self, base: &str) -> Option<Url> {
        let with_scheme = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let mut url = Url::parse(&with_scheme).ok()?;
        if base.starts_with('/') || !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let url_path = url.path().to_owned();
        let mut path = url_path.trim_end_matches('/');
        path = CALLS.iter().find_map(|call| path.strip_suffix(call)).unwrap_or(path);
        if self.adapter == AdapterKind::Ollama {
            path = path.strip_suffix("/v1").unwrap_or(path);
        }
        let path = if path.is_empty() { self.path.to_owned() } else { format!("{path}/") };
        url.set_path(&path);
        Some(url)
    }

    /// Returns the protocol for a model. OpenAI answers for some of its models in its newer protocol only.
    pub(super) fn adapter(&self, model: &str, with_key: bool) -> AdapterKind {
        let only_newer = ["codex", "-pro", "deep-research"].iter().any(|part| model.contains(part));
        match self.family {
            "openai" if only_newer => AdapterKind::OpenAIResp,
            // The same protocol; genai's other name for it sends no key.
            _ if self.adapter == AdapterKind::OpenAI && !with_key => AdapterKind::Omlx,
            _ => self.adapter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(service: &Service, address: &str) -> String {
        let mut settings = Settings::default();
        settings.set(service.base_setting, address.into());
        service.base(&settings).unwrap().to_string()
    }

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for address in ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/", "http://h:1/v1/chat/completions", "h:1", "h:1/v1"] {
            assert_eq!(base(&LOCAL_COMPATIBLE, address), "http://h:1/v1/", "{address}");
        }
        assert_eq!(base(&OPENAI_COMPATIBLE, "https://h/api/v3"), "https://h/api/v3/");
        assert_eq!(base(&OPENAI_COMPATIBLE, "https://h/v1?api-version=2"), "https://h/v1/?api-version=2");
        assert_eq!(base(&GOOGLE, "https://h"), "https://h/v1beta/");
        assert_eq!(base(&ANTHROPIC, "https://h/v1/messages"), "https://h/v1/");
        for address in ["http://127.0.0.1:11434", "http://127.0.0.1:11434/v1/", "127.0.0.1:11434/api/", "http://127.0.0.1:11434/api/chat"] {
            assert_eq!(base(&OLLAMA, address), "http://127.0.0.1:11434/", "{address}");
        }
    }

    #[test]
    fn every_service_but_the_compatible_ones_has_an_address() {
        let none = Settings::default();
        for service in [&OPENAI, &ANTHROPIC, &GOOGLE, &XAI, &DEEPSEEK, &BEDROCK, &OLLAMA] {
            assert!(service.base(&none).unwrap().as_str().ends_with(service.path), "{}", service.title);
        }
        for service in [&OPENAI_COMPATIBLE, &LOCAL_COMPATIBLE] {
            assert!(service.base(&none).unwrap_err().detail.contains(service.base_setting));
        }
        let mut settings = Settings::default();
        settings.set("aws_region", "eu-west-1".into());
        assert_eq!(BEDROCK.base(&settings).unwrap().as_str(), "https://bedrock-runtime.eu-west-1.amazonaws.com/");
    }

    #[test]
    fn a_wrong_address_is_named_by_its_setting() {
        for address in ["ftp://h/v1", "http://", "not an address", "/v1"] {
            let mut settings = Settings::default();
            settings.set("openai_base_url", address.into());
            let error = OPENAI.base(&settings).unwrap_err();
            assert_eq!(error.kind, Kind::NotConfigured);
            assert!(error.detail.contains("`openai_base_url`"), "{address}: {error}");
        }
    }
}
