//! How entries share requests: SendMessageBatch, PutEvents and similar calls take at most 10 entries and 1 MiB.

/// The maximum number of entries in a request.
pub const ENTRIES_MAX: usize = 10;
/// The maximum total size of a request's entries. The services take 1 MiB; what they count besides the payload is small.
pub const BYTES_MAX: usize = 900 * 1024;

/// Splits entries of these sizes, in order, into ranges that each fit into a request. An entry that is too large by itself
/// gets its own request, which the service then rejects with a specific error.
pub fn pack(sizes: &[usize]) -> Vec<std::ops::Range<usize>> {
    let mut packs = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, size) in sizes.iter().enumerate() {
        let full = index - start == ENTRIES_MAX || bytes + size > BYTES_MAX;
        if full && index > start {
            packs.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < sizes.len() {
        packs.push(start..sizes.len());
    }
    packs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_full_at_ten_entries_or_at_900_kib() {
        assert!(pack(&[]).is_empty());
        assert_eq!(pack(&[1; 21]), [0..10, 10..20, 20..21]);
        assert_eq!(pack(&[BYTES_MAX / 2; 3]), [0..2, 2..3]);
        assert_eq!(pack(&[1, BYTES_MAX + 1, 1]), [0..1, 1..2, 2..3]);
    }

    proptest! {
        #[test]
        fn every_entry_is_in_one_request_in_order(sizes in prop::collection::vec(0..2 * BYTES_MAX, 0..60)) {
            let packs = pack(&sizes);
            let packed: Vec<usize> = packs.iter().cloned().flatten().collect();
            prop_assert_eq!(packed, (0..sizes.len()).collect::<Vec<_>>());
            for pack in packs {
                let bytes: usize = sizes[pack.clone()].iter().sum();
                prop_assert!(pack.len() == 1 || (pack.len() <= ENTRIES_MAX && bytes <= BYTES_MAX));
            }
        }
    }
}
