//! Real peers: `curl` and `openssl`, as a provider's engineer has them.

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
};

/// What a command said.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Standard output as JSON Lines, of a command that did what was asked.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.objects()
    }

    /// The same, however it ended.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Runs a command in a directory to its end, with this as its standard input.
#[track_caller]
pub(crate) fn run(directory: &Path, command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // A command that does not read its input closes it: no fault of the test.
    let _ = child.stdin.take().unwrap().write_all(input);
    finished(child)
}

/// Waits for the end of a command, and tells what it said.
#[track_caller]
pub(crate) fn finished(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `curl` in a directory; its standard output is the body and, on the last line, the status.
#[track_caller]
pub(crate) fn curl(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(["--write-out", "\n%{http_code}"])
        .args(arguments);
    run(directory, &mut command, b"")
}

/// `openssl` in a directory.
#[track_caller]
pub(crate) fn openssl(directory: &Path, arguments: &[&str], input: &[u8]) -> Output {
    run(directory, Command::new("openssl").args(arguments), input)
}
