//! States that differ only in names are one state: messages, claims, runs and keys are only compared, never inspected, so
//! whatever can happen in one can happen in the other, under other names.
//!
//! A state consists of [`Part`]s. Each has a form, a hash in which every name stands for "the first, the second, the third
//! name in here", and its names in that order. A [`Fingerprint`] combines the parts of a state in an order that does not
//! depend on names, and renumbers the names by first use in the whole state.

use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A name, as [`Hash`] shows it. The kinds cannot be confused, since each hashes differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// A trigger's or a poll's message, of up to 7 bytes that begin with `t` or `p`.
    Message(u64),
    /// A sweep's poll: up to 7 bytes that begin with `s`.
    SweepMessage(u64),
    /// A trigger's key: 8 bytes.
    Key(u64),
    /// A run's: 16 bytes.
    Run(u128),
    /// A claim's: a `u128`.
    Claim(u128),
}

impl Name {
    pub(super) fn of_message(id: &str) -> Option<Self> {
        let number = || id.bytes().fold(0, |number, byte| number << 8 | u64::from(byte));
        match id.as_bytes() {
            [b't' | b'p', ..] if id.len() < 8 => Some(Self::Message(number())),
            [b's', ..] if id.len() < 8 => Some(Self::SweepMessage(number())),
            _ => None,
        }
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            16 => Some(Self::Run(u128::from_be_bytes(bytes.try_into().ok()?))),
            8 => Some(Self::Key(u64::from_be_bytes(bytes.try_into().ok()?))),
            _ => Self::of_message(std::str::from_utf8(bytes).ok()?),
        }
    }
}

/// A part of a state, shared by all states that contain it.
pub(super) struct Part<T>(Arc<Inner<T>>);

struct Inner<T> {
    value: T,
    form: u64,
    names: Box<[Name]>,
}

impl<T: Hash> Part<T> {
    pub(super) fn new(value: T) -> Self {
        let mut hasher = Nameless { form: Mixed(0), names: Vec::new() };
        value.hash(&mut hasher);
        let Nameless { form: Mixed(form), names } = hasher;
        Self(Arc::new(Inner { value, form, names: names.into() }))
    }
}

impl<T> Part<T> {
    pub(super) fn names(&self) -> &[Name] {
        &self.0.names
    }
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> PartialEq for Part<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.form == other.0.form && self.0.names == other.0.names
    }
}

impl<T> Eq for Part<T> {}

impl<T> Hash for Part<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.form.hash(state);
        self.0.names.hash(state);
    }
}

/// One number for a state and all that differ from it only in names. With a hundred million states, two share a number in
/// one search of 3,000.
#[derive(Default)]
pub(super) struct Fingerprint {
    mixed: Mixed,
    names: Vec<Name>,
}

impl Fingerprint {
    pub(super) fn number(&mut self, number: u64) {
        self.mixed.add(number);
    }

    pub(super) fn part<T>(&mut self, part: &Part<T>) {
        self.mixed.add(part.0.form);
        for name in part.names() {
            let place = place_of(*name, &mut self.names);
            self.mixed.add(place);
        }
    }

    /// Unordered parts, each with its own number. They are sorted by their forms, and by those of their names that have been
    /// used before; equal ones stay in the given order, which only costs an extra state.
    pub(super) fn parts<'a, T: 'a>(&mut self, parts: impl Iterator<Item = (&'a Part<T>, u64)>) {
        let mut keyed: Vec<_> = parts.map(|(part, number)| (self.key(part), number, part)).collect();
        keyed.sort_by_key(|(key, number, _)| (*key, *number));
        self.number(keyed.len() as u64);
        for (_, number, part) in keyed {
            self.number(number);
            self.part(part);
        }
    }

    fn key<T>(&self, part: &Part<T>) -> u64 {
        let mut mixed = Mixed(part.0.form);
        for name in part.names() {
            mixed.add(self.names.iter().position(|known| known == name).map_or(u64::MAX, |place| place as u64));
        }
        mixed.0
    }

    pub(super) fn finish(self) -> u64 {
        self.mixed.0
    }
}

fn place_of(name: Name, names: &mut Vec<Name>) -> u64 {
    let place = names.iter().position(|known| *known == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    });
    place as u64
}

/// Mixes words into one, each by a multiplication whose halves are folded.
#[derive(Default)]
struct Mixed(u64);

impl Mixed {
    fn add(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word ^ 0x243f_6a88_85a3_08d3) * 0x9e37_79b9_7f4a_7c15;
        let [low, high] = [wide & u128::from(u64::MAX), wide >> 64];
        self.0 = u64::try_from(low ^ high).unwrap();
    }
}

/// A hasher that reduces a name to its index among the names.
struct Nameless {
    form: Mixed,
    names: Vec<Name>,
}

impl Nameless {
    fn name(&mut self, name: Name) {
        let kind = match name {
            Name::Message(_) => 1,
            Name::Key(_) => 2,
            Name::Run(_) => 3,
            Name::Claim(_) => 4,
            Name::SweepMessage(_) => 5,
        };
        let place = place_of(name, &mut self.names);
        self.form.add(place << 8 | kind);
    }
}

impl Hasher for Nameless {
    fn write(&mut self, bytes: &[u8]) {
        match Name::of_bytes(bytes) {
            Some(name) => self.name(name),
            None => bytes.iter().for_each(|byte| self.form.add(u64::from(*byte))),
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.form.add(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.form.add(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.form.add(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.form.add(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.form.add(number as u64);
    }

    fn write_u128(&mut self, claim: u128) {
        self.name(Name::Claim(claim));
    }

    fn finish(&self) -> u64 {
        self.form.0
    }
}

#[cfg(test)]
mod tests {
    use postpress_bridge::ids::{ClaimId, MessageId, RunId};

    use super::*;

    fn fingerprint(parts: &[(u128, &str)]) -> u64 {
        let parts = parts.iter().map(|(number, id)| {
            Part::new((RunId::from_random(*number), ClaimId::from_random(*number), MessageId::new(*id)))
        });
        let parts: Vec<_> = parts.collect();
        let mut fingerprint = Fingerprint::default();
        fingerprint.parts(parts.iter().map(|part| (part, 0)));
        fingerprint.finish()
    }

    #[test]
    fn only_states_that_differ_in_names_alone_are_one() {
        let state = fingerprint(&[(1, "t1"), (2, "p1")]);
        assert_eq!(state, fingerprint(&[(7, "p3"), (4, "t9")]));
        assert_ne!(state, fingerprint(&[(1, "t1"), (1, "p1")]));
        assert_ne!(state, fingerprint(&[(1, "t1"), (2, "t1")]));
        assert_ne!(state, fingerprint(&[(1, "t1")]));
        assert_ne!(state, fingerprint(&[(1, "t1"), (2, "s1")]), "a sweep's poll is not a handler's");
    }

    #[test]
    fn text_that_is_not_a_name_is_compared_as_it_is() {
        let form = |value: (u32, &str)| Part::new(value).0.form;
        assert_ne!(form((1, "lost")), form((2, "lost")));
        assert_ne!(form((1, "lost")), form((1, "found")));
    }
}
