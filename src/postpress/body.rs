//! The body of an answer, as much of it as arrived: decoded to text and searched for its one JSON object.
//!
//! Proxies and gateways damage bodies in ways that browsers and curl tolerate: a missing last chunk, a wrong length, a
//! connection closed without notice, a byte-order mark or a PHP notice in front. Such a body must not cost an answer,
//! because polling again after an end restarts the whole sync.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::json::RawObject;

/// The most bytes of a body, before and after decompression. A documented answer has about 100 bytes and an error envelope a few
/// hundred; anything larger is something else, and must not fill the memory.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// The first two bytes of a gzip member (RFC 1952, section 2.3.1). No JSON and no readable text begins with them.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// How often a body may be compressed: by the provider, and again by a proxy.
const GZIP_LAYERS_MAX: usize = 2;

/// Why a body did not arrive as announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It is longer than this many bytes, the most that are read.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// The connection broke before the announced end, the chunks are malformed, or decompression failed.
    #[error("the body is incomplete")]
    Cut,
    /// It was still open at the deadline.
    #[error("the body did not end before the deadline")]
    TimedOut,
}

/// A body, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    text: String,
    fault: Option<BodyFault>,
}

impl Body {
    /// A body that arrived as announced.
    pub fn whole(bytes: impl Into<Vec<u8>>) -> Self {
        Self::arrived(bytes.into(), None)
    }

    /// The bytes that arrived, and why the rest did not.
    pub fn arrived(bytes: Vec<u8>, fault: Option<BodyFault>) -> Self {
        Self::arrived_within(BODY_MAX_BYTES, bytes, fault)
    }

    /// The same for a body of at most `max` bytes, decompressed.
    pub(super) fn arrived_within(max: usize, bytes: Vec<u8>, fault: Option<BodyFault>) -> Self {
        let (bytes, fault) = decompress(max, bytes, fault);
        Self { text: decode(&bytes).into_owned(), fault }
    }

    /// What arrived.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Why the rest did not arrive.
    pub fn fault(&self) -> Option<BodyFault> {
        self.fault
    }

    /// Its one JSON object, with or without text around it.
    ///
    /// # Errors
    /// Says what the body is instead.
    pub fn object(&self) -> Result<Object<'_>, NoObject> {
        only_object(&self.text)
    }
}

/// Decompresses gzip, whatever the headers say, and keeps the output before an error, such as a wrong checksum at the end.
fn decompress(max: usize, mut bytes: Vec<u8>, mut fault: Option<BodyFault>) -> (Vec<u8>, Option<BodyFault>) {
    for _ in 0..GZIP_LAYERS_MAX {
        if !bytes.starts_with(&GZIP_MAGIC) {
            break;
        }
        let mut plain = Vec::new();
        let limit = max as u64 + 1;
        // On failure, `read_to_end` leaves in the buffer what it has read.
        let read = MultiGzDecoder::new(bytes.as_slice()).take(limit).read_to_end(&mut plain);
        if plain.len() > max {
            plain.truncate(max);
            fault = fault.or(Some(BodyFault::TooLarge(max)));
        } else if read.is_err() {
            fault = fault.or(Some(BodyFault::Cut));
        }
        bytes = plain;
    }
    (bytes, fault)
}

/// Decodes UTF-8; UTF-16 if the bytes have its mark or look like it (RFC 4627, section 3: JSON begins with two ASCII characters);
/// otherwise Latin-1, in which every byte is a character. A byte-order mark is dropped.
fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => decode_bytewise(rest),
        [0xff, 0xfe, rest @ ..] => decode_utf_16(rest, u16::from_le_bytes).into(),
        [0xfe, 0xff, rest @ ..] => decode_utf_16(rest, u16::from_be_bytes).into(),
        [1..=255, 0, 1..=255, 0, ..] if has_wide_braces(bytes) => decode_utf_16(bytes, u16::from_le_bytes).into(),
        [0, 1..=255, 0, 1..=255, ..] if has_wide_braces(bytes) => decode_utf_16(bytes, u16::from_be_bytes).into(),
        _ => decode_bytewise(bytes),
    }
}

/// Whether a brace, if there is any, is a unit of UTF-16: an ASCII character follows it in JSON, so that the next byte is NUL
/// in both byte orders. Other text may begin with a few NULs, too.
fn has_wide_braces(bytes: &[u8]) -> bool {
    !bytes.contains(&b'{') || bytes.array_windows().any(|pair| *pair == [b'{', 0])
}

fn decode_bytewise(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().copied().map(char::from).collect::<String>().into(),
    }
}

fn decode_utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Resolves JSON string escapes anywhere in a text, because they may conceal a word.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once('\\') {
        plain.push_str(before);
        let unit = escaped.strip_prefix('u').and_then(|hex| hex.get(..4));
        match unit.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32) {
            Some(character) => {
                plain.push(character);
                rest = &escaped[5..];
            }
            None => rest = escaped,
        }
    }
    plain.push_str(rest);
    plain.into()
}

/// Why a body is not one JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoObject {
    /// It is empty.
    #[error("the body is empty")]
    Empty,
    /// An object in it is cut short.
    #[error("the body's JSON is cut short")]
    Unended,
    /// It has several objects.
    #[error("the body has several JSON objects")]
    Several,
    /// It is other JSON, or not JSON.
    #[error("the body is not a JSON object")]
    Other,
}

/// The JSON object of an answer. A repeated name has a value only if all its values are equal.
#[derive(Debug)]
pub struct Object<'a> {
    members: RawObject<'a>,
    /// The text before and after it.
    pub around: [&'a str; 2],
}

impl<'a> Object<'a> {
    /// The string of this name.
    pub fn text(&self, name: &str) -> Option<String> {
        let mut texts = self.values(name).map(|value| serde_json::from_str::<String>(value.get()).ok());
        let first = texts.next()??;
        texts.all(|text| text.as_ref() == Some(&first)).then_some(first)
    }

    /// The number of this name, as it is written.
    pub fn number(&self, name: &str) -> Option<&'a str> {
        let value = self.only(name)?.get();
        value.starts_with(|character: char| character.is_ascii_digit()).then_some(value)
    }

    /// The object of this name.
    pub fn object(&self, name: &str) -> Option<Self> {
        self.only(name).and_then(Self::of)
    }

    /// The values in the array of this name.
    pub fn array(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        serde_json::from_str(self.only(name)?.get()).ok()
    }

    /// The object, if the value is one.
    pub fn of(value: &'a RawValue) -> Option<Self> {
        Some(Self { members: RawObject::of(value)?, around: [""; 2] })
    }

    /// Whether there is a member of this name, even if it is null.
    pub fn names(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Whether this name has a value that is not null.
    pub fn has(&self, name: &str) -> bool {
        self.values(name).any(|value| value.get() != "null")
    }

    /// The value of a name that is not repeated.
    fn only(&self, name: &str) -> Option<&'a RawValue> {
        let mut values = self.values(name);
        let (value, None) = (values.next()?, values.next()) else { return None };
        Some(value)
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a RawValue> {
        self.members.members().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// Finds the one object at the top level of a text: not inside an array or another object, but with any text around it.
///
/// It takes linear time: after a syntax error it continues where the error is.
fn only_object(text: &str) -> Result<Object<'_>, NoObject> {
    if text.trim().is_empty() {
        return Err(NoObject::Empty);
    }
    let is_other_json = !text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok();
    if is_other_json {
        return Err(NoObject::Other);
    }
    let mut found = None;
    let mut at = 0;
    while let Some(start) = next_object(text, at) {
        let mut objects = serde_json::Deserializer::from_str(&text[start..]).into_iter::<RawObject<'_>>();
        match objects.next() {
            Some(Ok(_)) if found.is_some() => return Err(NoObject::Several),
            Some(Ok(_)) if text[..start].trim_end().ends_with('[') => return Err(NoObject::Other),
            Some(Ok(members)) => {
                at = start + objects.byte_offset();
                found = Some(Object { members, around: [&text[..start], &text[at..]] });
            }
            Some(Err(error)) if error.is_eof() => return Err(NoObject::Unended),
            Some(Err(error)) => at = start + place_of(&error, &text[start..]),
            None => break,
        }
    }
    found.ok_or(NoObject::Other)
}

/// Where the next object may begin: at a brace and a quote, since an empty object says nothing and other text has braces too.
fn next_object(text: &str, at: usize) -> Option<usize> {
    let mut braces = text[at..].match_indices('{').map(|(place, _)| at + place);
    braces.find(|place| text[place + 1..].trim_ascii_start().starts_with('"'))
}

/// Where in `text` the error is, in bytes, and at least 1.
fn place_of(error: &serde_json::Error, text: &str) -> usize {
    let lines_before = error.line().saturating_sub(1);
    let line: usize = text.split_inclusive('\n').take(lines_before).map(str::len).sum();
    text.floor_char_boundary(line + error.column().saturating_sub(1)).max(1)
}

#[cfg(test)]
mod tests;
