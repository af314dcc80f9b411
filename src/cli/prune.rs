//! `countersign prune`: what has had its time goes now, or is told of.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::output::{Outcome, Table, complain, failed, json_line, say};
use super::runtime::block_on;
use super::{of_store, unusable};
use crate::config::{Config, ConfigFile, Environment};
use crate::store::{
    Clock, DiskUse, Millis, Prune, PruneFailure, Pruned, ReadFailure, Tally, Url, Views,
};
use crate::text::printable;

/// Delete the bodies and events that are past [store.retention], also beside a running receiver
///
/// A receiver does this by itself, each minute. SQLite's file does not shrink: what becomes free is used again.
#[derive(Debug, Args)]
pub(super) struct PruneCommand {
    /// Print what would be pruned, and prune nothing
    #[arg(long)]
    dry_run: bool,
    /// Only this tenant's
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Take the clock's word even where it is days ahead of the last event in the store
    #[arg(long)]
    trust_clock: bool,
    /// Print JSON Lines: each tenant, then the summary
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct OfTenant<'a> {
    tenant_id: &'a str,
    #[serde(flatten)]
    tally: &'a Tally,
}

#[derive(Serialize)]
struct Summary {
    dry_run: bool,
    #[serde(flatten)]
    total: Tally,
    as_of: Option<Millis>,
    held_back: bool,
    disk: DiskUse,
}

impl PruneCommand {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let (store, retention) = match Config::load_retention(place, environment) {
            Ok(loaded) => loaded,
            Err(faults) => return unusable(&faults),
        };
        let prune = Prune {
            tenant: self.tenant.clone(),
            clock: if self.trust_clock {
                Clock::Trusted
            } else {
                Clock::Doubted
            },
        };
        let now = Timestamp::now();
        block_on(async {
            let outcome = if self.dry_run {
                prune.rehearse(&store.url, &retention, now).await
            } else {
                prune.run(&store.url, &retention, now).await
            };
            let pruned = match outcome {
                Ok(pruned) => pruned,
                Err(PruneFailure::Store(fault) | PruneFailure::Read(ReadFailure::Store(fault))) => {
                    return of_store(&fault);
                }
                Err(failure) => return failed(&failure),
            };
            if let Some(tenant) = &self.tenant
                && pruned.tenants.is_empty()
                && !retention.names(tenant)
            {
                complain(&format!(
                    "countersign: there is no tenant \"{}\"",
                    printable(tenant)
                ));
                return Outcome::Failed;
            }
            let disk = match Views::open(&store.url) {
                Ok(views) => views.disk_use().await,
                Err(fault) => return failed(&fault),
            };
            let disk = match disk {
                Ok(disk) => disk,
                Err(failure) => return failed(&failure),
            };
            if !retention.is_limited() {
                complain("countersign: [store.retention] keeps everything for ever: nothing goes");
            }
            self.print(&pruned, disk, &store.url);
            if pruned.held_back {
                complain(&format!(
                    "countersign: the clock is days ahead of the last event in the store, so only what would have gone by {} {}; \
                     if the clock is right: --trust-clock",
                    Millis(pruned.believed.unwrap_or_default()),
                    if self.dry_run { "would go" } else { "went" },
                ));
            }
            if pruned.left_for_later {
                complain(
                    "countersign: somebody else is at it, a receiver that prunes or a long reader: the rest is left for another time",
                );
                return Outcome::Failed;
            }
            Outcome::Done
        })
    }

    fn print(&self, pruned: &Pruned, disk: DiskUse, url: &Url) {
        let total = pruned.total();
        if self.json {
            for (tenant_id, tally) in &pruned.tenants {
                json_line(&OfTenant { tenant_id, tally });
            }
            json_line(&Summary {
                dry_run: self.dry_run,
                total,
                as_of: pruned.believed.map(Millis),
                held_back: pruned.held_back,
                disk,
            });
            return;
        }
        let mut table = Table::new(["TENANT", "BODIES", "EVENTS", "KEYS", "BYTES"]);
        for (tenant, tally) in &pruned.tenants {
            table.row([
                tenant.clone(),
                tally.bodies.to_string(),
                tally.events.to_string(),
                tally.keys.to_string(),
                tally.bytes.to_string(),
            ]);
        }
        table.print();
        say("");
        say(&format!(
            "{} bodies, {} events and {} keys {}; {} bytes of bodies and headers",
            total.bodies,
            total.events,
            total.keys,
            if self.dry_run { "would go" } else { "went" },
            total.bytes,
        ));
        say(&format!("{url}: {}", taken(disk)));
    }
}

fn taken(disk: DiskUse) -> String {
    let mut text = format!("{} bytes on disk", disk.store);
    if let Some(bodies) = disk.bodies {
        text.push_str(&format!(", {bodies} of them bodies"));
    }
    if let Some(free) = disk.free {
        text.push_str(&format!(", {free} of them free"));
    }
    if let Some(log) = disk.log {
        text.push_str(&format!(", and {log} in its log"));
    }
    text
}
