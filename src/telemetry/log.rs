//! Log lines, and their way to standard error.
//!
//! Nobody waits for it: it may be a file on a full disk, or a pipe that nobody reads or whose reader went away. What cannot be written is
//! lost, and counted.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

use super::meters;

/// Lines that wait at once.
const LINES_MAX: usize = 4096;
/// How long the last lines may take at the end.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How often room is looked for then.
const ROOM_LOOKED_FOR_EVERY: Duration = Duration::from_millis(5);

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The way of log lines. When it is dropped, what waits is written, within a second.
#[derive(Debug)]
#[must_use = "the last lines are written when it is dropped"]
pub struct Log(Queue);

/// Sends log lines to standard error. `filter` names levels, one for all or one for what stands below a module, as in
/// `info,countersign=debug`; a second call changes nothing.
pub fn log_to_stderr(filter: &str, format: LogFormat) -> Log {
    let filter = targets(filter).unwrap_or_else(|_invalid| at_most_info());
    let queue = Queue::start(io::stderr());
    let writer = queue.clone();
    let lines = tracing_subscriber::fmt()
        .with_max_level(most_of(&filter))
        .with_writer(move || writer.clone())
        // They would go to standard error as well, and panic where that cannot be written to.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    // A test may have set a subscriber already: the first one stays.
    let _already_set = match format {
        LogFormat::Text => lines.finish().with(filter).try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .finish()
            .with(filter)
            .try_init(),
    };
    Log(queue)
}

/// An empty directive, as behind a comma at the end, would let everything through.
fn targets(filter: &str) -> Result<Targets, ParseError> {
    let directives: Vec<_> = directives(filter).collect();
    if directives.is_empty() {
        return Ok(at_most_info());
    }
    directives.join(",").parse()
}

/// The most that it lets through of any module: what is beyond that costs every crate one comparison, and no look at the filter.
fn most_of(filter: &Targets) -> LevelFilter {
    Layer::<Registry>::max_level_hint(filter).unwrap_or(LevelFilter::TRACE)
}

fn directives(filter: &str) -> impl Iterator<Item = &str> {
    filter.split(',').filter(|directive| !directive.is_empty())
}

fn at_most_info() -> Targets {
    Targets::new().with_default(LevelFilter::INFO)
}

impl Drop for Log {
    fn drop(&mut self) {
        let until = Instant::now() + LAST_LINES;
        let (written, all) = sync_channel(1);
        let mut question = Message::Written(written);
        // A queue that is full may have a reader that is only slow.
        while let Err(refused) = self.0.0.try_send(question) {
            match refused {
                TrySendError::Full(again) if Instant::now() < until => question = again,
                TrySendError::Full(_) | TrySendError::Closed(_) => return,
            }
            thread::sleep(ROOM_LOOKED_FOR_EVERY);
        }
        let _in_time = all.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// Lines on their way to the thread that writes them.
#[derive(Clone, Debug)]
struct Queue(Sender<Message>);

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// What came before it has been written.
    Written(SyncSender<()>),
}

impl Queue {
    fn start(out: impl Write + Send + 'static) -> Self {
        // It takes memory for the lines that wait; the standard library's would for all that could.
        let (sender, receiver) = mpsc::channel(LINES_MAX);
        // Without the thread each line counts as lost.
        let _started = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(receiver, out));
        Self(sender)
    }
}

fn write_all(mut messages: Receiver<Message>, mut out: impl Write) {
    while let Some(message) = messages.blocking_recv() {
        match message {
            Message::Line(line) => {
                if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                    meters::log_line_lost();
                }
            }
            Message::Written(told) => {
                let _nobody_waits = told.try_send(());
            }
        }
    }
}

/// Takes each event, which comes whole, as one line: a database's own words have several, and whoever reads the log line by line would take
/// them for events.
impl Write for Queue {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Message::Line(one_line(event))).is_err() {
            meters::log_line_lost();
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn one_line(event: &[u8]) -> Vec<u8> {
    let (line, end) = match event.strip_suffix(b"\n") {
        Some(line) => (line, &b"\n"[..]),
        None => (event, &b""[..]),
    };
    let mut whole = Vec::with_capacity(event.len());
    for byte in line {
        match byte {
            b'\n' => whole.extend_from_slice(b"\\n"),
            b'\r' => whole.extend_from_slice(b"\\r"),
            other => whole.push(*other),
        }
    }
    whole.extend_from_slice(end);
    whole
}

/// What is wrong with a text that is to be a filter of log lines; nothing if it can be one.
pub fn fault_of_filter(filter: &str) -> Option<String> {
    directives(filter)
        .find_map(fault_of_directive)
        .or_else(|| Some(targets(filter).err()?.to_string()))
}

/// The filter itself takes any word that is no level for a target, of which it then lets everything through, and nothing else.
fn fault_of_directive(directive: &str) -> Option<String> {
    let (target, level) = match directive.rsplit_once('=') {
        Some((target, level)) => (target, level),
        None => ("", directive),
    };
    if level.is_empty() || level.parse::<LevelFilter>().is_err() {
        return Some(format!("{level:?} is no level"));
    }
    let of_a_target = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':');
    (!target.chars().all(of_a_target)).then(|| format!("{target:?} is no target"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use super::*;

    #[test]
    fn a_filter_lets_through_what_it_names() {
        use tracing::Level;
        for (filter, module, passes) in [
            ("warn", "countersign::store", Level::WARN),
            ("WARN,", "countersign::store", Level::WARN),
            ("info,countersign=debug", "countersign::store", Level::DEBUG),
            ("info,countersign=debug", "hyper", Level::INFO),
            (",info", "hyper", Level::INFO),
            (",", "hyper", Level::INFO),
        ] {
            let targets = targets(filter).unwrap();
            let most = [
                Level::TRACE,
                Level::DEBUG,
                Level::INFO,
                Level::WARN,
                Level::ERROR,
            ]
            .into_iter()
            .find(|level| targets.would_enable(module, level));
            assert_eq!(most, Some(passes), "{filter} {module}");
        }
        let most = |filter| most_of(&targets(filter).unwrap());
        assert_eq!(most("info"), LevelFilter::INFO);
        assert_eq!(most("warn,countersign=debug"), LevelFilter::DEBUG);
        let off = targets("info,countersign::store=off").unwrap();
        assert!(!off.would_enable("countersign::store", &Level::ERROR));
    }

    #[test]
    fn an_event_is_one_line_whatever_an_error_says() {
        let written: Vec<u8> = ["first\n", "ERROR: a\nDETAIL: b\r\n\n"]
            .iter()
            .flat_map(|event| one_line(event.as_bytes()))
            .collect();
        let written = String::from_utf8(written).unwrap();
        assert_eq!(written, "first\nERROR: a\\nDETAIL: b\\r\\n\n");
    }

    /// As standard error is while its disk is full, for one line.
    struct Full {
        is_full: bool,
        written: SyncSender<Vec<u8>>,
    }

    impl Write for Full {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            if std::mem::take(&mut self.is_full) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let _nobody = self.written.send(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// As a pipe that nobody reads; it can be written to once `open` is dropped.
    struct Stuck {
        open: Receiver<()>,
        written: SyncSender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _dropped = self.open.recv();
            let _nobody = self.written.send(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue whose reader reads nothing until the first of these is dropped, with some lines in it; and what is written of it.
    fn stuck(lines: usize) -> (SyncSender<()>, Queue, Receiver<Vec<u8>>) {
        let (open, opened) = mpsc::sync_channel(1);
        let (written, all) = mpsc::sync_channel(2 * LINES_MAX);
        let mut queue = Queue::start(Stuck {
            open: opened,
            written,
        });
        for _ in 0..lines {
            queue.write_all(b"an event\n").unwrap();
        }
        (open, queue, all)
    }

    #[test]
    fn an_event_that_can_not_be_written_is_nobodys_failure() {
        let (written, lines) = mpsc::sync_channel(2);
        let mut queue = Queue::start(Full {
            is_full: true,
            written,
        });
        queue.write_all(b"lost\n").unwrap();
        queue.write_all(b"an event\n").unwrap();
        drop(Log(queue));
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), [b"an event\n"]);
    }

    #[test]
    fn nobody_waits_for_a_reader_that_reads_nothing() {
        let (open, queue, lines) = stuck(LINES_MAX + 2);
        drop(open);
        drop(queue);
        let written = lines.iter().count();
        assert!((LINES_MAX..=LINES_MAX + 1).contains(&written), "{written}");
    }

    #[test]
    fn the_last_lines_are_written_before_the_end() {
        let (open, queue, lines) = stuck(100);
        drop(open);
        drop(Log(queue));
        assert_eq!(lines.try_iter().count(), 100);
    }

    #[test]
    fn those_of_a_full_queue_are_as_well_where_the_reader_is_only_slow() {
        let (open, queue, lines) = stuck(LINES_MAX + 2);
        let reader = thread::spawn(move || {
            thread::sleep(LAST_LINES / 10);
            drop(open);
        });
        drop(Log(queue));
        assert!(lines.try_iter().count() >= LINES_MAX);
        reader.join().unwrap();
    }

    #[test]
    fn a_reader_that_reads_nothing_holds_nobody_up_at_the_end() {
        let (open, queue, _lines) = stuck(LINES_MAX + 2);
        let began = Instant::now();
        drop(Log(queue));
        assert!(began.elapsed() < 5 * LAST_LINES);
        drop(open);
    }
}
