//! The `openssl` command in a directory of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use countersign::x509::{Certificate, decode_certificates};
use tempfile::TempDir;

pub(crate) struct OpenSsl {
    directory: TempDir,
}

impl OpenSsl {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).expect("a file in a temporary directory");
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs a command as a shell would and gives what it printed.
    pub(crate) fn run(&self, command: &str) -> String {
        self.attempt(command)
            .unwrap_or_else(|said| panic!("{command}: {said}"))
    }

    /// The same, for a command that may fail: then what it complained of.
    pub(crate) fn attempt(&self, command: &str) -> Result<String, String> {
        let mut shell = Command::new("sh");
        let output = shell
            .args(["-c", command])
            .current_dir(self.directory.path())
            .output();
        let output = output.expect("sh and openssl are installed");
        let (printed, said) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        if output.status.success() {
            Ok(printed.into_owned())
        } else {
            Err(format!("{printed}{said}"))
        }
    }

    pub(crate) fn leaf(&self, name: &str) -> Certificate {
        let certificates = decode_certificates(&self.read(name)).expect("PEM or DER");
        Certificate::decode(&certificates[0])
            .unwrap_or_else(|fault| panic!("{name}: {fault}: {:?}", fault))
    }

    /// The commands of every guide, which make a CA and, without an extension file, a leaf of version 1.
    pub(crate) fn follow_the_guide(&self) {
        self.run("openssl genrsa -out ca.key 4096");
        self.run("openssl req -x509 -new -nodes -key ca.key -sha256 -days 1825 -subj '/CN=Webhook Internal CA/O=Example' -out ca.crt");
        self.run("openssl genrsa -out producer.key 2048");
        self.run("openssl req -new -key producer.key -subj '/CN=payments-provider/O=Example/OU=tenant-42' -out producer.csr");
        self.run("openssl x509 -req -in producer.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 90 -sha256 -out producer.crt");
    }

    /// A field of a certificate as OpenSSL prints it, without its label.
    pub(crate) fn field(&self, file: &str, options: &str) -> String {
        let printed = self.run(&format!("openssl x509 -noout -in {file} {options}"));
        printed
            .trim_end()
            .split_once('=')
            .map(|(_, value)| value.to_owned())
            .expect("LABEL=VALUE")
    }
}
