//! What models can do: tables of names, and above them what the setting `model_abilities` says.

use crate::definition::Settings;

/// What a model can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// It takes images.
    pub(super) images: bool,
    /// It calls tools natively; otherwise it is told of them in words.
    pub(super) tools: bool,
    /// It answers in pieces; otherwise it is asked for its answer in one.
    pub(super) streaming: bool,
}

/// Beginnings of the names of models that do not see, wherever they are served.
const BLIND: [&str; 28] = [
    "gpt-3.5",
    "gpt-4-0",
    "gpt-4-1106-preview",
    "gpt-4-32k",
    "gpt-4-turbo-preview",
    "gpt-oss",
    "o1-mini",
    "o1-preview",
    "o3-mini",
    "claude-2",
    "claude-instant",
    "gemini-1.0",
    "gemma-2",
    "gemma-3-1b",
    "gemma-3-270m",
    "grok-beta",
    "grok-2",
    "grok-3",
    "grok-code",
    "deepseek",
    "amazon.titan-text",
    "amazon.nova-micro",
    "cohere.command",
    "ai21.",
    "meta.llama2",
    "meta.llama3-",
    "mistral.mistral-7b",
    "mistral.mixtral",
];

/// Names of models that do not see, whole: their longer forms do.
const BLIND_NAMES: [&str; 2] = ["gpt-4", "grok"];

/// Parts of the names of models that do see, though a table says that their family does not.
const SEEING_PARTS: [&str; 6] = ["vision", "llava", "-vl", "vl:", "-ocr", "gpt-4-turbo-2024"];

/// Beginnings of the names of Ollama's models that see; all others do not.
const SEEING_FAMILIES: [&str; 17] = [
    "aya-vision",
    "bakllava",
    "gemma3",
    "gemma4",
    "granite3.2-vision",
    "llama3.2-vision",
    "llama4",
    "llava",
    "minicpm-v",
    "minicpm-o",
    "mistral-small3.1",
    "mistral-small3.2",
    "moondream",
    "qwen2.5vl",
    "qwen2-vl",
    "qwen3-vl",
    "qwen3.5",
];

/// Names of Ollama's models that do not see, though their family does.
const BLIND_OF_FAMILIES: [&str; 3] = ["gemma3:1b", "gemma3:270m", "gemma3n"];

/// Tells what a model can do.
///
/// `written` is the name as agents and settings have it, `name` the model's own.
pub(super) fn abilities(written: &str, family: &str, name: &str, settings: &Settings) -> Abilities {
    let told = settings.get("model_abilities").and_then(|models| models.get(written));
    let told = |ability: &str| told?.get(ability)?.as_bool();
    Abilities {
        images: told("images").unwrap_or_else(|| sees(family, name)),
        tools: told("tools").unwrap_or(true),
        streaming: told("streaming").unwrap_or(true),
    }
}

fn sees(family: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // The last part is the model, those before it whose it is.
    let name = name.rsplit('/').next().unwrap_or_default();
    // Bedrock puts the maker, and sometimes the region, before a point.
    let after_point = name.split_once('.').map_or(name, |(_, rest)| rest);
    let begins = |table: &[&str]| table.iter().any(|begin| name.starts_with(begin) || after_point.starts_with(begin));
    if SEEING_PARTS.iter().any(|part| name.contains(part)) {
        return true;
    }
    match family {
        "ollama" => begins(&SEEING_FAMILIES) && !begins(&BLIND_OF_FAMILIES),
        _ => !begins(&BLIND) && !BLIND_NAMES.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_tell_who_sees() {
        for (family, name, seen) in [
            ("openai", "gpt-4o", true),
            ("openai", "gpt-4-turbo", true),
            ("openai", "gpt-4.1-mini", true),
            ("openai", "o3", true),
            ("openai", "o4-mini", true),
            ("openai", "gpt-4", false),
            ("openai", "gpt-4-0613", false),
            ("openai", "GPT-3.5-turbo", false),
            ("openai", "o3-mini", false),
            ("anthropic", "claude-sonnet-4-5", true),
            ("google", "gemini-2.5-flash", true),
            ("google", "gemma-3-27b-it", true),
            ("google", "gemma-3-1b-it", false),
            ("xai", "grok-4", true),
            ("xai", "grok-2-vision-1212", true),
            ("xai", "grok-3-mini", false),
            ("deepseek", "deepseek-chat", false),
            ("bedrock", "amazon.nova-pro-v1:0", true),
            ("bedrock", "amazon.nova-micro-v1:0", false),
            ("bedrock", "us.amazon.nova-micro-v1:0", false),
            ("bedrock", "openai.gpt-oss-120b-1:0", false),
            ("bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", true),
            ("openai_compatible", "qwen3-max", true),
            ("openai_compatible", "deepseek/deepseek-chat", false),
            ("local_compatible", "Qwen/Qwen3", true),
            ("ollama", "llava:7b", true),
            ("ollama", "someone/llava-phi3", true),
            ("ollama", "llama3.2-vision:11b", true),
            ("ollama", "gemma3:4b", true),
            ("ollama", "gemma3:1b", false),
            ("ollama", "qwen2.5vl:7b", true),
            ("ollama", "hf.co/org/Qwen2.5-VL-7B-GGUF:Q4_K_M", true),
            ("ollama", "mistral-small3.1", true),
            ("ollama", "mistral-small", false),
            ("ollama", "llama3.2", false),
            ("ollama", "qwen3:8b", false),
        ] {
            assert_eq!(sees(family, name), seen, "{family} {name}");
        }
    }

    #[test]
    fn the_setting_stands_above_the_names() {
        let mut settings = Settings::default();
        settings.set("model_abilities", json!({"ollama.mistral": {"images": true, "tools": false}, "gpt-4o": {"images": false}, "o3": 7}));
        let told = |written: &str, family: &str, name: &str| {
            let Abilities { images, tools, .. } = abilities(written, family, name, &settings);
            (images, tools)
        };
        assert_eq!(told("ollama.mistral", "ollama", "mistral"), (true, false));
        assert_eq!(told("mistral", "ollama", "mistral"), (false, true));
        assert_eq!(told("gpt-4o", "openai", "gpt-4o"), (false, true));
        assert_eq!(told("o3", "openai", "o3"), (true, true));
    }
}
