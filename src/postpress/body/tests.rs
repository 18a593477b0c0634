use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

const OBJECT: &str = r#"{"status": "SYNC_DONE"}"#;

fn status(body: &Body) -> Result<Option<String>, NoObject> {
    body.object().map(|object| object.text("status"))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn the_only_object_is_found_in_any_text() {
    for (before, after) in [
        ("", ""),
        ("\u{feff}", ""),
        (" \r\n", "\n\n"),
        ("", "\0\0\0"),
        ("\0 \0", ""),
        (" \0 \0", ""),
        ("<br />\n<b>Notice</b>: Undefined index {x} in <b>/srv/a.php</b> on line <b>3</b><br />\n", ""),
        ("Array ( [0] => {\n ) {{ \"a\": } \"{\" {\"open \n", "\n<!-- generated in {0.02} s -->"),
        ("[error] 7: ", " [end]"),
        (")]}',\n", ""),
        ("callback(", ");"),
        ("data: ", "\n\n"),
        ("<style>body { color: red } a{}</style>", "<script>(function(){ if (a) { b() } })({})</script>"),
        ("é{é", "é}é"),
    ] {
        let body = Body::whole(format!("{before}{OBJECT}{after}"));
        assert_eq!(status(&body), Ok(Some("SYNC_DONE".to_owned())), "{before:?} {after:?}");
    }
}

#[test]
fn other_bodies_are_described() {
    for (body, expected) in [
        ("".to_owned(), NoObject::Empty),
        (" \n".to_owned(), NoObject::Empty),
        ("\u{feff}".to_owned(), NoObject::Empty),
        ("null".to_owned(), NoObject::Other),
        ("{}".to_owned(), NoObject::Other),
        ("<html>{}</html>".to_owned(), NoObject::Other),
        (format!("[{OBJECT}]"), NoObject::Other),
        (format!("[ {OBJECT}, "), NoObject::Other),
        (format!("[1, {OBJECT}]"), NoObject::Other),
        (serde_json::to_string(OBJECT).unwrap(), NoObject::Other),
        (format!("{OBJECT}{OBJECT}"), NoObject::Several),
        (format!("{{\"level\": \"warn\"}}\n{OBJECT}"), NoObject::Several),
        (format!("{OBJECT} {{\"status\": \"SYNC_"), NoObject::Unended),
        (format!("{{\"data\": {OBJECT}"), NoObject::Unended),
        (format!("{{\"data\": {OBJECT}, oops"), NoObject::Other),
        (OBJECT[..OBJECT.len() - 1].to_owned(), NoObject::Unended),
    ] {
        assert_eq!(status(&Body::whole(body.clone())), Err(expected), "{body}");
    }
}

#[test]
fn encodings_are_detected() {
    let text = r#"{"status": "é"}"#;
    let marked = |mark: &[u8], bytes: Vec<u8>| [mark, &bytes].concat();
    for bytes in [
        text.as_bytes().to_vec(),
        marked(b"\xef\xbb\xbf", text.into()),
        b"{\"status\": \"\xe9\"}".to_vec(),
        marked(b"\xef\xbb\xbf", b"{\"status\": \"\xe9\"}".to_vec()),
        marked(b"\xff\xfe", utf_16(text, u16::to_le_bytes)),
        marked(b"\xfe\xff", utf_16(text, u16::to_be_bytes)),
        marked(b"\xff\xfe", marked(&utf_16(text, u16::to_le_bytes), vec![b'x'])),
        utf_16(text, u16::to_le_bytes),
        utf_16(text, u16::to_be_bytes),
    ] {
        assert_eq!(status(&Body::whole(bytes.clone())), Ok(Some("é".to_owned())), "{bytes:?}");
    }
}

#[test]
fn gzip_output_before_an_error_is_kept() {
    let whole = gzip(OBJECT.as_bytes());
    let end = whole.len() - 8; // CRC32 and length
    let mut wrong_checksum = whole.clone();
    wrong_checksum[end] ^= 0xff;
    let trailing = [&whole[..], b"trailing"].concat();
    let (first, second) = OBJECT.split_at(5);
    for (bytes, fault) in [
        (whole.clone(), None),
        (gzip(&whole), None),
        ([gzip(first.as_bytes()), gzip(second.as_bytes())].concat(), None),
        (whole[..end].to_vec(), Some(BodyFault::Cut)),
        (wrong_checksum, Some(BodyFault::Cut)),
        (trailing, Some(BodyFault::Cut)),
    ] {
        let body = Body::whole(bytes);
        assert_eq!((status(&body), body.fault()), (Ok(Some("SYNC_DONE".to_owned())), fault));
    }
    let header_only = Body::whole(&whole[..10]);
    assert_eq!((header_only.text(), header_only.fault()), ("", Some(BodyFault::Cut)));
}

#[test]
fn decompressed_bodies_are_bounded() {
    let bomb = gzip(&vec![b' '; 16 * BODY_MAX_BYTES]);
    for bytes in [bomb.clone(), gzip(&bomb)] {
        let body = Body::whole(bytes);
        assert_eq!((body.text().len(), body.fault()), (BODY_MAX_BYTES, Some(BodyFault::TooLarge(BODY_MAX_BYTES))));
    }
}

#[test]
fn repeated_names_need_equal_values() {
    for (json, text) in [
        (r#"{"a": "x", "a": "x"}"#, Some("x")),
        (r#"{"a": "x", "a": "y"}"#, None),
        (r#"{"a": "x", "a": 1}"#, None),
        (r#"{"a": 1, "a": "x"}"#, None),
        (r#"{"b": "x"}"#, None),
    ] {
        assert_eq!(Body::whole(json).object().unwrap().text("a").as_deref(), text, "{json}");
    }
}

#[test]
fn escapes_are_resolved_anywhere() {
    for (text, plain) in [
        ("plain", "plain"),
        (r"SYNC\u005fDONE", "SYNC_DONE"),
        (r#"{\"a\": \\"b\\"}"#, r#"{"a": "b"}"#),
        (r"a\/b", "a/b"),
        (r"\", ""),
        (r"\u", "u"),
        (r"\u00", "u00"),
        (r"\ud800é", "ud800é"),
        (r"\u00é5", "u00é5"),
    ] {
        assert_eq!(unescape(text), plain, "{text}");
    }
}

#[test]
fn search_time_is_linear() {
    // A search that restarted at every brace would take hours for each of these.
    let braces = BODY_MAX_BYTES / 5;
    for text in [r#"{"a":"#.repeat(braces), format!("{}x", r#"{"a":"#.repeat(braces)), r#"{"a" "#.repeat(braces)] {
        assert!(Body::whole(text).object().is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let body = Body::whole(bytes);
        let _ = (body.object(), unescape(body.text()));
    }

    #[test]
    fn the_object_is_found_after_any_text_without_a_brace(before in "[^{\\[]{0,40}", after in "[^{]{0,40}") {
        prop_assume!(!before.starts_with('"'));
        let body = Body::whole(format!("{before}{OBJECT}{after}"));
        prop_assert_eq!(status(&body), Ok(Some("SYNC_DONE".to_owned())));
    }
}
