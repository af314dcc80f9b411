//! Providers that deliver, each in a thread, until what they have to say is acknowledged.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    Answer, Chance, Producer, Scene, Told, eventually,
    producer::{Connection, unix_now},
};

const SENDERS: u64 = 4;
/// Within this it must have recovered from whatever it was, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);
/// Deliveries that a sender makes at full speed; the rest it makes more slowly, so that a test on a quick machine is
/// no longer than on a slow one.
const AT_FULL_SPEED: usize = 400;

/// Deliveries under way.
pub(crate) struct Load {
    senders: Vec<JoinHandle<Vec<Sent>>>,
    watched: Arc<Watched>,
}

/// One body, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) told: Told,
    pub(crate) body: String,
    /// How often it may have reached the receiver.
    pub(crate) attempts: u64,
    /// How often it was acknowledged.
    pub(crate) acknowledged: u64,
}

#[derive(Default)]
struct Watched {
    stop: AtomicBool,
    acknowledged: AtomicUsize,
    /// Seconds by which the clocks of the senders with an even number are ahead.
    ahead: AtomicI64,
    answers: Mutex<BTreeMap<String, usize>>,
}

impl Load {
    /// Begins to deliver.
    pub(crate) fn begin(scene: &Scene) -> Self {
        Self::of_bodies(scene, 0)
    }

    /// The same with bodies that are longer by so much.
    pub(crate) fn of_bodies(scene: &Scene, longer_by: usize) -> Self {
        let watched = Arc::new(Watched::default());
        let senders = (0..SENDERS)
            .map(|number| {
                let sender = Sender {
                    number,
                    seed: scene.seed,
                    chance: Chance(scene.seed ^ (number + 1) << 40),
                    producer: scene.receiver.producer(),
                    connection: None,
                    padding: "x".repeat(longer_by),
                    sent: Vec::new(),
                    shared: 0,
                    watched: Arc::clone(&watched),
                };
                thread::spawn(move || sender.run())
            })
            .collect();
        Self { senders, watched }
    }

    /// Waits until so many more are acknowledged.
    #[track_caller]
    pub(crate) fn advance(&self, more: usize) {
        let goal = self.acknowledged() + more;
        eventually(PATIENCE, || (self.acknowledged() >= goal).then_some(()));
    }

    /// How many were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.watched.acknowledged.load(Ordering::Relaxed)
    }

    /// How often this was the answer: `503`, or `401 timestamp-outside-tolerance`.
    pub(crate) fn answers(&self, beginning: &str) -> usize {
        let answers = self.watched.answers.lock().unwrap();
        answers
            .iter()
            .filter(|(answer, _)| answer.starts_with(beginning))
            .map(|(_, times)| times)
            .sum()
    }

    /// Waits until so many more were answered so.
    #[track_caller]
    pub(crate) fn answered(&self, beginning: &str, more: usize) {
        let goal = self.answers(beginning) + more;
        eventually(PATIENCE, || (self.answers(beginning) >= goal).then_some(()));
    }

    /// The clocks of half of the senders are ahead by so many seconds.
    pub(crate) fn set_clocks(&self, ahead: i64) {
        self.watched.ahead.store(ahead, Ordering::Relaxed);
    }

    /// Ends. Nobody begins with another event, and each has its last one acknowledged before.
    #[track_caller]
    pub(crate) fn finish(self) -> Vec<Sent> {
        self.watched.stop.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        for sender in self.senders {
            sent.extend(sender.join().expect("the sender has said why"));
        }
        let mut told = String::new();
        for (answer, times) in &*self.watched.answers.lock().unwrap() {
            write!(told, "  {answer}: {times}").unwrap();
        }
        eprintln!("answers:{told}");
        sent
    }
}

struct Sender {
    number: u64,
    seed: u64,
    chance: Chance,
    producer: Producer,
    connection: Option<Connection>,
    padding: String,
    sent: Vec<Sent>,
    /// How many of the events that all senders have to tell this one has told.
    shared: u64,
    watched: Arc<Watched>,
}

impl Sender {
    fn run(mut self) -> Vec<Sent> {
        let mut deliveries = 0;
        while !self.watched.stop.load(Ordering::Relaxed) {
            let index = self.choose();
            self.deliver(index);
            deliveries += 1;
            if deliveries > AT_FULL_SPEED {
                thread::sleep(Duration::from_millis(20));
            }
        }
        self.sent
    }

    /// The next delivery: mostly a new event; one that others tell as well, and perhaps with another body; one that was
    /// told before, with its body or with another.
    fn choose(&mut self) -> usize {
        let known = self.sent.len() as u64;
        let (told, note) = match self.chance.below(20) {
            0..=2 => {
                self.shared += 1;
                let mut same = Chance(self.seed ^ self.shared << 20);
                let contested = same.once_in(3);
                let told = Told::by_chance(format!("evt_shared_{}", self.shared), &mut same);
                let note = if contested { self.number % 2 } else { 0 };
                (told, note)
            }
            3..=4 if known > 0 => return self.chance.below(known) as usize,
            5 if known > 0 => {
                let index = self.chance.below(known) as usize;
                let id = self.sent[index].told.id.clone();
                (
                    Told::by_chance(id, &mut self.chance),
                    100 + self.number * 10_000 + known,
                )
            }
            _ => {
                let id = format!("evt_{}_{known}", self.number);
                (Told::by_chance(id, &mut self.chance), 0)
            }
        };
        let body = told.body(&format!("{note}{}", self.padding));
        self.sent.push(Sent {
            told,
            body,
            attempts: 0,
            acknowledged: 0,
        });
        self.sent.len() - 1
    }

    /// Delivers it until it is acknowledged.
    fn deliver(&mut self, index: usize) {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.attempt(index);
            let name = match &answer {
                Ok(answer) => match answer.problem() {
                    Some(problem) => format!("{} {problem}", answer.status),
                    None => answer.status.to_string(),
                },
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    "no connection".to_owned()
                }
                Err(_) => "cut".to_owned(),
            };
            *self
                .watched
                .answers
                .lock()
                .unwrap()
                .entry(name.clone())
                .or_default() += 1;
            if answer.is_ok_and(|answer| (200..300).contains(&answer.status)) {
                self.sent[index].acknowledged += 1;
                self.watched.acknowledged.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let sent = &self.sent[index];
            assert!(
                Instant::now() < end,
                "not acknowledged within {PATIENCE:?}: {:?}, the last answer was {name}",
                sent.told
            );
            // A provider waits before it comes again, if not for as long as real ones do.
            thread::sleep(Duration::from_millis(5 + self.chance.below(30)));
        }
    }

    fn attempt(&mut self, index: usize) -> io::Result<Answer> {
        let ahead = if self.number.is_multiple_of(2) {
            self.watched.ahead.load(Ordering::Relaxed)
        } else {
            0
        };
        let request = self.producer.signed_at(
            unix_now().saturating_add_signed(ahead),
            &self.sent[index].body,
        );
        let kept = self
            .connection
            .take()
            .and_then(|mut connection| connection.is_open().then_some(connection));
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.producer.connect()?,
        };
        self.sent[index].attempts += 1;
        let answer = connection.exchange(&request)?;
        if !answer.closes() {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}
