//! What commands print: text for people, JSON for scripts, and an exit status that means something.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use serde_json::Value;

/// 0 when the command did its work and found everything in order, 1 when not.
pub fn status(result: anyhow::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(1)
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is where commands speak")]
pub fn text(text: &str) {
    println!("{text}");
}

pub fn json(value: &Value) {
    text(&serde_json::to_string_pretty(value).expect("a JSON value always serialises"));
}

/// An instant in a table, to the second.
pub fn time(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Lines up columns: each as wide as its widest cell, headings underlined.
pub fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headings.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rule = widths.map(|width| "-".repeat(width));
    let mut lines = vec![line(headings), line(std::array::from_fn(|index| rule[index].as_str()))];
    lines.extend(rows.iter().map(|row| line(std::array::from_fn(|index| row[index].as_str()))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let text = table(["module", "rows"], &[["auth".into(), "3".into()], ["transaction".into(), "12".into()]]);
        assert_eq!(text, "module       rows\n-----------  ----\nauth         3\ntransaction  12");
    }
}
