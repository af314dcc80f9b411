//! `[store.retention]` and `[tenants.retention]`: what contradicts itself, and what counts for whom.

use countersign::config::{Config, ConfigFile, Environment};
use countersign::store::Keep;

use super::{TENANT, check, check_with, directory, load};

fn keep(bodies: u32, events: u32, dedupe: u32) -> Keep {
    let days = |days| (days > 0).then_some(days);
    Keep {
        bodies_days: days(bodies),
        events_days: days(events),
        dedupe_days: days(dedupe),
    }
}

fn tenant(id: &str, times: &str) -> String {
    let tenant = TENANT
        .replace("tenant-42", id)
        .replace("CN=p", &format!("CN={id}"));
    tenant.replacen(
        "[[tenants.producers]]",
        &format!("[tenants.retention]\n{times}\n[[tenants.producers]]"),
        1,
    )
}

#[test]
fn a_tenants_own_times_count_before_the_stores_each_by_itself() {
    let text = [
        "[store.retention]\nbodies_days = 30\nevents_days = 365\ndedupe_days = 400\n",
        &tenant("a", "bodies_days = 7"),
        &tenant("b", "bodies_days = 0\ndedupe_days = 0"),
        &tenant("c", "events_days = 0"),
        &TENANT.replace("CN=p", "CN=d"),
    ]
    .concat();
    let directory = directory();
    let variables = [
        ("COUNTERSIGN_STORE__RETENTION__BODIES_DAYS", "60"),
        ("COUNTERSIGN_TENANTS__2__RETENTION__BODIES_DAYS", "90"),
    ];
    let config = load(directory.path(), &text, &Environment::from(variables)).unwrap();
    assert_eq!(config.warnings, []);
    let retention = config.snapshot.retention();
    assert_eq!(retention.of("a"), keep(7, 365, 400));
    assert_eq!(retention.of("b"), keep(0, 365, 0));
    assert_eq!(retention.of("c"), keep(90, 0, 400));
    assert_eq!(retention.of("tenant-42"), keep(60, 365, 400));
    assert_eq!(
        retention.of("who is not configured any more"),
        keep(60, 365, 400)
    );
    // Pruning needs no certificate and no secret to know that.
    std::fs::remove_dir_all(directory.path().join("certs")).unwrap();
    let file = ConfigFile::Named(directory.path().join("countersign.toml"));
    let (_, alone) = Config::load_retention(&file, &Environment::from(variables)).unwrap();
    assert_eq!(&alone, retention);
}

#[test]
fn everything_is_kept_for_ever_unless_it_is_said_otherwise() {
    let directory = directory();
    let config = load(directory.path(), TENANT, &Environment::empty()).unwrap();
    assert_eq!(config.snapshot.retention().of("tenant-42"), Keep::default());
    assert!(!config.snapshot.retention().is_limited());
}

#[test]
fn times_that_contradict_each_other_are_faults() {
    let store = |times: &str| format!("{TENANT}[store.retention]\n{times}\n");
    check(
        &store("bodies_days = 31\nevents_days = 30"),
        &[
            "countersign.toml:8: store.retention.bodies_days: a body cannot outlive its event, which goes after 30 days; write 30 or less, or make events_days longer",
        ],
    );
    check(
        &store("bodies_days = -1\nevents_days = 36501\ndedupe_days = \"30d\""),
        &[
            "countersign.toml:8: store.retention.bodies_days: -1 is out of range; write whole days up to 36500, or 0 for ever",
            "countersign.toml:9: store.retention.events_days: 36501 is out of range; write whole days up to 36500, or 0 for ever",
            "countersign.toml:10: store.retention.dedupe_days: this text does not belong here; write a whole number",
        ],
    );
    check(
        &store("body_days = 30"),
        &["countersign.toml:8: store.retention.body_days: unknown key; did you mean bodies_days?"],
    );
    let both = |own: &str| format!("{}[store.retention]\nbodies_days = 90\n", tenant("t", own));
    check(
        &both("bodies_days = 60\nevents_days = 30"),
        &[
            "countersign.toml:4: tenants[0].retention.bodies_days: a body cannot outlive its event, which goes after 30 days; write 30 or less, or make events_days longer",
        ],
    );
    check(
        &both("events_days = 30"),
        &[
            "countersign.toml:4: tenants[0].retention.events_days: store.retention.bodies_days = 90 counts here too, and a body cannot outlive its event; write bodies_days = 30 or less beside it",
        ],
    );
    check_with(
        &both("bodies_days = 0"),
        [("COUNTERSIGN_TENANTS__0__RETENTION__EVENTS_DAYS", "-7")],
        &[
            "COUNTERSIGN_TENANTS__0__RETENTION__EVENTS_DAYS: tenants[0].retention.events_days: -7 is out of range; write whole days up to 36500, or 0 for ever",
        ],
    );
}

#[test]
fn what_counts_for_nothing_is_a_warning() {
    let warnings = |times: &str| -> Vec<String> {
        let directory = directory();
        let text = format!("{TENANT}[store.retention]\n{times}\n");
        let config = load(directory.path(), &text, &Environment::empty()).unwrap();
        config
            .warnings
            .iter()
            .map(|warning| format!("{}: {}", warning.key, warning.what))
            .collect()
    };
    assert_eq!(
        warnings("dedupe_days = 30"),
        ["store.retention.dedupe_days: counts for nothing while events are kept for ever"]
    );
    assert_eq!(
        warnings("events_days = 60\ndedupe_days = 30"),
        [
            "store.retention.dedupe_days: an event is recognised for as long as it is kept, which is 60 days"
        ]
    );
    assert_eq!(
        warnings("bodies_days = 30\nevents_days = 60\ndedupe_days = 60"),
        [""; 0]
    );
}
