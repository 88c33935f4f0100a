//! How what one program leaves to the next bears change: every engine's handover is read with these.
//!
//! A release that adds a field must inherit from one that had none, and one that no longer knows a cause or a kind of
//! tracker must not lose the addresses over it. So nothing but an entry's name and state is needed, what is missing or
//! cannot be read has its default, and each entry of a list is read by itself.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// The format that this release writes. It grows when a reader has to know which of two meanings a field has.
pub const VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(untagged)]
enum Tolerant<T> {
    Read(T),
    Unread(IgnoredAny),
}

/// Reads a field; what cannot be read is its default. To be used with `#[serde(default, deserialize_with = "…")]`.
///
/// # Errors
/// Only when the text itself is broken.
pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(match Tolerant::deserialize(from)? {
        Tolerant::Read(value) => value,
        Tolerant::Unread(IgnoredAny) => T::default(),
    })
}

/// Reads a list, each entry by itself; what cannot be read is left out. Something that is no list is an empty one.
///
/// # Errors
/// Only when the text itself is broken.
pub fn each<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let list: Tolerant<Vec<Tolerant<T>>> = Tolerant::deserialize(from)?;
    let Tolerant::Read(list) = list else { return Ok(Vec::new()) };
    Ok(list
        .into_iter()
        .filter_map(|entry| match entry {
            Tolerant::Read(value) => Some(value),
            Tolerant::Unread(IgnoredAny) => None,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    struct Entry {
        name: String,
        #[serde(default, deserialize_with = "or_default")]
        since: Option<u64>,
    }

    #[derive(Deserialize, Debug)]
    struct Whole {
        #[serde(default, deserialize_with = "each")]
        entries: Vec<Entry>,
    }

    fn names(text: &str) -> Vec<(String, Option<u64>)> {
        let whole: Whole = serde_json::from_str(text).unwrap();
        whole.entries.into_iter().map(|entry| (entry.name, entry.since)).collect()
    }

    #[test]
    fn each_entry_is_read_by_itself() {
        let text = r#"{"entries":[{"name":"a","since":7,"later":[1]},{"since":8},7,{"name":"b","since":{"x":1}}]}"#;
        assert_eq!(names(text), [("a".to_owned(), Some(7)), ("b".to_owned(), None)]);
        assert!(names("{}").is_empty());
        assert!(names(r#"{"entries":"none"}"#).is_empty());
    }

    #[test]
    fn broken_text_is_an_error() {
        assert!(serde_json::from_str::<Whole>(r#"{"entries":[{"name":"a"}"#).is_err());
    }
}
