//! When certificates and revocation lists end. A series of the recorder's stays for as long as the process; here each telling replaces
//! the one before, so that a certificate which was replaced warns nobody of its end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// When one certificate ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateEnd {
    /// RFC 4514.
    pub subject: String,
    /// Lower-case hex.
    pub serial: String,
    /// The producer whose it is; empty if nobody's.
    pub producer: String,
    /// Unix time.
    pub at: i64,
}

/// When one revocation list ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrlEnd {
    /// RFC 4514.
    pub issuer: String,
    /// Unix time.
    pub at: i64,
}

#[derive(Debug, Default)]
pub(super) struct Ends {
    certificates: BTreeMap<&'static str, Vec<CertificateEnd>>,
    crls: Vec<CrlEnd>,
}

/// As the recorder itself is, one for the process.
pub(super) fn ends() -> MutexGuard<'static, Ends> {
    static ENDS: LazyLock<Mutex<Ends>> = LazyLock::new(Mutex::default);
    ENDS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ends {
    pub(super) fn replace_certificates(
        &mut self,
        role: &'static str,
        mut ends: Vec<CertificateEnd>,
    ) {
        ends.sort();
        ends.dedup_by(|one, other| one.labels(role) == other.labels(role));
        self.certificates.insert(role, ends);
    }

    pub(super) fn replace_crls(&mut self, mut ends: Vec<CrlEnd>) {
        ends.sort();
        ends.dedup_by(|one, other| one.issuer == other.issuer);
        self.crls = ends;
    }

    /// In Prometheus' text format.
    pub(super) fn render(&self, into: &mut String) {
        head(
            into,
            "countersign_certificate_not_after_seconds",
            "Unix time at which a certificate ends, by role, subject, serial and producer",
        );
        for (role, ends) in &self.certificates {
            for end in ends {
                line(
                    into,
                    "countersign_certificate_not_after_seconds",
                    &end.labels(role),
                    end.at,
                );
            }
        }
        head(
            into,
            "countersign_crl_next_update_seconds",
            "Unix time at which a CRL ends, by issuer",
        );
        for end in &self.crls {
            let labels = [("issuer", end.issuer.as_str())];
            line(into, "countersign_crl_next_update_seconds", &labels, end.at);
        }
    }
}

impl CertificateEnd {
    fn labels<'a>(&'a self, role: &'a str) -> [(&'static str, &'a str); 4] {
        [
            ("role", role),
            ("subject", &self.subject),
            ("serial", &self.serial),
            ("producer", &self.producer),
        ]
    }
}

// Writing to a String does not fail.
fn head(into: &mut String, name: &str, meaning: &str) {
    let _written = write!(into, "# HELP {name} {meaning}\n# TYPE {name} gauge\n");
}

fn line(into: &mut String, name: &str, labels: &[(&str, &str)], at: i64) {
    into.push_str(name);
    for (place, (label, value)) in labels.iter().enumerate() {
        let before = if place == 0 { '{' } else { ',' };
        let _written = write!(into, "{before}{label}=\"");
        for character in value.chars() {
            match character {
                '\\' => into.push_str("\\\\"),
                '"' => into.push_str("\\\""),
                '\n' => into.push_str("\\n"),
                _ => into.push(character),
            }
        }
        into.push('"');
    }
    let _written = writeln!(into, "}} {at}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(serial: &str) -> CertificateEnd {
        CertificateEnd {
            subject: "CN=a\\,b\"\n".to_owned(),
            serial: serial.to_owned(),
            producer: String::new(),
            at: 1_800_000_000,
        }
    }

    #[test]
    fn what_was_replaced_is_told_no_more() {
        let mut ends = Ends::default();
        ends.replace_certificates("server", vec![end("01"), end("01")]);
        ends.replace_certificates("client", vec![end("02")]);
        ends.replace_certificates("server", vec![end("03")]);
        let mut text = String::new();
        ends.render(&mut text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = |role: &str, serial: &str| {
            format!(
                "countersign_certificate_not_after_seconds{{role=\"{role}\",subject=\"CN=a\\\\,b\\\"\\n\",serial=\"{serial}\",producer=\"\"}} 1800000000"
            )
        };
        assert_eq!(lines, [expected("client", "02"), expected("server", "03")]);
    }
}
