//! PROXY headers: bounded, and the same however their bytes arrive.
#![no_main]

use countersign::tls::parse_proxy_header;
use libfuzzer_sys::fuzz_target;

/// The longest header that is read.
const BYTES_MAX: usize = 4096;

fuzz_target!(|input: &[u8]| {
    let whole = parse_proxy_header(input);
    // As it would come in over TCP: what a prefix decides, more bytes do not change.
    for end in 0..input.len().min(BYTES_MAX + 1) {
        let Some(prefix) = input.get(..end) else {
            return;
        };
        match (parse_proxy_header(prefix), &whole) {
            (Ok(None), _) => assert!(end < BYTES_MAX, "more is waited for than a header has"),
            (Ok(Some(early)), Ok(Some(late))) => assert_eq!(early, *late),
            (Err(early), Err(late)) => assert_eq!(early.to_string(), late.to_string()),
            (early, late) => panic!("{end}: {early:?}, then {late:?}"),
        }
    }
    if let Ok(Some((_, length))) = whole {
        assert!(length <= input.len() && length <= BYTES_MAX);
    }
});
