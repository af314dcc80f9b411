//! `countersign cutoff`: turns one peer away by hand, at once, and lets it in again.

use clap::{ArgGroup, Args};
use jiff::Timestamp;
use serde_json::json;

use super::output::{self, Outcome, Table, complain, json_line, say};
use super::unusable;
use crate::config::{Config, ConfigFile, CutOff, CutOffs, Environment};
use crate::identity::TenantId;
use crate::x509::{Serial, SpkiPin};

/// Turn one peer away at once: handshakes, live connections, tickets; --lift lets it in again
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").args(["tenant", "producer", "serial", "spki", "list"]).multiple(true).required(true)))]
pub(super) struct Cutoff {
    /// All producers of this tenant; with --producer, the tenant whose producer it is
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// This producer
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// Certificates with this serial number, in hex, whoever issued them
    #[arg(long, value_name = "HEX", conflicts_with_all = ["tenant", "producer"])]
    serial: Option<Serial>,
    /// Certificates with this key: sha256:HEX, as `certs inspect` prints it
    #[arg(long, value_name = "PIN", conflicts_with_all = ["tenant", "producer", "serial"])]
    spki: Option<SpkiPin>,
    /// Let it in again
    #[arg(long, conflicts_with = "list")]
    lift: bool,
    /// List who is cut off
    #[arg(long, conflicts_with_all = ["tenant", "producer", "serial", "spki"])]
    list: bool,
    /// Print JSON Lines
    #[arg(long)]
    json: bool,
}

type Known = [(TenantId, Box<str>)];

impl Cutoff {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let (cut_offs, known) = match Config::load_cut_offs(place, environment) {
            Ok(loaded) => loaded,
            Err(faults) => return unusable(&faults),
        };
        if self.list {
            self.print(&cut_offs);
            return Outcome::Done;
        }
        let who = match self.who(&cut_offs, &known) {
            Ok(who) => who,
            Err(what) => {
                complain(&format!("countersign: {what}"));
                return Outcome::Failed;
            }
        };
        let mut changed = false;
        let edited = CutOffs::edit(cut_offs.path(), |list| {
            changed = if self.lift {
                list.lift(&who)
            } else {
                list.add(who.clone(), Timestamp::now())
            };
            changed
        });
        let cut_offs = match edited {
            Ok(cut_offs) => cut_offs,
            Err(fault) => {
                let (what, mend) = (output::chain(&fault), fault.mend());
                complain(&format!("countersign: {what}; {mend}"));
                return Outcome::Failed;
            }
        };
        if self.lift && !changed {
            complain(&format!("countersign: {who} is not cut off"));
            return Outcome::Failed;
        }
        let done = if self.lift {
            format!("{who} may connect again")
        } else {
            format!(
                "{who} is cut off; a receiver that runs takes it up within a second. Undo it with --lift"
            )
        };
        if self.json {
            self.print(&cut_offs);
        } else {
            say(&done);
        }
        Outcome::Done
    }

    /// Who is meant; a name that nobody has would cut nobody off.
    fn who(&self, cut_offs: &CutOffs, known: &Known) -> Result<CutOff, String> {
        if let Some(serial) = &self.serial {
            return Ok(CutOff::Serial(serial.clone()));
        }
        if let Some(pin) = self.spki {
            return Ok(CutOff::Key(pin));
        }
        let tenant = self.tenant.as_deref().map(TenantId::new);
        let Some(name) = self.producer.as_deref() else {
            let who = CutOff::Tenant(tenant.unwrap_or_else(|| TenantId::new("")));
            let exists = known
                .iter()
                .any(|(id, _)| CutOff::Tenant(id.clone()) == who);
            return if exists || (self.lift && cut_offs.has(&who)) {
                Ok(who)
            } else {
                Err(format!("there is no {who} in the configuration"))
            };
        };
        let listed = cut_offs
            .entries()
            .iter()
            .filter_map(|entry| match &entry.who {
                CutOff::Producer { tenant, name } if self.lift => Some((tenant, name)),
                CutOff::Producer { .. }
                | CutOff::Serial(_)
                | CutOff::Key(_)
                | CutOff::Tenant(_) => None,
            });
        let mut found: Vec<_> = known
            .iter()
            .map(|(tenant, name)| (tenant, name))
            .chain(listed)
            .filter(|(id, named)| {
                ***named == *name && tenant.as_ref().is_none_or(|tenant| tenant == *id)
            })
            .collect();
        found.sort();
        found.dedup();
        match found.as_slice() {
            [] => Err(format!("there is no producer {name} in the configuration")),
            [(tenant, name)] => Ok(CutOff::Producer {
                tenant: (*tenant).clone(),
                name: (*name).clone(),
            }),
            [_, _, ..] => {
                let tenants: Vec<_> = found.iter().map(|(id, _)| id.as_str()).collect();
                Err(format!(
                    "several tenants have a producer {name}: say which with --tenant ({})",
                    tenants.join(", ")
                ))
            }
        }
    }

    fn print(&self, cut_offs: &CutOffs) {
        let mut table = Table::new(["SINCE", "WHAT", "WHO"]);
        for entry in cut_offs.entries() {
            let (mut serial, mut spki, mut tenant_id, mut producer) = (None, None, None, None);
            let who = match &entry.who {
                CutOff::Serial(which) => serial.insert(which.to_string()).clone(),
                CutOff::Key(which) => spki.insert(which.to_string()).clone(),
                CutOff::Tenant(id) => tenant_id.insert(id.to_string()).clone(),
                CutOff::Producer { tenant, name } => {
                    tenant_id = Some(tenant.to_string());
                    producer = Some(name.to_string());
                    format!("{name} of {tenant}")
                }
            };
            if self.json {
                json_line(&json!({
                    "kind": entry.who.kind(),
                    "serial": serial,
                    "spki": spki,
                    "tenant_id": tenant_id,
                    "producer": producer,
                    "since": format!("{:.3}", entry.since),
                }));
            } else {
                let since = format!("{:.0}", entry.since);
                table.row([since, entry.who.kind().to_owned(), who]);
            }
        }
        if !self.json {
            table.print();
        }
    }
}
