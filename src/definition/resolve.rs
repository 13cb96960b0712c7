//! Which agent a caller means.

use std::sync::Arc;

use super::Agent;

/// Finds the agent that `asked` names, in this order: nothing asked means the first agent; an id, exactly; a name,
/// whatever its case; a part of a name; and, unless `strict`, the first agent.
pub fn resolve_agent<'a>(agents: &'a [Arc<Agent>], asked: &str, strict: bool) -> Option<&'a Arc<Agent>> {
    let first = agents.first();
    if asked.is_empty() {
        return first;
    }
    let wanted = asked.to_lowercase();
    (agents.iter().find(|agent| agent.id == asked))
        .or_else(|| agents.iter().find(|agent| agent.name.to_lowercase() == wanted))
        .or_else(|| agents.iter().find(|agent| agent.name.to_lowercase().contains(&wanted)))
        .or(if strict { None } else { first })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn three() -> Vec<Arc<Agent>> {
        let text = r#"[{"id": "a1", "name": "Alpha Writer"}, {"id": "a2", "name": "beta"}, {"id": "A1", "name": "Alpha"}]"#;
        crate::definition::agents(text).unwrap().0
    }

    #[rstest]
    #[case::nothing("", "a1")]
    #[case::a_whole_name_beats_a_part("alpha", "A1")]
    #[case::ids_are_case_sensitive("A1", "A1")]
    #[case::an_id("a1", "a1")]
    #[case::names_are_not(" Beta".trim(), "a2")]
    #[case::a_part_of_a_name("wri", "a1")]
    #[case::a_blank_is_part_of_a_name(" ", "a1")]
    #[case::an_id_beats_a_name("a2", "a2")]
    fn an_agent_is_found(#[case] asked: &str, #[case] id: &str) {
        for strict in [false, true] {
            assert_eq!(resolve_agent(&three(), asked, strict).unwrap().id, id);
        }
    }

    #[rstest]
    #[case::not_trimmed(" alpha ")]
    #[case::not_trimmed_at_the_end("beta ")]
    #[case::a_tab("\t")]
    #[case::unknown("zzz")]
    #[case::a_part_of_an_id("2")]
    fn an_unknown_agent_is_the_first_unless_strict(#[case] asked: &str) {
        assert_eq!(resolve_agent(&three(), asked, false).unwrap().id, "a1");
        assert_eq!(resolve_agent(&three(), asked, true), None);
    }

    #[test]
    fn an_agent_without_a_name_is_found_by_its_id() {
        let agents = crate::definition::agents(r#"[{"id": "Nameless", "name": null}]"#).unwrap().0;
        assert_eq!(resolve_agent(&agents, "nameless", true).unwrap().id, "Nameless");
    }

    #[test]
    fn there_is_nobody_among_no_agents() {
        assert_eq!(resolve_agent(&[], "", false), None);
        assert_eq!(resolve_agent(&[], "a1", false), None);
    }
}
