//! Distinguished names, as text and as DER: what is read is written so that it reads as the same name again.
#![no_main]

use countersign::x509::DistinguishedName;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(name) = DistinguishedName::decode(input) {
        survives(&name);
    }
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    for name in [
        DistinguishedName::parse(text),
        DistinguishedName::parse_as_encoded(text),
    ]
    .into_iter()
    .flatten()
    {
        survives(&name);
        // One text, one name, in whichever order it is read.
        let again = DistinguishedName::parse(text).expect("it was read before");
        assert!(again.matches(&name) && name.matches(&again));
    }
});

fn survives(name: &DistinguishedName) {
    assert!(name.matches(name));
    assert_eq!(name.key(), name.key());
    let encoded = name.encode();
    let decoded = DistinguishedName::decode(&encoded).expect("what we encode, we decode");
    assert!(decoded.matches(name) && name.matches(&decoded), "{name}");
    assert_eq!(decoded.key(), name.key(), "{name}");
    let printed = name.to_string();
    assert!(
        !printed.chars().any(char::is_control),
        "a name breaks a line: {printed:?}"
    );
    if name.is_empty() {
        // A certificate may have no subject; nobody is configured so.
        return;
    }
    let parsed = DistinguishedName::parse(&printed).expect("what we print, we read");
    assert!(parsed.matches(name) && name.matches(&parsed), "{printed}");
}
