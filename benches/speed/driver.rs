//! The client: `countersign bench`, in a process of its own, as users run it.

use std::error::Error;
use std::process::Command;

use serde_json::Value;

use crate::setup::{Credentials, Server};

/// What `countersign bench` found: its JSON object.
#[derive(Debug)]
pub struct Found(Value);

/// Runs one mode against a server. A delivery that was not accepted is an error.
pub fn bench(
    server: &Server,
    credentials: &Credentials,
    arguments: &[&str],
) -> Result<Found, Box<dyn Error + Send + Sync>> {
    let (found, told) = attempt(server, credentials, arguments)?;
    match told {
        None => Ok(found),
        Some(told) => Err(told.into()),
    }
}

/// The same, for what may go wrong and is measured nevertheless: it is told beside what was found.
pub fn attempt(
    server: &Server,
    credentials: &Credentials,
    arguments: &[&str],
) -> Result<(Found, Option<String>), Box<dyn Error + Send + Sync>> {
    let url = format!("https://localhost:{}/webhooks/payments", server.port);
    let secret = format!("file:{}", credentials.file("producer.secret").display());
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .arg("bench")
        .args(arguments)
        .args(["--json", "--url", &url, "--secret", &secret])
        .args(["--pid", &server.pid().to_string()])
        .arg("--ca")
        .arg(credentials.file("ca.crt"))
        .arg("--cert")
        .arg(credentials.file("producer.crt"))
        .arg("--key")
        .arg(credentials.file("producer.key"))
        .output()?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    let found: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{arguments:?}: {error}: {complaints}"))?;
    let told = (!output.status.success()).then(|| {
        format!(
            "{arguments:?}: answers {}, errors {}, not opened {}, unsent {}",
            found["answers"], found["errors"], found["not_opened"], found["unsent"]
        )
    });
    Ok((Found(found), told))
}

impl Found {
    /// A number, by its JSON pointer; `NaN` where there is none.
    pub fn number(&self, pointer: &str) -> f64 {
        let number = self.0.pointer(pointer).and_then(Value::as_f64);
        number.unwrap_or(f64::NAN)
    }

    /// How many there were; none where it is not told.
    pub fn count(&self, pointer: &str) -> f64 {
        let count = self.0.pointer(pointer).and_then(Value::as_f64);
        count.unwrap_or(0.0)
    }

    /// Bytes, as MiB.
    pub fn mebibytes(&self, pointer: &str) -> f64 {
        self.number(pointer) / 1_048_576.0
    }
}
