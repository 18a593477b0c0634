//! Keeps the API key out of messages: the provider, or a proxy before it, may echo the request in an error.

use super::body::unescape;

/// Replaces the key.
const INSTEAD: &str = "[secret]";
/// A shorter key is not hidden: it is a placeholder (`x`, for the simulator) that would garble other words.
const MIN_BYTES: usize = 8;

/// The key to hide while an answer is read. It has no `Debug`, which would show the key.
#[derive(Clone, Copy)]
pub struct Mask<'a>(&'a str);

impl<'a> Mask<'a> {
    /// Hides nothing.
    pub const NONE: Mask<'static> = Mask("");

    /// Hides this key.
    pub fn new(key: &'a str) -> Self {
        Self(key)
    }

    /// A raw text without the key. If JSON's escapes conceal the key, they are resolved first.
    pub fn hide_in_raw(self, text: &str) -> String {
        let hidden = self.hide_in(text.to_owned());
        let unescaped = unescape(&hidden);
        if self.is_in(&unescaped) { self.hide_in(unescaped.into_owned()) } else { hidden }
    }

    /// The text without the key. Call it before cutting the text; otherwise a part of the key could remain at the end.
    pub fn hide_in(self, text: String) -> String {
        if self.is_in(&text) { text.replace(self.0, INSTEAD) } else { text }
    }

    fn is_in(self, text: &str) -> bool {
        self.0.len() >= MIN_BYTES && text.contains(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hidden_and_placeholders_are_not() {
        for (key, text, shown) in [
            ("pp_live_1", "key pp_live_1, again pp_live_1!", "key [secret], again [secret]!"),
            ("pp_live_1", "pp_live_2", "pp_live_2"),
            ("x", "next", "next"),
            ("", "nothing", "nothing"),
        ] {
            assert_eq!(Mask::new(key).hide_in(text.to_owned()), shown);
        }
    }
}
