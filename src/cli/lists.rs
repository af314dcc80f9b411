//! `countersign events`, `payments` and `refusals`: what the store holds.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{Outcome, Table, complain, failed, json_line, json_lines};
use super::replay::ReplayArguments;
use super::runtime::block_on;
use super::{LIMIT_DEFAULT, Selection, of_store, unusable};
use crate::config::{Config, ConfigFile, Environment};
use crate::store::{Cursor, EventView, Filter, Page, PaymentView, ReadFailure, RefusalView, Views};
use crate::text::printable;

/// What was received
#[derive(Debug, Args)]
pub(super) struct Events {
    #[command(subcommand)]
    command: EventsCommand,
}

/// What the payments have come to
#[derive(Debug, Args)]
pub(super) struct Payments {
    #[command(subcommand)]
    command: Lookup,
}

/// What was turned away
#[derive(Debug, Args)]
pub(super) struct Refusals {
    #[command(subcommand)]
    command: ListOnly,
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// List them, newest first
    List(Selection),
    /// Show one, whole
    Show {
        #[command(flatten)]
        which: Which,
        /// Only this producer's: two may use one id
        #[arg(long, value_name = "NAME")]
        producer: Option<String>,
    },
    /// Read kept events again with today's mapping, and make the payments that they speak of anew
    Replay(ReplayArguments),
}

#[derive(Debug, Subcommand)]
enum Lookup {
    /// List them, newest first
    List(Selection),
    /// Show one, whole
    Show(Which),
}

/// The one that is to be shown.
#[derive(Debug, Args)]
struct Which {
    /// Its id
    id: String,
    /// Only this tenant's
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum ListOnly {
    /// List them, newest first
    List(Selection),
}

impl Events {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        match self.command {
            EventsCommand::Replay(replay) => replay.run(place, environment),
            EventsCommand::List(selection) => with_views(place, environment, async |views| {
                let heads = [
                    "RECEIVED", "TENANT", "PRODUCER", "EVENT", "TYPE", "PAYMENT", "VERDICT",
                    "EFFECT", "AGAIN",
                ];
                let read = async |filter| views.events(filter).await;
                list(&selection, heads, event_row, read).await
            }),
            EventsCommand::Show { which, producer } => {
                with_views(place, environment, async |views| {
                    let tenant = which.tenant.as_deref();
                    let mut found = views.whole_events_by_id(tenant, &which.id).await?;
                    if let Some(name) = &producer {
                        found.retain(|event| event.shown.event.producer == *name);
                    }
                    let outcome = show(&found, &which, "event");
                    let whose = found.iter().map(|event| {
                        let EventView {
                            tenant_id,
                            producer,
                            ..
                        } = &event.shown.event;
                        format!("{producer} of {tenant_id}")
                    });
                    let mut whose: Vec<_> = whose.collect();
                    whose.dedup();
                    if whose.len() > 1 {
                        complain(&format!(
                            "countersign: {} have an event \"{}\", and this is the first one's: choose with --tenant and --producer",
                            printable(&whose.join(" and ")),
                            printable(&which.id)
                        ));
                    }
                    Ok(outcome)
                })
            }
        }
    }
}

impl Payments {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        with_views(place, environment, async |views| match self.command {
            Lookup::List(selection) => {
                let heads = [
                    "TENANT",
                    "PAYMENT",
                    "STATUS",
                    "AMOUNT (MINOR)",
                    "REFUNDED (MINOR)",
                    "CURRENCY",
                    "OCCURRED",
                    "LAST EVENT",
                    "EVENTS",
                ];
                list(&selection, heads, payment_row, async |filter| {
                    views.payments(filter).await
                })
                .await
            }
            Lookup::Show(which) => {
                let tenant = which.tenant.as_deref();
                let found = views.payments_by_id(tenant, &which.id).await?;
                let outcome = show(&found, &which, "payment");
                if found.len() > 1 {
                    complain(&format!(
                        "countersign: {} tenants have a payment \"{}\", and this is the first one's: choose with --tenant",
                        found.len(),
                        printable(&which.id)
                    ));
                }
                Ok(outcome)
            }
        })
    }
}

impl Refusals {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let ListOnly::List(selection) = self.command;
        with_views(place, environment, async |views| {
            let heads = [
                "LAST SEEN",
                "SINCE",
                "COUNT",
                "GATE",
                "REASON",
                "PRODUCER",
                "SUBJECT",
                "ADDRESS",
                "DETAIL",
            ];
            list(&selection, heads, refusal_row, async |filter| {
                views.refusals(filter).await
            })
            .await
        })
    }
}

pub(super) fn with_views(
    place: &ConfigFile,
    environment: &Environment,
    command: impl AsyncFnOnce(&Views) -> Result<Outcome, ReadFailure>,
) -> Outcome {
    let store = match Config::load_store(place, environment) {
        Ok(store) => store,
        Err(faults) => return unusable(&faults),
    };
    block_on(async {
        match Views::open(&store.url) {
            Ok(views) => command(&views)
                .await
                .unwrap_or_else(|failure| match failure {
                    ReadFailure::Store(fault) => of_store(&fault),
                    failure @ (ReadFailure::Statement { .. }
                    | ReadFailure::TookTooLong { .. }
                    | ReadFailure::BrokenOff) => failed(&failure),
                }),
            Err(fault) => of_store(&fault),
        }
    })
}

/// Prints page after page until the limit is met.
async fn list<T: Serialize, const N: usize>(
    selection: &Selection,
    heads: [&str; N],
    row: impl Fn(&T) -> [String; N],
    read: impl AsyncFn(Filter) -> Result<Page<T>, ReadFailure>,
) -> Result<Outcome, ReadFailure> {
    let mut table = Table::new(heads);
    let mut left = if selection.limit == 0 {
        u64::MAX
    } else {
        selection.limit
    };
    let mut after: Option<Cursor> = None;
    while left > 0 {
        let limit = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(Filter::LIMIT_MAX);
        let filter = Filter {
            tenant: selection.tenant.clone(),
            since: selection.since,
            after,
            limit,
        };
        let page = read(filter).await?;
        left = left.saturating_sub(page.items.len() as u64);
        for item in &page.items {
            if selection.json {
                json_line(item)
            } else {
                table.row(row(item))
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if !selection.json {
        table.print();
        if after.is_some() && selection.limit == LIMIT_DEFAULT {
            complain(&format!(
                "countersign: these are the newest {LIMIT_DEFAULT}; --limit 0 lists all"
            ));
        }
    }
    Ok(Outcome::Done)
}

/// Prints what was found under an id; several only where several tenants or producers have it.
fn show<T: Serialize>(found: &[T], which: &Which, what: &str) -> Outcome {
    if found.is_empty() {
        complain(&format!(
            "countersign: there is no {what} \"{}\"",
            printable(&which.id)
        ));
        return Outcome::Failed;
    }
    // Accepted before conflicts: the first is what the id stands for.
    if let Some(object) = found.first() {
        if which.json {
            json_line(object);
        } else {
            json_lines(object);
        }
    }
    Outcome::Done
}

fn text(value: Option<&String>) -> String {
    value.cloned().unwrap_or_else(|| "-".to_owned())
}

fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn event_row(event: &EventView) -> [String; 9] {
    [
        format!("{:.0}", event.received_at.0),
        event.tenant_id.clone(),
        event.producer.clone(),
        event.event_id.clone(),
        text(event.kind.as_ref()),
        text(event.payment_id.as_ref()),
        event.verdict.to_owned(),
        effect(event),
        event.duplicates.to_string(),
    ]
}

fn effect(event: &EventView) -> String {
    let effect = event.effect.unwrap_or("-");
    if event.fetch_needed {
        format!("{effect}, fetch needed")
    } else {
        effect.to_owned()
    }
}

fn payment_row(payment: &PaymentView) -> [String; 9] {
    [
        payment.tenant_id.clone(),
        payment.payment_id.clone(),
        text(payment.status.as_ref()),
        number(payment.amount_minor),
        number(payment.amount_refunded_minor),
        text(payment.currency.as_ref()),
        payment
            .occurred_at
            .as_ref()
            .map_or_else(|| "-".to_owned(), |time| format!("{:.0}", time.0)),
        text(payment.last_event_id.as_ref()),
        payment.events.to_string(),
    ]
}

fn refusal_row(refusal: &RefusalView) -> [String; 9] {
    [
        format!("{:.0}", refusal.last_seen.0),
        format!("{:.0}", refusal.first_seen.0),
        refusal.count.to_string(),
        refusal.gate.clone(),
        refusal.reason.clone(),
        text(refusal.producer.as_ref()),
        text(refusal.subject.as_ref()),
        refusal.address.clone(),
        text(refusal.detail.as_ref()),
    ]
}
