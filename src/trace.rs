//! The X-Ray trace of a message: all messages of a run carry one trace id.
//!
//! SQS keeps the header beside a message (`AWSTraceHeader`, which does not count towards its size), so it is not part of the
//! protocol. `docs/decisions/0003` explains what is passed on, and what that means for Lambda's loop detection.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::ids::MessageId;
use crate::time::Millis;

/// The longest `Lineage` that is passed on. Lambda's has a few entries of about ten characters each.
const LINEAGE_MAX_BYTES: usize = 200;

/// A header of the form `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
///
/// Only valid fields are kept, because SQS refuses a message with an invalid header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceHeader {
    root: String,
    parent: Option<String>,
    is_sampled: Option<bool>,
    lineage: Option<String>,
}

impl TraceHeader {
    /// Reads a header that has a valid `Root`. Other fields that are invalid or unknown are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let fields = text.split(';').filter_map(|field| field.trim().split_once('='));
        let field = |name: &str| fields.clone().find(|(key, _)| *key == name).map(|(_, value)| value);
        Some(Self {
            root: field("Root").filter(|root| is_root(root))?.to_owned(),
            parent: field("Parent").filter(|id| is_hex(id, 16)).map(str::to_owned),
            is_sampled: field("Sampled").filter(|sampled| ["0", "1"].contains(sampled)).map(|sampled| sampled == "1"),
            lineage: field("Lineage").filter(|lineage| is_lineage(lineage)).map(str::to_owned),
        })
    }

    /// A trace for a message without one, the same at every delivery.
    pub fn of_message(message_id: &MessageId, sent_at: Millis) -> Self {
        let digest = Sha256::digest(message_id.as_str());
        let unique: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let seconds = u32::try_from(sent_at.epoch_seconds()).unwrap_or(u32::MAX);
        Self { root: format!("1-{seconds:08x}-{unique}"), parent: None, is_sampled: None, lineage: None }
    }

    /// The same trace, passed on by an invocation with this header: with the invocation's `Lineage`, in which Lambda counts
    /// invocations, and with its sampling decision if the trace has none.
    #[must_use]
    pub fn through(self, invocation: &Self) -> Self {
        Self {
            is_sampled: self.is_sampled.or(invocation.is_sampled),
            lineage: invocation.lineage.clone().or(self.lineage),
            ..self
        }
    }

    /// The trace's id.
    pub fn trace_id(&self) -> &str {
        &self.root
    }
}

/// As X-Ray writes it.
impl fmt::Display for TraceHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root={}", self.root)?;
        if let Some(parent) = &self.parent {
            write!(f, ";Parent={parent}")?;
        }
        if let Some(is_sampled) = self.is_sampled {
            write!(f, ";Sampled={}", u8::from(is_sampled))?;
        }
        match &self.lineage {
            Some(lineage) => write!(f, ";Lineage={lineage}"),
            None => Ok(()),
        }
    }
}

/// Version, time in seconds, and 96 bits.
fn is_root(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    matches!(parts[..], ["1", time, unique] if is_hex(time, 8) && is_hex(unique, 24))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Its format is not documented; observed: `1:a87bd80c:5|68fd508a:2`.
fn is_lineage(text: &str) -> bool {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b":|.-_".contains(&byte);
    (1..=LINEAGE_MAX_BYTES).contains(&text.len()) && text.bytes().all(is_sound)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOT: &str = "Root=1-5759e988-bd862e3fe1be46a994272793";

    fn read(text: &str) -> String {
        TraceHeader::parse(text).map(|header| header.to_string()).unwrap_or_default()
    }

    #[test]
    fn invalid_fields_are_dropped() {
        let whole = format!("{ROOT};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:5|68fd508a:2");
        for (text, kept) in [
            (&*whole, &*whole),
            (ROOT, ROOT),
            (&format!("Sampled=0; {ROOT}"), &format!("{ROOT};Sampled=0")),
            (&format!("Self=1-2-3;{ROOT};Sampled=?;Parent=53995c3f;Lineage=a\nb;CalledFrom=app"), ROOT),
            (&format!("{ROOT};Lineage={}", "a".repeat(LINEAGE_MAX_BYTES + 1)), ROOT),
            ("Root=1-5759e988-bd862e3fe1be46a99427279;Sampled=1", ""),
            ("Root=2-5759e988-bd862e3fe1be46a994272793", ""),
            ("Root=1-5759e988-bd862e3fe1be46a994272793-1", ""),
            ("Sampled=1", ""),
            ("", ""),
        ] {
            assert_eq!(read(text), kept, "{text}");
        }
    }

    #[test]
    fn an_invocation_passes_on_its_lineage_but_not_its_trace() {
        let invocation =
            "Root=1-11111111-222222222222222222222222;Parent=1111111111111111;Sampled=1;Lineage=1:a87bd80c:6";
        let invocation = TraceHeader::parse(invocation).unwrap();
        for (message, sent_on) in [
            (format!("{ROOT};Sampled=0;Lineage=1:a87bd80c:5"), format!("{ROOT};Sampled=0;Lineage=1:a87bd80c:6")),
            (ROOT.to_owned(), format!("{ROOT};Sampled=1;Lineage=1:a87bd80c:6")),
        ] {
            assert_eq!(TraceHeader::parse(&message).unwrap().through(&invocation).to_string(), sent_on);
        }
        let uncounted = TraceHeader::parse("Root=1-11111111-222222222222222222222222").unwrap();
        let message = format!("{ROOT};Lineage=1:a87bd80c:5");
        assert_eq!(TraceHeader::parse(&message).unwrap().through(&uncounted).to_string(), message);
    }

    proptest! {
        #[test]
        fn a_message_without_a_trace_gets_a_constant_valid_one(id in ".*", sent_at: u64) {
            let (id, sent_at) = (MessageId::new(id), Millis(sent_at));
            let header = TraceHeader::of_message(&id, sent_at);
            prop_assert_eq!(TraceHeader::parse(&header.to_string()), Some(header.clone()));
            prop_assert_eq!(TraceHeader::of_message(&id, sent_at), header);
        }

        #[test]
        fn only_printable_headers_are_passed_on(text in "(Root=1-5759e988-bd862e3fe1be46a994272793;)?.*") {
            if let Some(header) = TraceHeader::parse(&text) {
                let header = header.to_string();
                prop_assert!(header.bytes().all(|byte| byte.is_ascii_graphic()), "{}", header);
                prop_assert_eq!(read(&header), header);
            }
        }
    }
}
