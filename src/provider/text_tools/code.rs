//! Where in a text there is code, as Markdown shows it.

/// The backticks that open and close a block of code.
pub(super) const FENCE: usize = 3;

/// Reads a text and tells whether its end is inside code.
#[derive(Debug, Default)]
pub(super) struct Code {
    fenced: bool,
    /// Backticks at the beginning of the line.
    leading: usize,
    /// All backticks of the line.
    ticks: usize,
    /// Whether the line has anything that is neither a blank nor one of its first backticks.
    begun: bool,
}

impl Code {
    /// Reads on.
    pub(super) fn read(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\n' => *self = Self { fenced: self.fenced != (self.leading >= FENCE), ..Self::default() },
                '`' => {
                    self.ticks += 1;
                    self.leading += usize::from(!self.begun);
                }
                ' ' | '\t' if self.ticks == 0 => {}
                _ => self.begun = true,
            }
        }
    }

    /// Returns whether what follows is code.
    pub(super) const fn is_open(&self) -> bool {
        self.fenced || self.leading >= FENCE || self.ticks % 2 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_between_its_marks() {
        for (text, open) in [
            ("", false),
            ("plain", false),
            ("see `", true),
            ("see `a` and ", false),
            ("```", true),
            ("```json\n{}\n", true),
            ("text\n  ```\ncode `x\n", true),
            ("```\ncode\n```\n", false),
            ("a ``` b\n", false),
        ] {
            let mut code = Code::default();
            code.read(text);
            assert_eq!(code.is_open(), open, "{text:?}");
        }
    }
}
