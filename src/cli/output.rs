//! What is printed, and with which code a command ends.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::config::Environment;
use crate::telemetry::{self, LogFormat};
use crate::text::{printable, turns_or_hides};

pub(super) use crate::text::chain;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was asked is done.
    Done,
    /// What was asked failed: a check, a delivery, an unknown id.
    Failed,
    /// The call or the configuration could not be used.
    Unusable,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Failed => Self::from(1),
            Outcome::Unusable => Self::from(2),
        }
    }
}

/// What is wrong with the variables by which [`log`] goes: a typing error would leave out what somebody looks for.
pub(super) fn fault_of_log(environment: &Environment) -> Option<String> {
    let set = |name| environment.os(name).filter(|value| !value.is_empty());
    let format =
        set("COUNTERSIGN_LOG_FORMAT").filter(|format| *format != "text" && *format != "json");
    if let Some(format) = format {
        return Some(format!(
            "COUNTERSIGN_LOG_FORMAT: {format:?} is no form of log lines; set it to text or json"
        ));
    }
    let filter = set("COUNTERSIGN_LOG")?;
    let fault = match filter.to_str() {
        Some(filter) => telemetry::fault_of_filter(filter)?,
        None => "it is no text".to_owned(),
    };
    Some(format!(
        "COUNTERSIGN_LOG: {filter:?} is no filter of log lines ({fault}); set it to error, warn, info, debug or trace, or as in info,countersign=debug"
    ))
}

/// Begins to log, as `COUNTERSIGN_LOG` (directives such as `info`, `countersign=debug`) and `COUNTERSIGN_LOG_FORMAT`
/// (`text`, `json`) say, until what it gives is dropped.
pub(super) fn log(environment: &Environment) -> telemetry::Log {
    let format = match environment.text("COUNTERSIGN_LOG_FORMAT") {
        Some("json") => LogFormat::Json,
        Some(_) | None => LogFormat::Text,
    };
    let filter = environment.text("COUNTERSIGN_LOG");
    let filter = filter.filter(|filter| !filter.is_empty());
    telemetry::log_to_stderr(filter.unwrap_or("info"), format)
}

/// The first failure of standard output.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Prints a line to standard output. A reader that went away (`| head`) is no error; what else fails is told by [`whole`].
pub(super) fn say(line: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // The first says why.
        let _told = LOST.set(error);
    }
}

/// The outcome of a command whose answer is what it printed: what could not be printed was not answered.
pub(super) fn whole(outcome: Outcome) -> Outcome {
    match LOST.get() {
        Some(error) => {
            complain(&format!(
                "countersign: the output is incomplete: standard output: {error}"
            ));
            Outcome::Failed
        }
        None => outcome,
    }
}

/// How long a line to standard error may take.
const LINE_WAIT: Duration = Duration::from_secs(1);

/// Prints a line to standard error. Where that is a pipe that nobody reads, it is lost, and the command comes to its end.
pub(super) fn complain(line: &str) {
    let write = |line: &str| {
        let _closed = io::stderr().lock().write_all(line.as_bytes());
    };
    let line = format!("{line}\n");
    let (written, wait) = mpsc::sync_channel(1);
    let its = line.clone();
    let writer = thread::Builder::new().spawn(move || {
        write(&its);
        let _nobody_waits = written.try_send(());
    });
    match writer {
        Ok(_) => drop(wait.recv_timeout(LINE_WAIT)),
        Err(_no_thread) => write(&line),
    }
}

/// Prints an error with all its causes, and tells that the command failed.
pub(super) fn failed(error: &dyn std::error::Error) -> Outcome {
    complain(&format!("countersign: {}", chain(error)));
    Outcome::Failed
}

/// Prints one object as a JSON line.
pub(super) fn json_line(value: &impl Serialize) {
    // Views are structs of texts and numbers: they always serialize.
    say(&visible(&serde_json::to_string(value).unwrap_or_default()));
}

/// Prints one object for a person, a field a line.
pub(super) fn json_lines(value: &impl Serialize) {
    say(&visible(
        &serde_json::to_string_pretty(value).unwrap_or_default(),
    ));
}

/// JSON without a character that a terminal obeys, or that hides others: the same value, with more of it escaped (RFC 8259 §7).
fn visible(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        let breaks_a_line = character == '\n';
        if (character.is_control() && !breaks_a_line) || turns_or_hides(character) {
            for unit in character.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Cells longer than this stick out of their own row: a stranger's long name must not make everybody's row unreadable.
const CELL_WIDTH: usize = 64;

/// A table for a person: columns as wide as their widest cell, two blanks between.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(heads: [&str; N]) -> Self {
        Self {
            rows: vec![heads.map(str::to_owned).to_vec()],
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell)).to_vec());
    }

    pub(super) fn print(&self) {
        for line in self.lines() {
            say(&line);
        }
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widths = cells.map(|cell| cell.chars().count());
            widths
                .filter(|&width| width <= CELL_WIDTH)
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        self.rows.iter().map(move |row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
    }
}

/// Parses `--since`: RFC 3339, or an age (`90s`, `15m`, `24h`, `7d`).
pub(super) fn parse_since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let usage = || {
        format!("\"{text}\" is no time: write 2026-01-31T08:00:00Z, or an age such as 15m, 24h, 7d")
    };
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(usage)?;
    let seconds: i64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(usage()),
    };
    let age = number.parse::<u32>().map_err(|_not_a_number| usage())?;
    let age = SignedDuration::from_secs(i64::from(age).saturating_mul(seconds));
    Timestamp::now()
        .checked_sub(age)
        .map_err(|_out_of_range| usage())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_cell_widens_no_row_but_its_own() {
        let mut table = Table::new(["ID", "TYPE"]);
        table.row(["evt_1".to_owned(), "paid".to_owned()]);
        table.row(["e".repeat(500), "paid".to_owned()]);
        let long = format!("{}  paid", "e".repeat(500));
        let lines: Vec<String> = table.lines().collect();
        assert_eq!(lines, ["ID     TYPE", "evt_1  paid", &*long]);
    }

    #[test]
    fn since_takes_a_time_or_an_age() {
        assert_eq!(parse_since("1970-01-01T00:00:01Z").unwrap().as_second(), 1);
        let day = parse_since("1d").unwrap();
        assert!((Timestamp::now().as_second() - day.as_second() - 86_400).abs() <= 1);
        for wrong in ["", "d", "-1d", "1w", "tomorrow", "ü"] {
            assert!(parse_since(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_variable_of_the_log_that_can_not_be_meant_is_told() {
        let fault = |name: &str, value: &str| fault_of_log(&Environment::from([(name, value)]));
        for (name, value) in [
            ("COUNTERSIGN_LOG", "info"),
            ("COUNTERSIGN_LOG", "info,countersign=debug"),
            ("COUNTERSIGN_LOG", "WARN,countersign::store=off,"),
            ("COUNTERSIGN_LOG", ""),
            ("COUNTERSIGN_LOG_FORMAT", "json"),
            ("COUNTERSIGN_LOG_FORMAT", "text"),
        ] {
            assert_eq!(fault(name, value), None, "{name}={value}");
        }
        for (name, value) in [
            ("COUNTERSIGN_LOG", "countersign[delivery{id=1}]=debug"),
            ("COUNTERSIGN_LOG", "countersign=loud"),
            ("COUNTERSIGN_LOG", "countersign="),
            ("COUNTERSIGN_LOG", "warning"),
            ("COUNTERSIGN_LOG", "info,loud"),
            ("COUNTERSIGN_LOG", "info;debug"),
            ("COUNTERSIGN_LOG", "info;countersign=debug"),
            ("COUNTERSIGN_LOG", "info, countersign=debug"),
            ("COUNTERSIGN_LOG", "countersign"),
            ("COUNTERSIGN_LOG_FORMAT", "yaml"),
        ] {
            assert!(
                fault(name, value).unwrap().starts_with(name),
                "{name}={value}"
            );
        }
    }

    #[test]
    fn a_terminal_never_sees_a_control_character_of_a_sender() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        // What serde_json leaves as it is: DEL, C1 controls, text that turns, and the tag characters beyond the first plane.
        let text = "a\u{7f}\u{9b}31m\u{202e}b\u{e0041}\u{e9}\n";
        for json in [
            serde_json::to_string(&[text]).unwrap(),
            serde_json::to_string_pretty(&[text]).unwrap(),
        ] {
            let shown = visible(&json);
            assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [text]);
            let seen = |c: &char| *c != '\n' && (c.is_control() || turns_or_hides(*c));
            assert_eq!(shown.chars().find(seen), None, "{shown}");
        }
    }
}
