#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| postpress_bridge_fuzz::answers::check(input));
