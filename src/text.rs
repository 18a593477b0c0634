//! Foreign text, cut to a bound.

/// The text cut to at most `max_bytes` on a character boundary, and whether anything was cut.
pub fn bounded(mut text: String, max_bytes: usize) -> (String, bool) {
    let cut = text.len() > max_bytes;
    if cut {
        text.truncate(text.floor_char_boundary(max_bytes));
    }
    (text, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_on_a_character_boundary() {
        assert_eq!(bounded("héllo".to_owned(), 2), ("h".to_owned(), true));
        assert_eq!(bounded("héllo".to_owned(), 3), ("hé".to_owned(), true));
        assert_eq!(bounded("héllo".to_owned(), 6), ("héllo".to_owned(), false));
    }
}
