//! `countersign events replay`: the ledger made anew from the kept bodies, with today's mapping.

use clap::Args;
use jiff::Timestamp;

use super::interrupt::Interruptible;
use super::output::{Outcome, Table, complain, failed, json_line, parse_since, say};
use super::runtime::on_this_thread;
use super::{of_store, progress, unusable};
use crate::config::{Config, ConfigFile, Environment, Snapshot};
use crate::store::{
    Mappings, OnProgress, PaymentState, Replay, ReplayFailure, ReplayMode, Replayed,
};
use crate::text::printable;

/// Skipped payments, and events that are not rebuilt, that are named for a person; `--json` names them all.
const SKIPPED_MAX: usize = 100;

/// Read kept events again with today's mapping, and make the payments that they speak of anew
#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    /// Events that came at or after this time: RFC 3339, or an age such as 15m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Timestamp,
    /// Only this tenant's
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Only this producer's
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// Print what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON Lines: each changed payment, then the summary
    #[arg(long)]
    json: bool,
}

impl ReplayArguments {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let config = match Config::load(place, environment, Timestamp::now()) {
            Ok(config) => config,
            Err(faults) => return unusable(&faults),
        };
        let mappings = mappings(&config.snapshot);
        if let Some(unknown) = self.unknown(&config.snapshot) {
            complain(&format!("countersign: {}", printable(&unknown)));
            return Outcome::Failed;
        }
        let replay = Replay {
            since: self.since,
            tenant: self.tenant.clone(),
            producer: self.producer.clone(),
            mode: if self.dry_run {
                ReplayMode::DryRun
            } else {
                ReplayMode::Commit
            },
        };
        let bar = progress::bar("{bar:40} {pos}/{len} events  {eta} left");
        let told: OnProgress = Box::new({
            let bar = bar.clone();
            move |read, total| {
                bar.set_length(total);
                bar.set_position(read);
            }
        });
        let url = config.store.url.clone();
        let outcome = Interruptible::listen().and_then(|interruptible| {
            let runtime = on_this_thread()?;
            interruptible.run(move |_stop| runtime.block_on(replay.run(&url, mappings, told)))
        });
        bar.finish_and_clear();
        match outcome {
            Ok(Some(Ok(replayed))) => {
                self.print(&replayed);
                Outcome::Done
            }
            Ok(Some(Err(ReplayFailure::Store(fault)))) => of_store(&fault),
            Ok(Some(Err(failure))) => failed(&failure),
            Ok(None) => {
                complain(if self.dry_run {
                    "countersign: interrupted; nothing was changed"
                } else {
                    "countersign: interrupted; the ledger is changed at once or not at all, in all likelihood not: replay again"
                });
                Outcome::Failed
            }
            Err(error) => failed(&error),
        }
    }

    /// What was named and is not in the configuration: its events could not be read.
    fn unknown(&self, snapshot: &Snapshot) -> Option<String> {
        let is = |wanted: &Option<String>, name: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == name)
        };
        let (mut tenant_known, mut producer_known) = (false, false);
        for producer in snapshot.directory().producers() {
            let of_tenant = is(&self.tenant, producer.tenant.as_str());
            let so_named = is(&self.producer, &producer.name);
            if of_tenant && so_named {
                return None;
            }
            tenant_known |= of_tenant;
            producer_known |= so_named;
        }
        let (tenant, producer) = (self.tenant.as_deref(), self.producer.as_deref());
        Some(
            match (tenant.unwrap_or_default(), producer.unwrap_or_default()) {
                (tenant, _) if !tenant_known => {
                    format!("there is no tenant \"{tenant}\" with a producer in the configuration")
                }
                (_, producer) if !producer_known => {
                    format!("there is no producer \"{producer}\" in the configuration")
                }
                (tenant, producer) => {
                    format!(
                        "tenant \"{tenant}\" has no producer \"{producer}\" in the configuration"
                    )
                }
            },
        )
    }

    fn print(&self, replayed: &Replayed) {
        if self.json {
            replayed.changes.iter().for_each(json_line);
            replayed.skipped.iter().for_each(json_line);
            replayed.not_rebuilt.iter().for_each(json_line);
            json_line(replayed);
            return;
        }
        if !replayed.changes.is_empty() {
            let mut table = Table::new(["TENANT", "PAYMENT", "BEFORE", "AFTER"]);
            for change in &replayed.changes {
                table.row([
                    change.tenant_id.clone(),
                    change.payment_id.clone(),
                    shown(change.before.as_ref()),
                    shown(change.after.as_ref()),
                ]);
            }
            table.print();
            say("");
        }
        let untold = replayed
            .payments_changed
            .saturating_sub(replayed.changes.len() as u64);
        if untold > 0 {
            say(&format!("and {untold} more payments"));
        }
        if replayed.payments_skipped > 0 {
            say(&format!(
                "{} payments are left as they are: of one of their events the body is not kept any more",
                replayed.payments_skipped
            ));
            for skipped in replayed.skipped.iter().take(SKIPPED_MAX) {
                say(&printable(&format!(
                    "  {} {}",
                    skipped.tenant_id, skipped.payment_id
                )));
            }
        }
        if replayed.events_not_rebuilt > 0 {
            say(&format!(
                "{} events are not what a new store would make of them; let their provider send them again where that counts",
                replayed.events_not_rebuilt
            ));
            for event in replayed.not_rebuilt.iter().take(SKIPPED_MAX) {
                say(&printable(&format!(
                    "  {} {} {}: {}",
                    event.tenant_id,
                    event.producer,
                    event.event_id,
                    event.not_rebuilt.in_words()
                )));
            }
        }
        say(&format!(
            "{} events read, {} of them otherwise than before, {} left as they are; {} payments {}",
            replayed.events_read,
            replayed.events_changed,
            replayed.events_left,
            replayed.payments_changed,
            if self.dry_run {
                "would change"
            } else {
                "changed"
            },
        ));
    }
}

/// The profile that reads each producer's events today.
fn mappings(snapshot: &Snapshot) -> Mappings {
    let mut mappings = Mappings::default();
    for producer in snapshot.directory().producers() {
        if let Some(verifier) = snapshot.verifier(producer.id) {
            let profile = std::sync::Arc::clone(verifier.profile());
            mappings.insert(producer.tenant.as_str(), &producer.name, profile);
        }
    }
    mappings
}

fn shown(state: Option<&PaymentState>) -> String {
    let Some(state) = state else {
        return "none".to_owned();
    };
    let number = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    format!(
        "{} {} {} refunded {} by {} events",
        state.status.as_deref().unwrap_or("-"),
        number(state.amount_minor),
        state.currency.as_deref().unwrap_or("-"),
        number(state.amount_refunded_minor),
        state.events,
    )
}
