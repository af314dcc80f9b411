//! `countersign send`: signed deliveries over mutual TLS, as the provider would make them; or, on request, not quite.
//!
//! The exit code is 0 if every delivery was accepted (2xx), and 1 if any was not: also one that was tampered with
//! on request, whose refusal is what one hopes to see, or where it was interrupted. It is 2 if none could be made of what was given.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::burst::{Answer, Burst, Pace, Sent};
use super::called;
use super::interrupt;
use super::output::{Outcome, complain, json_line, say};
use super::provider::Provider;
use super::runtime::block_on;
use super::sample::{self, Tale};
use super::sender::{self, Author, Delivery, Stopped};
use super::tamper::Tamper;
use super::unusable;
use crate::config::{ConfigFile, Environment};
use crate::signature::{Facts, Profile};
use crate::text::printable;

/// How many deliveries are told of one by one.
const TOLD_MAX: usize = 12;
/// How many deliveries one command makes, at the most.
const DELIVERIES_MAX: u32 = 10_000_000;

/// Send signed deliveries over mutual TLS, as a provider would
///
/// Exit code 0 if every delivery was accepted, 1 if any was not (also one that was tampered with on request), 2 if none
/// could be made of what was given. Ctrl-C stops it and prints what there is (exit code 1).
#[derive(Debug, Args)]
pub(super) struct Send {
    #[command(flatten)]
    provider: Provider,
    /// The body; default: a realistic one of the profile, with a fresh id
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The event's type in the provider's words [default: a payment that succeeded]; beside --body only where a header bears it
    #[arg(long, value_name = "TYPE")]
    event: Option<String>,
    /// How many deliveries, each with an id of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(DELIVERIES_MAX)))]
    times: u32,
    /// How many a second, whatever the receiver does; each is timed from when it was due. Default: as fast as it answers
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    rate: Option<f64>,
    /// How many connections, each kept alive [default: 1; with --rate 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: Option<u16>,
    /// Change this after signing, so that a receiver must refuse the delivery
    #[arg(long, value_name = "WHAT")]
    tamper: Option<Tamper>,
    /// Send each delivery a second time, byte for byte
    #[arg(long)]
    replay: bool,
    /// Send all events of a payment in shuffled order (of --times payments)
    #[arg(long, conflicts_with_all = ["body", "event"])]
    out_of_order: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Send {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        block_on(async {
            match self.deliver(place, environment).await {
                Ok(sent) => {
                    self.print(&sent);
                    if sent.all_accepted() {
                        Outcome::Done
                    } else {
                        Outcome::Failed
                    }
                }
                Err(Stopped::Unusable(faults)) => unusable(&faults),
                // Whatever a delivery comes to is told with it: this is what could not be used to make one.
                Err(Stopped::Failed(text)) => {
                    complain(&format!("countersign: {text}"));
                    Outcome::Unusable
                }
            }
        })
    }

    async fn deliver(
        &self,
        place: &ConfigFile,
        environment: &Environment,
    ) -> Result<Sent, Stopped> {
        let author = self.provider.author(place, environment)?;
        if let Some(kind) = &self.event
            && self.body.is_none()
            && !sample::knows(&author.profile, kind)
        {
            return Err(sender::no_sample(&author.profile, kind));
        }
        if let (Some(_), Some(kind)) = (&self.body, &self.event)
            && !sample::bears_the_type(&author.profile)
        {
            return Err(Stopped::Failed(format!(
                "--event {}: the profile \"{}\" takes the type from the body; write it into the --body FILE, and leave --event out",
                printable(kind),
                author.profile.name(),
            )));
        }
        let body = match &self.body {
            Some(path) => Some(Bytes::from(sender::read_given(path, "the body")?)),
            None => None,
        };
        let connector = self.provider.connector(place)?;

        let order = self.order(&author)?;
        if let Some(kind) = &self.event {
            let first = self.write(&author, &order, body.as_ref(), 0)?;
            if let Some(facts) = author.facts(&first) {
                hint(&author.profile, kind, &facts);
            }
        }
        let burst = Burst {
            connector: &connector,
            target: &author.target,
            pace: Pace {
                per_second: self.rate,
                connections: self.connections.unwrap_or(match self.rate {
                    Some(_) => 16,
                    None => 1,
                }),
            },
            again: self.replay,
            told_max: TOLD_MAX,
        };
        burst
            .run(order.len(), &interrupt::listen()?, |at| {
                self.write(&author, &order, body.as_ref(), at)
            })
            .await
    }

    /// Which event each delivery tells: its place among those of its payment, where they are several.
    fn order(&self, author: &Author) -> Result<Vec<Planned>, Stopped> {
        let times = usize::try_from(self.times).unwrap_or(usize::MAX);
        if !self.out_of_order {
            return Ok(vec![Planned::Fresh; times]);
        }
        let kinds = sample::story(&author.profile);
        let mut order = Vec::new();
        for _ in 0..times {
            let payment = sender::fresh_id("pay")?;
            let ids = kinds
                .iter()
                .map(|_| sender::fresh_id("evt"))
                .collect::<Result<Vec<_>, _>>()?;
            let mut tales = sample::tales(&kinds, &payment, &ids, Timestamp::now());
            shuffle(&mut tales)?;
            order.extend(tales.into_iter().map(Planned::Told));
        }
        Ok(order)
    }

    fn write(
        &self,
        author: &Author,
        order: &[Planned],
        body: Option<&Bytes>,
        at: usize,
    ) -> Result<Delivery, Stopped> {
        let now = Timestamp::now();
        let delivery = match (order.get(at), body) {
            (Some(Planned::Told(tale)), _) => author.tell(tale, now)?,
            (Some(Planned::Fresh) | None, Some(body)) => {
                let id = sender::fresh_id("evt")?;
                author.write(body.clone(), self.event.as_deref(), &id, now)?
            }
            (Some(Planned::Fresh) | None, None) => {
                let usual = sample::usual_kind(&author.profile).unwrap_or("*");
                let id = sender::fresh_id("evt")?;
                let tale = Tale {
                    kind: self.event.as_deref().unwrap_or(usual).to_owned(),
                    payment: id.replacen("evt", "pay", 1),
                    id,
                    at: now,
                };
                author.tell(&tale, now)?
            }
        };
        match self.tamper {
            Some(tamper) => tamper
                .with(&delivery, &author.profile, now)
                .map_err(|nothing| Stopped::Failed(format!("{nothing}; choose another --tamper"))),
            None => Ok(delivery),
        }
    }

    fn print(&self, sent: &Sent) {
        if let [answer] = sent.told.as_slice()
            && sent.deliveries == 1
            && !sent.was_interrupted()
        {
            self.print_one(answer);
            return;
        }
        if self.json {
            json_line(&sent.summary());
            return;
        }
        if sent.deliveries <= TOLD_MAX {
            for answer in &sent.told {
                say(&answer.line());
            }
            say("");
        }
        sent.print();
    }

    fn print_one(&self, answer: &Answer) {
        let id = self.body.is_none().then_some(&answer.event_id);
        let (status, text, request_id) = match &answer.outcome {
            Ok(answered) => {
                let text = String::from_utf8_lossy(&answered.body).into_owned();
                let request_id = answered
                    .headers
                    .get("x-request-id")
                    .and_then(|value| value.to_str().ok());
                (Some(answered.status), text, request_id)
            }
            Err(told) => {
                if self.json {
                    json_line(&json!({ "status": null, "event_id": id, "error": told }));
                } else {
                    complain(&format!("countersign: {}", printable(told)));
                }
                return;
            }
        };
        if self.json {
            json_line(&json!({
                "status": status.map(|status| status.as_u16()),
                "event_id": id,
                "request_id": request_id,
                "body": text,
            }));
            return;
        }
        if let Some(status) = status {
            say(&format!("{status}"));
            if status.is_success() {
                let id = &answer.event_id;
                say(&format!(
                    "event {id}: see it with: {} events show {id}",
                    called::as_typed()
                ));
            }
        }
        if !text.is_empty() {
            say(&printable(&text));
        }
    }
}

/// Says so where an event of this type moves no payment on: it is answered as any other, and may be a slip of the pen.
fn hint(profile: &Profile, kind: &str, facts: &Facts) {
    let what = match &facts.payment {
        Err(_) => "no payment: such an event is kept, and unmapped",
        Ok(payment) if payment.status.is_none() => {
            "no status: such an event leaves its payment's as it is"
        }
        Ok(_) => return,
    };
    let (name, kind) = (profile.name(), printable(kind));
    complain(&format!(
        "countersign: the profile \"{name}\" maps the type \"{kind}\" to {what}"
    ));
}

/// What a delivery is to tell.
#[derive(Clone, Debug)]
enum Planned {
    /// An event of its own.
    Fresh,
    /// This one.
    Told(Tale),
}

/// Into another order than they are in, if there are two at least (Fisher and Yates).
fn shuffle(tales: &mut [Tale]) -> Result<(), Stopped> {
    for last in (1..tales.len()).rev() {
        let mut random = [0_u8; 4];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_unspecified| Stopped::because("the random number generator failed"))?;
        let random = usize::try_from(u32::from_le_bytes(random)).unwrap_or(0);
        tales.swap(last, random % (last + 1));
    }
    if tales.is_sorted_by_key(|tale| tale.at) && tales.len() > 1 {
        tales.reverse();
    }
    Ok(())
}

pub(super) fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1_000_000.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err(format!(
            "\"{text}\" is no rate; write deliveries per second, from 0.001 to 1000000"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffled_story_is_never_in_order() {
        for events in 2..6 {
            let kinds = vec!["x".to_owned(); events];
            let ids: Vec<String> = (0..events).map(|at| at.to_string()).collect();
            let mut tales = sample::tales(&kinds, "pay_1", &ids, Timestamp::now());
            assert!(tales.is_sorted_by_key(|tale| tale.at));
            assert!(shuffle(&mut tales).is_ok());
            assert!(!tales.is_sorted_by_key(|tale| tale.at));
        }
    }
}
