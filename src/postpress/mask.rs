//! The API key, kept out of what is shown: a provider, or a proxy before it, may echo the request in its error.

use std::fmt;

use super::body::unescape;

/// Stands where the key stood.
const INSTEAD: &str = "[secret]";
/// A shorter key is not looked for: it is a placeholder (`x`, for the simulator) that would garble every other word.
const MIN_BYTES: usize = 8;

/// The text that is to be seen nowhere, for as long as an answer is read.
#[derive(Clone, Copy)]
pub struct Mask<'a>(&'a str);

impl<'a> Mask<'a> {
    /// There is no key to hide.
    pub const NONE: Mask<'static> = Mask("");

    /// Hides this key.
    pub fn new(key: &'a str) -> Self {
        Self(key)
    }

    /// A text that is quoted as it came: where only JSON's escapes keep the key from being found, they are resolved first.
    pub fn hide_in_raw(self, text: &str) -> String {
        let hidden = self.hide_in(text.to_owned());
        let unescaped = unescape(&hidden);
        if self.is_in(&unescaped) { self.hide_in(unescaped.into_owned()) } else { hidden }
    }

    /// The text without the key. To be asked before the text is cut, or a part of the key could be left at its end.
    pub fn hide_in(self, text: String) -> String {
        if self.is_in(&text) { text.replace(self.0, INSTEAD) } else { text }
    }

    fn is_in(self, text: &str) -> bool {
        self.0.len() >= MIN_BYTES && text.contains(self.0)
    }
}

impl fmt::Debug for Mask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hidden_wherever_it_stands_and_a_placeholder_is_not() {
        for (key, text, shown) in [
            ("pp_live_1", "key pp_live_1, again pp_live_1!", "key [secret], again [secret]!"),
            ("pp_live_1", "pp_live_2", "pp_live_2"),
            ("x", "next", "next"),
            ("", "nothing", "nothing"),
        ] {
            assert_eq!(Mask::new(key).hide_in(text.to_owned()), shown);
        }
        assert_eq!(format!("{:?}", Mask::new("pp_live_1")), "Mask(..)");
    }
}
