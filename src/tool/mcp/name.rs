//! The names of remote tools: `<server>__<tool>`, in the letters that every model provider takes.

use std::collections::HashSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Wanted;
use crate::clock;
use crate::definition::McpServer;

/// The longest name that providers take, in characters.
const LONGEST: usize = 64;

/// The longest part of a name that stands for the server, in characters.
const LONGEST_SERVER: usize = 32;

/// What stands between the names of the server and of the tool.
const BETWEEN: &str = "__";

/// How the tools of one server are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tool) struct Names {
    server: String,
    shown: String,
}

impl Names {
    /// Returns the names of each server, no two alike whichever servers answer.
    pub(in crate::tool) fn of(records: &[Arc<McpServer>]) -> Vec<Self> {
        let mut taken = HashSet::new();
        let names = records.iter().map(|record| {
            let shown = unlike(&record.name, &fitting(&record.name, LONGEST_SERVER), LONGEST_SERVER, &mut taken);
            Self { server: record.name.clone(), shown }
        });
        names.collect()
    }

    /// Tells whether somebody may want a tool of the server.
    pub(super) fn may_have(&self, wanted: Wanted<'_>) -> bool {
        wanted.any(|name| self.fits(name))
    }

    /// Tells whether a name is that of a tool of the server, if it has such a one.
    pub(in crate::tool) fn fits(&self, name: &str) -> bool {
        [&self.shown, &self.server].iter().any(|server| name.strip_prefix(server.as_str()).is_some_and(|rest| rest.starts_with(BETWEEN)))
    }

    /// Returns the name under which models see a tool, unlike those that are taken.
    pub(super) fn shown(&self, tool: &str, taken: &mut HashSet<String>) -> String {
        let whole = self.raw(tool);
        unlike(&whole, &fitting(&format!("{}{BETWEEN}{}", self.shown, clean(tool)), LONGEST), LONGEST, taken)
    }

    /// Returns the name of a tool as users may have written it down, whatever its letters.
    pub(super) fn raw(&self, tool: &str) -> String {
        format!("{}{BETWEEN}{tool}", self.server)
    }
}

/// Puts `_` for everything that is no letter, digit, `_` or `-`.
fn clean(name: &str) -> String {
    name.chars().map(|character| if character.is_ascii_alphanumeric() || "_-".contains(character) { character } else { '_' }).collect()
}

/// Cleans a name, and shortens one that is too long so that it differs from others with the same beginning.
fn fitting(name: &str, longest: usize) -> String {
    let clean = clean(name);
    if clean.is_empty() || clean.len() > longest { marked(name, &clean, longest) } else { clean }
}

/// Marks a name that somebody else has already.
fn unlike(whole: &str, name: &str, longest: usize, taken: &mut HashSet<String>) -> String {
    let name = if taken.contains(name) { marked(whole, name, longest) } else { name.to_owned() };
    taken.insert(name.clone());
    name
}

/// Ends a name with a mark of what it stands for.
fn marked(whole: &str, name: &str, longest: usize) -> String {
    let mark = clock::hex(&Sha256::digest(whole)[..4]);
    let room = longest - mark.len() - 1;
    format!("{}_{mark}", &name[..name.len().min(room)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::definition::Reach;

    fn names(servers: &[&str]) -> Vec<Names> {
        let reach = Reach::Remote { url: "http://h".to_owned(), token: None };
        let records = servers.iter().map(|name| Arc::new(McpServer { name: (*name).to_owned(), reach: reach.clone() }));
        Names::of(&records.collect::<Vec<_>>())
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        assert_eq!(names(&["files"])[0].shown("read_file", &mut HashSet::new()), "files__read_file");
    }

    #[test]
    fn odd_names_are_cleaned_and_kept_apart() {
        let (servers, mut taken) = (names(&["my server", "my.server"]), HashSet::new());
        assert_eq!(servers[0].shown("do.it", &mut taken), "my_server__do_it");
        assert_eq!(servers[0].shown("do it", &mut taken), "my_server__do_it_2d0f9aad");
        assert!(servers[1].shown("do.it", &mut taken).starts_with("my_server_"));
        assert_eq!(servers[0].raw("do.it"), "my server__do.it");
    }

    #[test]
    fn tools_are_wanted_by_either_name() {
        let odd = &names(&["my server"])[0];
        for (wanted, is) in [("my server__x", true), ("my_server__x", true), ("all", true), ("my_serve__x", false), ("x", false)] {
            assert_eq!(odd.may_have(Wanted::named(&[wanted.to_owned()])), is, "{wanted}");
        }
    }

    proptest! {
        #[test]
        fn every_name_fits_and_none_comes_twice(servers in proptest::collection::hash_set(".{0,70}", 1..4), tools in proptest::collection::hash_set(".{0,90}", 1..8)) {
            let mut all = HashSet::new();
            for server in names(&servers.iter().map(String::as_str).collect::<Vec<_>>()) {
                let mut taken = HashSet::new();
                for tool in &tools {
                    let name = server.shown(tool, &mut taken);
                    prop_assert!((1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{name}");
                    all.insert(name);
                }
                prop_assert_eq!(taken.len(), tools.len());
            }
        }
    }
}
