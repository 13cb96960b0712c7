//! Enums of the schema as JSON tells them: words in lower case, and null for the first value, which stands for unset.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An enum and its words.
pub trait Words {
    /// The words with their numbers on the wire, without the first value.
    const WORDS: &'static [(&'static str, i32)];
}

/// Says which words there are.
pub(super) fn choice<T: Words>() -> String {
    let words: Vec<String> = T::WORDS.iter().map(|(word, _)| format!("`{word}`")).collect();
    format!("must be one of {}", words.join(", "))
}

fn word<T: Words>(number: i32) -> Option<&'static str> {
    T::WORDS.iter().find(|(_, candidate)| *candidate == number).map(|(word, _)| *word)
}

fn number<T: Words, E: Error>(word: &str) -> Result<i32, E> {
    let found = T::WORDS.iter().find(|(candidate, _)| *candidate == word);
    found.map(|(_, number)| *number).ok_or_else(|| E::custom(format!("{}, not `{word}`", choice::<T>())))
}

/// Tells whether no word is chosen.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(super) fn unset(number: &i32) -> bool {
    *number == 0
}

/// Writes a word, or null.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(super) fn serialize_word<T: Words, S: Serializer>(number: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    word::<T>(*number).serialize(serializer)
}

/// Reads a word, or null.
pub(super) fn deserialize_word<'de, T: Words, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    Option::<String>::deserialize(deserializer)?.map_or(Ok(0), |word| number::<T, _>(&word))
}

/// Writes a list of words.
pub(super) fn serialize_words<T: Words, S: Serializer>(numbers: &[i32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(numbers.iter().map(|number| word::<T>(*number)))
}

/// Reads a list of words.
pub(super) fn deserialize_words<'de, T: Words, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i32>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.iter().map(|word| number::<T, _>(word)).collect()
}

/// The words of every enum.
#[allow(unused_imports, clippy::pedantic, clippy::allow_attributes, reason = "generated")]
mod generated {
    use super::Words;

    include!(concat!(env!("OUT_DIR"), "/words.rs"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Tide;

    impl Words for Tide {
        const WORDS: &'static [(&'static str, i32)] = &[("low", 1), ("high", 2)];
    }

    /// Fields as they are generated.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Coast {
        #[serde(default, serialize_with = "serialize_word::<Tide, _>", deserialize_with = "deserialize_word::<Tide, _>")]
        tide: i32,
        #[serde(
            default,
            serialize_with = "serialize_word::<Tide, _>",
            deserialize_with = "deserialize_word::<Tide, _>",
            skip_serializing_if = "unset"
        )]
        next: i32,
        #[serde(default, serialize_with = "serialize_words::<Tide, _>", deserialize_with = "deserialize_words::<Tide, _>")]
        all: Vec<i32>,
    }

    #[test]
    fn an_enum_is_a_word_and_unset_is_null_or_left_out() {
        let cases = [
            (Coast { tide: 2, next: 1, all: vec![1, 2] }, json!({"tide": "high", "next": "low", "all": ["low", "high"]})),
            (Coast { tide: 0, next: 0, all: vec![] }, json!({"tide": null, "all": []})),
        ];
        for (coast, told) in cases {
            assert_eq!(serde_json::to_value(&coast).unwrap(), told);
            assert_eq!(serde_json::from_value::<Coast>(told).unwrap(), coast);
        }
    }

    #[test]
    fn an_unknown_word_is_refused_with_those_there_are() {
        for wrong in [json!({"tide": "HIGH"}), json!({"all": ["low", "HIGH"]})] {
            let error = serde_json::from_value::<Coast>(wrong).unwrap_err().to_string();
            assert_eq!(error, "must be one of `low`, `high`, not `HIGH`");
        }
    }
}
