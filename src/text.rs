//! Bounds foreign text to a length or to one line, and reads the causes of an error.

use std::error::Error;

/// The text, cut to at most `max_bytes` at a character boundary, and whether it was cut.
pub fn bounded(mut text: String, max_bytes: usize) -> (String, bool) {
    let cut = text.len() > max_bytes;
    if cut {
        text.truncate(text.floor_char_boundary(max_bytes));
    }
    (text, cut)
}

/// The text as one line: each run of white space and control characters becomes one space.
pub fn one_line(text: &str) -> String {
    let is_gap = |c: char| c.is_whitespace() || c.is_control();
    text.split(is_gap).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// An error and all its causes, the outermost first.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The innermost cause, which is the one that a person can act on: `Connection refused`.
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_become_one() {
        assert_eq!(one_line(" none:\r\n  a\tb\u{0} \n"), "none: a b");
    }

    #[test]
    fn texts_are_cut_at_a_character_boundary() {
        assert_eq!(bounded("héllo".to_owned(), 2), ("h".to_owned(), true));
        assert_eq!(bounded("héllo".to_owned(), 3), ("hé".to_owned(), true));
        assert_eq!(bounded("héllo".to_owned(), 6), ("héllo".to_owned(), false));
    }
}
