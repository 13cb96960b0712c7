//! What is wrong with a file that a user writes.

use std::fmt;

/// One thing that is wrong, with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name inside the data directory.
    pub file: String,
    /// The id of the record, or its place where it has none.
    pub id: Option<String>,
    /// The field inside the record.
    pub field: Option<String>,
    /// What is wrong and the way out.
    pub text: String,
    /// Whether the file as a whole cannot be used.
    pub fatal: bool,
}

impl Problem {
    /// Makes a problem of a file as a whole, which then cannot be used.
    pub fn fatal(file: &str, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), id: None, field: None, text: text.into(), fatal: true }
    }

    /// Makes a problem of one record, which is read as far as possible.
    pub fn of_record(file: &str, id: &str, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), id: Some(id.to_owned()), field: None, text: text.into(), fatal: false }
    }

    /// Names the field that is wrong.
    #[must_use]
    pub fn in_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`", self.file)?;
        for place in [&self.id, &self.field].into_iter().flatten() {
            write!(formatter, ", `{place}`")?;
        }
        write!(formatter, ": {}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_file_id_and_field() {
        let problem = Problem::of_record("user_agents.json", "a1", "is a number; write a text").in_field("name");
        assert_eq!(problem.to_string(), "`user_agents.json`, `a1`, `name`: is a number; write a text");
    }

    #[test]
    fn a_problem_of_the_whole_file_names_the_file_only() {
        assert_eq!(Problem::fatal("settings.json", "is no JSON object").to_string(), "`settings.json`: is no JSON object");
    }
}
