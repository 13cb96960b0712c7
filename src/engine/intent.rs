//! What kind of answer a chat gives, in the words that existing clients know.

use serde_json::Value;

use super::act::Made;
use crate::tool::Origin;

/// An answer in text.
pub(super) const CHAT: &str = "chat";

/// A tool wants its user to log in.
pub(super) const LOGIN: &str = "request_auth";

/// A tool that a user wrote was the last to return something.
const CUSTOM: &str = "custom_tool";

/// Beginnings of the names that become the intent themselves.
const NAMES: [&str; 4] = ["list_", "read_", "create_", "collect_data"];

/// Returns the intent after these calls; nothing where they do not change it.
pub(super) fn after(made: &[Made]) -> Option<String> {
    let last = made.iter().rev().find(|made| made.origin.is_some())?;
    match last.origin? {
        Origin::Custom => Some(CUSTOM.to_owned()),
        Origin::BuiltIn | Origin::Mcp => {
            let name = last.result.name.rsplit("__").next()?;
            let json = || serde_json::from_str::<Value>(&last.result.text).is_ok();
            Some(if NAMES.iter().any(|begin| name.starts_with(begin)) && json() { name } else { CHAT }.to_owned())
        }
        Origin::Agent => Some(CHAT.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ToolResult;

    fn made(name: &str, text: &str, origin: Option<Origin>) -> Made {
        let result = ToolResult { call_id: "1".to_owned(), name: name.to_owned(), text: text.to_owned() };
        Made { result, images: Vec::new(), origin }
    }

    #[test]
    fn the_last_tool_that_returned_something_decides() {
        let listed = || made("files__list_all", "[1]", Some(Origin::Mcp));
        assert_eq!(after(&[listed()]).as_deref(), Some("list_all"));
        assert_eq!(after(&[made("files__list_all", "no json", Some(Origin::Mcp))]).as_deref(), Some(CHAT));
        assert_eq!(after(&[listed(), made("tide", "x", Some(Origin::Custom))]).as_deref(), Some(CUSTOM));
        assert_eq!(after(&[listed(), made("tide", "Error: x", None)]).as_deref(), Some("list_all"));
        assert_eq!(after(&[made("tide", "Error: x", None)]), None);
    }
}
