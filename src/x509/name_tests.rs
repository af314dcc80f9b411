//! Names: what is read, what is printed, what is the same.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> DistinguishedName {
    DistinguishedName::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

/// A name of one attribute with the given DER string.
fn encoded(kind: &[u8], string_tag: u8, contents: &[u8]) -> DistinguishedName {
    let attribute = der::sequence(&[
        &der::element(tag::OID, kind),
        &der::element(string_tag, contents),
    ]);
    let rdn = der::element(tag::SET, &attribute);
    DistinguishedName::decode(&der::element(tag::SEQUENCE, &rdn)).unwrap()
}

fn common_name(string_tag: u8, contents: &[u8]) -> DistinguishedName {
    encoded(&[0x55, 4, 3], string_tag, contents)
}

#[track_caller]
fn check_matches(left: &str, right: &str, expected: bool) {
    let (left, right) = (name(left), name(right));
    assert_eq!(left.matches(&right), expected, "{left} / {right}");
    assert_eq!(right.matches(&left), expected, "{right} / {left}");
    assert_eq!(left.key() == right.key(), expected);
}

#[track_caller]
fn check_refused(text: &str, message: &str) {
    let fault = DistinguishedName::parse(text).expect_err(text);
    assert_eq!(format!("{fault}; {}", fault.mend()), message, "{text}");
}

const PRODUCER: &str = "CN=payments-provider,O=Example,OU=tenant-42";

#[test]
fn a_subject_is_read_in_every_form_that_tools_print() {
    for text in [
        "OU=tenant-42,O=Example,CN=payments-provider",
        "/CN=payments-provider/O=Example/OU=tenant-42",
        "CN = payments-provider, O = Example, OU = tenant-42",
        "cn=Payments-Provider , o=EXAMPLE,ou=Tenant-42 ",
        "commonName=payments-provider,organizationName=Example,organizationalUnitName=tenant-42",
        "2.5.4.3=payments-provider,OID.2.5.4.10=Example,2.5.4.11=tenant-42",
        "CN=#0c117061796d656e74732d70726f7669646572,O=#13074578616d706c65,OU=tenant\\2D42",
        "CN=\"payments-provider\" , O=\"Example\",OU=\"tenant-42\"",
        "CN=  payments-provider,O=Example  ,OU=tenant-42\n",
    ] {
        check_matches(PRODUCER, text, true);
    }
}

#[test]
fn what_differs_in_any_attribute_is_another_name() {
    for text in [
        "CN=payments-provider,O=Example",
        "CN=payments-provider,O=Example,OU=tenant-43",
        "CN=payments-provider,O=Example,OU=tenant-42,C=DE",
        "CN=payments-provider,OU=Example,O=tenant-42",
        "O=Example,CN=payments-provider,OU=tenant-42",
        "CN=payments-provider,O=Example,O=tenant-42",
        "CN=payments-provider+O=Example,OU=tenant-42",
        "CN=payments -provider,O=Example,OU=tenant-42",
        "CN=paymentsprovider,O=Example,OU=tenant-42",
        "CN=payments-provider\\00,O=Example,OU=tenant-42",
        "CN=payments-provider\u{200b},O=Example,OU=tenant-42",
        "CN=\u{ff50}ayments-provider,O=Example,OU=tenant-42",
        "CN=payments-prov\u{131}der,O=Example,OU=tenant-42",
    ] {
        check_matches(PRODUCER, text, false);
    }
}

#[test]
fn a_cn_that_contains_a_whole_subject_is_another_name() {
    let trap = common_name(tag::UTF8_STRING, PRODUCER.as_bytes());
    assert!(!trap.matches(&name(PRODUCER)));
    assert_ne!(trap.key(), name(PRODUCER).key());
    assert_eq!(
        trap.to_string(),
        r"CN=CN=payments-provider\,O=Example\,OU=tenant-42"
    );
    let slashes = common_name(
        tag::UTF8_STRING,
        b"payments-provider/O=Example/OU=tenant-42",
    );
    assert!(!slashes.matches(&name("/CN=payments-provider/O=Example/OU=tenant-42")));
    // Nor can a value imitate the key's own form.
    for text in [
        "CN=a,O=b",
        r"CN=a\+O=b",
        "CN=a+O=b",
        r"CN=a\,O=b",
        r"CN=a\00O\00b",
    ] {
        for other in [
            "CN=a,O=b",
            r"CN=a\+O=b",
            "CN=a+O=b",
            r"CN=a\,O=b",
            r"CN=a\00O\00b",
        ] {
            check_matches(text, other, text == other);
        }
    }
}

#[test]
fn case_and_white_space_do_not_matter_but_words_do() {
    check_matches(
        "CN=Jos\u{c9}  Garc\u{cd}a",
        "CN=jos\u{e9} garc\u{ed}a",
        true,
    );
    check_matches(r"CN=\ \ a\ \ b\ \ ", "CN=A B", true);
    check_matches("CN=a\u{a0}\u{3000}b", "CN=a\tb", true);
    check_matches(
        "CN=\u{39f}\u{394}\u{39f}\u{3a3}",
        "CN=\u{3bf}\u{3b4}\u{3bf}\u{3c2}",
        true,
    );
    check_matches("CN=a b", "CN=ab", false);
}

#[test]
fn the_attributes_of_one_level_have_no_order() {
    check_matches("CN=a+O=b", "O=B+CN=A", true);
    check_matches("C=DE,CN=a+O=b", "O=b+CN=a,C=DE", true);
    check_matches("CN=a+CN=a", "CN=a", false);
    let set = name("O=b+CN=a+OU=c").encode();
    assert_eq!(
        set,
        name("OU=c+O=b+CN=a").encode(),
        "a SET OF has one order in DER"
    );
}

#[test]
fn every_string_type_is_its_text() {
    let text = "CN=Zo\u{eb}";
    for (string_tag, contents) in [
        (tag::UTF8_STRING, "Zo\u{eb}".as_bytes()),
        (tag::TELETEX_STRING, b"Zo\xeb"),
        (tag::BMP_STRING, b"\0Z\0o\0\xeb"),
        (tag::UNIVERSAL_STRING, b"\0\0\0Z\0\0\0o\0\0\0\xeb"),
    ] {
        let decoded = common_name(string_tag, contents);
        assert_eq!(decoded.to_string(), text);
        assert!(decoded.matches(&name(text)));
        assert_eq!(decoded, name(text));
    }
    for string_tag in [
        tag::PRINTABLE_STRING,
        tag::IA5_STRING,
        tag::VISIBLE_STRING,
        tag::NUMERIC_STRING,
    ] {
        assert_eq!(common_name(string_tag, b"42"), name("CN=42"));
    }
}

#[test]
fn a_value_that_is_no_text_is_compared_byte_for_byte() {
    for (string_tag, contents, printed) in [
        (tag::BIT_STRING, &b"\0\x01"[..], "CN=#03020001"),
        (tag::BMP_STRING, b"\0Z\0", "CN=#1e03005a00"),
        (tag::BMP_STRING, b"\xd8\x00", "CN=#1e02d800"),
        (tag::UNIVERSAL_STRING, b"\0\x11\0\0", "CN=#1c0400110000"),
        (tag::PRINTABLE_STRING, b"a\xff", "CN=#130261ff"),
        (tag::IA5_STRING, b"\xe9", "CN=#1601e9"),
    ] {
        let decoded = common_name(string_tag, contents);
        assert_eq!(decoded.to_string(), printed);
        assert_eq!(decoded, name(printed));
        assert!(!decoded.matches(&name("CN=Z")));
    }
    let sequence = name("2.5.4.3=#3003020101");
    assert_eq!(sequence.to_string(), "CN=#3003020101");
    assert_eq!(DistinguishedName::decode(&sequence.encode()), Ok(sequence));
}

#[test]
fn a_name_is_printed_as_rfc_4514_has_it() {
    for (read, printed) in [
        (
            "/CN=payments-provider/O=Example/OU=tenant-42",
            "OU=tenant-42,O=Example,CN=payments-provider",
        ),
        ("/C=DE/O=Example, Inc.", r"O=Example\, Inc.,C=DE"),
        (
            r"CN=James \22Jim\22 Smith\2C III",
            r#"CN=James \"Jim\" Smith\, III"#,
        ),
        (r"CN=Before\0dAfter", r"CN=Before\0DAfter"),
        (r"CN=Lu\C4\8Di\C4\87", "CN=Lu\u{10d}i\u{107}"),
        (r"CN=\ \#a\ ", r"CN=\ #a\ "),
        (r"CN=\#a", r"CN=\#a"),
        ("CN=a=b", "CN=a=b"),
        (r"CN=\ ", r"CN=\ "),
        (r"CN=a\;\<\>\\", r"CN=a\;\<\>\\"),
        (
            "1.3.6.1.4.1.1466.0=#04024869",
            "1.3.6.1.4.1.1466.0=#04024869",
        ),
        ("1.2.3=text", "1.2.3=#0c0474657874"),
        (
            "OU=Sales+CN=J.  Smith,DC=example,DC=net",
            "OU=Sales+CN=J.  Smith,DC=example,DC=net",
        ),
        (
            "organizationIdentifier=PSDDE-1,E=a@b.c",
            "organizationIdentifier=PSDDE-1,emailAddress=a@b.c",
        ),
        ("CN=\"\"", "CN=#0c00"),
        ("CN=#0c00", "CN=#0c00"),
    ] {
        assert_eq!(name(read).to_string(), printed);
        assert_eq!(name(printed), name(read), "{printed}");
    }
}

#[test]
fn a_printed_name_cannot_forge_a_line_or_hide() {
    let hostile =
        "a\r\n2026-01-01 INFO accepted\x1b[2J\0\u{85}\u{9b}\u{2028}\u{202e}\u{200b}\u{feff}\u{7f}";
    let printed = common_name(tag::UTF8_STRING, hostile.as_bytes()).to_string();
    assert!(
        printed
            .chars()
            .all(|letter| letter.is_ascii_graphic() || letter == ' '),
        "{printed}"
    );
    assert_eq!(
        name(&printed),
        common_name(tag::UTF8_STRING, hostile.as_bytes())
    );
}

#[test]
fn the_order_that_is_written_can_be_kept() {
    let kept = DistinguishedName::parse_as_encoded(PRODUCER).unwrap();
    assert_eq!(
        kept.to_string(),
        "OU=tenant-42,O=Example,CN=payments-provider"
    );
    assert_eq!(kept, name("/CN=payments-provider/O=Example/OU=tenant-42"));
    assert_eq!(
        Ok(&kept),
        DistinguishedName::parse_as_encoded("/CN=payments-provider/O=Example/OU=tenant-42")
            .as_ref()
    );
    assert_ne!(kept, name(PRODUCER));
    assert!(kept.matches(&name(PRODUCER)));
}

#[test]
fn texts_are_written_in_the_string_types_of_rfc_5280() {
    for (text, string_tag) in [
        ("C=DE", tag::PRINTABLE_STRING),
        ("serialNumber=4@2", tag::UTF8_STRING),
        ("emailAddress=a@b.c", tag::IA5_STRING),
        ("DC=example", tag::IA5_STRING),
        ("DC=\u{e9}", tag::UTF8_STRING),
        ("CN=a", tag::UTF8_STRING),
    ] {
        let encoded = name(text).encode();
        // Three headers, and the attribute's type, come before the value.
        let oid = name(text).rdns()[0].attributes()[0].kind.contents().len();
        assert_eq!(encoded[8 + oid], string_tag, "{text}");
    }
}

#[test]
fn the_slash_form_is_read_as_openssl_writes_it() {
    for (slashes, commas) in [
        (r"/CN=a\/b/O=c", r"O=c,CN=a/b"),
        ("/CN=a, b; \"c\" #d", r#"CN=a\, b\; \"c\" #d"#),
        (r"/CN=Lu\xC4\x8Di", "CN=Lu\u{10d}i"),
        ("/CN=a+OU=b/O=c", "O=c,CN=a+OU=b"),
        (r"/CN=a\+b", r"CN=a\+b"),
        ("/CN=#not hex", r"CN=\#not hex"),
    ] {
        assert_eq!(name(slashes), name(commas));
    }
}

#[test]
fn a_text_that_is_no_name_is_refused_with_the_mend() {
    let separator = r"write CN=payments-provider; a separator that belongs to the value before it is written \, or \+ or \/";
    for text in ["", " ", "/", "\n"] {
        check_refused(
            text,
            "the name is empty; write CN=payments-provider,O=Example",
        );
    }
    check_refused("CN", r#""CN" has no value; write CN=payments-provider"#);
    check_refused("CN=", r#""CN" has no value; write CN=payments-provider"#);
    check_refused(
        "CN= ,O=Example",
        r#""CN" has no value; write CN=payments-provider"#,
    );
    check_refused("CN=a,O=,C=DE", r#""O" has no value; write O=VALUE"#);
    check_refused(
        "CN=a,O=Example, Inc.",
        &format!(r#""Inc." is not TYPE=VALUE; {separator}"#),
    );
    check_refused(
        "payments-provider",
        &format!(r#""payments-provider" is not TYPE=VALUE; {separator}"#),
    );
    check_refused("CN=a,", &format!(r#""" is not TYPE=VALUE; {separator}"#));
    check_refused(
        "CN=a,=b",
        &format!(r#""=b" is not TYPE=VALUE; {separator}"#),
    );
    check_refused(
        "/CN=http://a/O=b",
        &format!(r#""" is not TYPE=VALUE; {separator}"#),
    );
    check_refused(
        "subject=CN = a, O = b",
        r#""subject" is not a known attribute type; leave out subject= and begin with the name itself"#,
    );
    let types = "write CN, O, OU, C, ST, L, DC, UID, serialNumber, emailAddress, or the type's number, as 2.5.4.3";
    check_refused(
        "XY=a",
        &format!(r#""XY" is not a known attribute type; {types}"#),
    );
    check_refused(
        "1.02=a",
        &format!(r#""1.02" is not a known attribute type; {types}"#),
    );
    let escape = r"the value of CN has a backslash that escapes nothing; write \, for a comma, \\ for a backslash, \0A for a byte";
    for text in [r"CN=a\", r"CN=a\n", r"CN=a\4", r"CN=\zz", r"/CN=\x4"] {
        check_refused(text, escape);
    }
    check_refused(
        "CN=a;O=b",
        r#"the value of CN has a bare ';'; write \; if it is part of the value; separate attributes by commas"#,
    );
    check_refused("CN=a\0", r#"the value of CN has a bare '\0'; write \00"#);
    let quotation = r#"the quotation marks around the value of CN do not enclose it; enclose the whole value, or write \" for a quotation mark"#;
    for text in ["CN=\"a", "CN=\"a\" b", "CN=\""] {
        check_refused(text, quotation);
    }
    let hex = r"the value of CN begins with # but is not DER in hex; write \# if the value is a text that begins with #";
    for text in [
        "CN=#",
        "CN=#0",
        "CN=#zz",
        "CN=#0c0161ff",
        "CN=#0c05",
        "CN=#0c01ff",
    ] {
        check_refused(text, hex);
    }
    check_refused(
        r"CN=\FF",
        "the value of CN is not UTF-8; write the text itself, in UTF-8",
    );
}

#[test]
fn a_name_has_bounds() {
    assert!(matches!(
        DistinguishedName::parse(&format!("CN={}", "a".repeat(9000))),
        Err(NameFault::TooLong { .. })
    ));
    assert_eq!(
        DistinguishedName::parse(&vec!["CN=a"; PARTS_MAX + 1].join(",")),
        Err(NameFault::TooManyParts)
    );
    assert_eq!(
        DistinguishedName::parse(&vec!["CN=a"; PARTS_MAX + 1].join("+")),
        Err(NameFault::TooManyParts)
    );
    assert_eq!(
        name(&vec!["CN=a"; PARTS_MAX].join(",")).rdns().len(),
        PARTS_MAX
    );
    let many = name(&vec!["CN=a"; PARTS_MAX].join(",")).encode();
    let doubled = der::element(
        tag::SEQUENCE,
        &der::read_one(&many, tag::SEQUENCE)
            .unwrap()
            .contents
            .repeat(2),
    );
    assert_eq!(
        DistinguishedName::decode(&doubled),
        Err(NameFault::TooManyParts)
    );
}

#[test]
fn der_that_is_no_name_is_refused() {
    assert!(DistinguishedName::decode(&[0x30, 0x00]).unwrap().is_empty());
    for bytes in [
        &[][..],
        &[0x31, 0x00],
        &[0x30, 0x00, 0x00],
        &[0x30, 0x02, 0x31, 0x00],
        &[0x30, 0x04, 0x31, 0x02, 0x30, 0x00],
        // L = a UTF8String that is no UTF-8: it would be printed as what is not read again.
        b"\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x07\x0c\x01\xe8",
    ] {
        assert!(
            matches!(DistinguishedName::decode(bytes), Err(NameFault::Der(_))),
            "{bytes:02x?}"
        );
    }
}

fn any_value() -> impl Strategy<Value = AttributeValue> {
    let awkward = r#"[ "+,;<>\\#=/\x00-\x1faZé\u{0130}\u{2028}\u{1F600}]{0,12}"#;
    prop_oneof![
        4 => awkward.prop_map(|text| AttributeValue::Text(text.into())),
        2 => any::<String>().prop_map(|text| AttributeValue::Text(text.into())),
        1 => proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| AttributeValue::Der(der::element(tag::OCTET_STRING, &bytes).into())),
    ]
}

fn any_rdn() -> impl Strategy<Value = RelativeDistinguishedName> {
    let kind = prop_oneof![
        "CN|O|OU|C|DC|UID|emailAddress|serialNumber|organizationIdentifier",
        "1\\.[0-9]\\.([1-9][0-9]{0,20}\\.){0,3}[1-9]"
    ];
    let attribute = (kind, any_value()).prop_map(|(kind, value)| AttributeTypeAndValue {
        kind: AttributeType::parse(&kind).unwrap(),
        value,
    });
    proptest::collection::vec(attribute, 1..4).prop_map(RelativeDistinguishedName::new)
}

fn any_name() -> impl Strategy<Value = DistinguishedName> {
    proptest::collection::vec(any_rdn(), 1..6)
        .prop_map(|rdns| DistinguishedName::new(rdns).unwrap())
}

/// The same name, as somebody else might have written it.
fn rewritten(name: &DistinguishedName) -> DistinguishedName {
    let rdns = name.rdns.iter().rev().map(|rdn| {
        let attributes = rdn.0.iter().rev().map(|attribute| AttributeTypeAndValue {
            kind: attribute.kind.clone(),
            value: match &attribute.value {
                AttributeValue::Text(text) => AttributeValue::Text(
                    format!("  {}\t", text.replace(' ', " \n ").to_ascii_uppercase()).into(),
                ),
                AttributeValue::Der(whole) => AttributeValue::Der(whole.clone()),
            },
        });
        RelativeDistinguishedName::new(attributes.collect())
    });
    DistinguishedName::new(rdns.collect()).unwrap()
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(name in any_name()) {
        let printed = name.to_string();
        prop_assert_eq!(DistinguishedName::parse(&printed), Ok(name), "{}", printed);
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed(name in any_name()) {
        prop_assert!(!name.to_string().chars().any(is_treacherous));
    }

    #[test]
    fn what_is_encoded_decodes(name in any_name()) {
        let encoded = name.encode();
        prop_assert_eq!(der::check(&encoded), Ok(()));
        // DER may order the attributes within a level anew.
        let decoded = DistinguishedName::decode(&encoded).unwrap();
        prop_assert!(decoded.matches(&name));
        prop_assert_eq!(decoded.encode(), encoded);
    }

    #[test]
    fn order_case_and_white_space_make_no_other_name(name in any_name()) {
        let other = rewritten(&name);
        prop_assert!(name.matches(&other));
        prop_assert_eq!(name.key(), other.key());
    }

    #[test]
    fn names_match_only_if_one_is_the_other_or_its_reverse(left in any_name(), right in any_name()) {
        let canonical = |name: &DistinguishedName| name.rdns.iter().map(canonical_rdn).collect::<Vec<_>>();
        let (forward, mut other) = (canonical(&left), canonical(&right));
        let same = forward == other;
        other.reverse();
        prop_assert_eq!(left.matches(&right), same || forward == other);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>(), tail in r##"[CNO=,+/\\"#; a0-9]{0,40}"##) {
        for text in [text.clone(), tail.clone(), format!("CN={text}"), format!("/CN={tail}"), format!("CN={tail}")] {
            if let Ok(name) = DistinguishedName::parse(&text) {
                prop_assert_eq!(DistinguishedName::parse(&name.to_string()), Ok(name));
            } else if let Err(fault) = DistinguishedName::parse(&text) {
                prop_assert!(!fault.mend().is_empty());
            }
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = DistinguishedName::decode(&bytes);
        let _ = DistinguishedName::decode(&der::element(tag::SEQUENCE, &der::element(tag::SET, &bytes)));
    }
}
