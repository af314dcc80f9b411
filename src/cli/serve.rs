//! `countersign serve` and `countersign migrate`.

use std::io;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use tokio::runtime::Runtime;

use super::faults::{MEND_STORE, fault_of_listening, key_of};
use super::output::{self, Outcome, failed, json_line, say};
use super::runtime::{block_on, on_every_core};
use super::{of_store, unusable};
use crate::config::{Config, ConfigFile, Environment};
use crate::server::{self, Announced, Prelude, ServeFailure, Signals, Start};
use crate::store::Store;

/// How long work off the runtime's threads may take once the receiver has ended.
const ABANDONED_AFTER: Duration = Duration::from_secs(1);

/// Serves by the configuration until it is told to stop.
pub(super) fn run(place: &ConfigFile, environment: &Environment) -> Outcome {
    let _log = output::log(environment);
    let ground = match Ground::lay() {
        Ok(ground) => ground,
        Err(error) => return failed(&error),
    };
    match Config::load(place, environment, Timestamp::now()) {
        Ok(config) => serve(ground, config, place, environment, |_announced| {}),
        Err(faults) => unusable(&faults),
    }
}

/// What a receiver's process stands on before its configuration is read.
pub(super) struct Ground {
    prelude: Prelude,
    runtime: Runtime,
    signals: Signals,
}

impl Ground {
    /// To be called once, while the process has one thread.
    pub(super) fn lay() -> io::Result<Self> {
        let prelude = Prelude::begin()?;
        let runtime = on_every_core()?;
        let signals = {
            let _within = runtime.enter();
            Signals::listen()?
        };
        Ok(Self {
            prelude,
            runtime,
            signals,
        })
    }
}

/// Serves a configuration that was loaded; `more` is called once deliveries are accepted.
pub(super) fn serve(
    ground: Ground,
    config: Config,
    place: &ConfigFile,
    environment: &Environment,
    more: impl FnOnce(Announced),
) -> Outcome {
    let Ground {
        prelude,
        runtime,
        signals,
    } = ground;
    let start = Start {
        config,
        file: place.clone(),
        environment: environment.clone(),
        prelude,
        signals,
    };
    let served = runtime.block_on(server::serve(start, |announced| {
        say(&format!(
            "countersign: listening on https://{}",
            announced.server
        ));
        say(&format!("countersign: admin on http://{}", announced.admin));
        more(announced);
    }));
    // Work that came to no end in its time must not keep the process: whoever stopped it waits.
    runtime.shutdown_timeout(ABANDONED_AFTER);
    match served {
        Ok(()) => Outcome::Done,
        // A store that can't be opened is a matter of the configuration.
        Err(ServeFailure::Store { source }) => {
            let mend = source.mend().unwrap_or_else(|| MEND_STORE.to_owned());
            let what = format!("the store cannot be opened: {}", source.what_with_causes());
            let key = key_of(&source);
            unusable(&[Config::fault_of(place, environment, key, what, mend)])
        }
        Err(ServeFailure::Listen(failure)) => {
            let fault = fault_of_listening(&failure, place, environment);
            output::complain(&format!("countersign: {fault}"));
            Outcome::Failed
        }
        Err(failure) => failed(&failure),
    }
}

/// Bring the store's schema up to date, and nothing else
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Migrate {
    pub(super) fn run(self, place: &ConfigFile, environment: &Environment) -> Outcome {
        let _log = output::log(environment);
        let store = match Config::load_store(place, environment) {
            Ok(store) => store,
            Err(faults) => return unusable(&faults),
        };
        block_on(async {
            match Store::migrate(&store.url).await {
                Ok(()) => {
                    if self.json {
                        json_line(&json!({ "store": store.url.to_string(), "up_to_date": true }));
                    } else {
                        say(&format!("{}: the schema is up to date", store.url));
                    }
                    Outcome::Done
                }
                Err(fault) => of_store(&fault),
            }
        })
    }
}
