//! What a question returned: columns and rows, within bounds.

use serde_json::{Value, json};

/// How many characters of a cell are shown.
pub(super) const CELL_CHARS: usize = 2_000;

/// The most bytes of rows that are returned.
const BYTES: usize = 1 << 20;

/// Columns and rows.
pub(super) struct Table {
    /// The names of the columns.
    pub(super) columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    most_rows: usize,
    room: usize,
    truncated: bool,
}

impl Table {
    /// Makes an empty table that takes so many rows and bytes.
    pub(super) fn new(most_rows: usize, bytes: usize) -> Self {
        Self { columns: Vec::new(), rows: Vec::new(), most_rows, room: bytes.min(BYTES), truncated: false }
    }

    /// Returns the most rows that it takes.
    pub(super) fn most_rows(&self) -> usize {
        self.most_rows
    }

    /// Takes a row, or notes that there was no room for it and returns false.
    pub(super) fn push(&mut self, row: Vec<Value>) -> bool {
        let size = row.iter().map(|cell| cell.as_str().map_or(24, str::len) + 4).sum();
        if self.rows.len() == self.most_rows || self.room < size {
            self.truncated = true;
            return false;
        }
        self.room -= size;
        self.rows.push(row);
        true
    }

    /// Tells whether there are no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes the table as JSON.
    pub(super) fn into_text(self) -> String {
        json!({"columns": self.columns, "rows": self.rows, "truncated": self.truncated}).to_string()
    }
}

/// Makes a cell of a text; a long one is cut and says so.
pub(super) fn text_cell(text: &str) -> Value {
    match text.char_indices().nth(CELL_CHARS) {
        None => text.into(),
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()).into(),
    }
}

/// Makes a cell that stands for bytes.
pub(super) fn bytes_cell(length: usize) -> Value {
    format!("({length} bytes)").into()
}

/// Makes a cell of a number; what JSON has no number for is a text.
pub(super) fn number_cell(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
}
