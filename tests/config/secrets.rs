//! What the files of secrets hold beside them.

use std::fs;

use countersign::config::Environment;

use super::{TENANT, directory, load};

#[test]
fn what_nobody_sees_in_the_file_of_a_secret_is_told() {
    const SECRET: &str = "5f3c1b0a9d8e7f6a5b4c3d2e1f0a9b8c";
    let utf16 = |mark: &str| {
        let text = format!("{mark}{SECRET}\r\n");
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let text = |text: String| text.into_bytes();
    for (content, expected) in [
        (
            text(format!("\u{feff}{SECRET}\n")),
            "producer.secret begins with a byte order mark",
        ),
        (
            text(format!("{SECRET}\nb{SECRET}\u{a0}\n")),
            "producer.secret#2 begins or ends with a no-break space",
        ),
        (
            text(format!("\u{b}{SECRET}")),
            "producer.secret begins or ends with a vertical tab",
        ),
        (
            text(format!("a{SECRET}\r{SECRET}")),
            "producer.secret holds a carriage return",
        ),
        (
            text(format!("# rotated by Alice\n{SECRET}\n")),
            "line 1 of file:certs/producer.secret looks like a comment",
        ),
        (
            text(format!("{SECRET}\n\"b{SECRET}\"\n")),
            "line 2 of file:certs/producer.secret stands in quotes",
        ),
        (
            text(format!("PAYMENTS_SECRET={SECRET}")),
            "line 1 of file:certs/producer.secret looks like a variable",
        ),
        (utf16("\u{feff}"), "producer.secret is written in UTF-16"),
        (utf16(""), "producer.secret is written in UTF-16"),
    ] {
        let directory = directory();
        let secret = directory.path().join("certs/producer.secret");
        fs::write(secret, content).unwrap();
        let told = match load(directory.path(), TENANT, &Environment::empty()) {
            Ok(config) => config.warnings.iter().map(|it| it.what.clone()).collect(),
            Err(faults) => faults.iter().map(|it| it.what.clone()).collect::<Vec<_>>(),
        };
        let named = told.iter().any(|told| told.contains(expected));
        assert!(named, "{expected}: {told:?}");
        assert!(
            told.iter()
                .all(|told| !told.contains(SECRET) && !told.contains("Alice"))
        );
    }
}
