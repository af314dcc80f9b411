//! Reloads: all or nothing, and noticed by themselves.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use countersign::config::{
    Config, ConfigFile, CutOffs, Environment, Fault, Live, Reloader, Snapshot, Watch,
};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{Authority, TENANT, directory, load, write};

/// The contract's bound.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// A receiver's configuration, without the receiver.
struct Running {
    directory: TempDir,
    reloader: Reloader,
    live: Live<Arc<Snapshot>>,
}

impl Running {
    fn start() -> Self {
        Self::start_in(directory(), TENANT)
    }

    fn start_in(directory: TempDir, text: &str) -> Self {
        let config = load(directory.path(), text, &Environment::empty()).unwrap();
        let file = ConfigFile::Named(directory.path().join("countersign.toml"));
        let reloader = Reloader::new(file, Environment::empty(), &config);
        let live = Live::new(config.snapshot);
        Self {
            directory,
            reloader,
            live,
        }
    }

    /// Reloads, and gives the keys of the new configuration's warnings.
    async fn reload(&self) -> Result<Vec<String>, Vec<Fault>> {
        let mut warnings = Vec::new();
        let take_up = |config: Config| {
            warnings.extend(config.warnings.into_iter().map(|warning| warning.key));
            self.live.swap(Arc::new(config.snapshot));
        };
        self.reloader.reload(Timestamp::now(), take_up).await?;
        Ok(warnings)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }
}

/// Its clock stands still while somebody works or a file is looked at, and jumps to the next deadline when all sleep.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
}

async fn noticed(watch: &mut Watch) {
    timeout(NOTICED_WITHIN, watch.changed())
        .await
        .expect("a change is noticed");
}

/// Nothing is noticed, however late.
async fn nothing_more_is_noticed(watch: &mut Watch) {
    let quiet = timeout(Duration::from_secs(60), watch.changed()).await;
    assert!(quiet.is_err(), "nothing has changed since");
}

#[test]
fn a_pipe_in_a_files_place_is_refused_and_waited_for_by_nobody() {
    // A reader that waits holds a paused clock up: here it must not.
    let real = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    real.block_on(async {
        let running = Running::start();
        for name in [
            "certs/producer.secret",
            "certs/server.key",
            "countersign.toml",
        ] {
            let (place, aside) = (running.path(name), running.path("aside"));
            fs::rename(&place, &aside).unwrap();
            let made = Command::new("mkfifo").arg(&place).status().unwrap();
            assert!(made.success());
            let reload = timeout(NOTICED_WITHIN, running.reload()).await;
            let faults = reload.expect("it waits for nobody").unwrap_err();
            let told = faults[0].to_string();
            let what = "is no file, but a pipe; put a file there, or name another one";
            assert!(told.contains(name) && told.ends_with(what), "{told}");
            fs::rename(&aside, &place).unwrap();
            running.reload().await.unwrap();
        }
    });
}

#[test]
fn a_reload_that_fails_changes_nothing_and_says_since_when() {
    runtime().block_on(async {
        let running = Running::start();
        let before = running.live.load().generation();
        write(
            &running.directory,
            "countersign.toml",
            format!("[server]\nlisten = 5\nx = 1\n{TENANT}"),
        );
        let faults = running.reload().await.unwrap_err();
        assert_eq!(faults.len(), 2);
        assert_eq!(running.live.load().generation(), before);
        let status = running.reloader.status();
        assert_eq!(status.faults, faults);
        let since = status.failing_since.unwrap();
        running.reload().await.unwrap_err();
        assert_eq!(running.reloader.status().failing_since, Some(since));

        write(&running.directory, "countersign.toml", TENANT);
        running.reload().await.unwrap();
        assert!(running.live.load().generation() > before);
        let status = running.reloader.status();
        assert_eq!((status.failing_since, status.faults), (None, Vec::new()));
    });
}

#[test]
fn what_only_a_restart_can_change_is_told_and_the_rest_is_taken_up() {
    runtime().block_on(async {
        let running = Running::start();
        let text = format!("[server]\nlisten = \"127.0.0.1:1\"\npaths = [\"/new\"]\n[store]\nurl = \"sqlite:other.db\"\n{TENANT}");
        write(&running.directory, "countersign.toml", text);
        let warnings = running.reload().await.unwrap();
        assert_eq!(warnings, ["server.listen", "store.url"]);
        assert!(running.live.load().accepts_path("/new"));
    });
}

#[test]
fn what_counts_only_after_a_restart_is_given_back_and_a_token_is_not_part_of_it() {
    runtime().block_on(async {
        let directory = directory();
        write(&directory, "admin.token", "first\n");
        let text = |more: &str| format!("[admin]\ntoken = \"file:admin.token\"\n{more}\n{TENANT}");
        let running = Running::start_in(directory, &text(""));
        let reload = async || {
            let mut told = Vec::new();
            let take_up = |config: Config| {
                let tokens = config.admin.tokens;
                told.extend(tokens.iter().map(|token| token.expose().to_vec()));
            };
            let needs_restart = running.reloader.reload(Timestamp::now(), take_up).await;
            (needs_restart.unwrap(), told)
        };
        write(&running.directory, "admin.token", "second\n");
        assert_eq!(reload().await, (Vec::new(), vec![b"second".to_vec()]));
        // A cut-off is taken up first, in what serves otherwise as it was: with the token of today.
        let cut_off = "[[cut_offs]]\nsince = \"2026-01-01T00:00:00Z\"\nserial = \"0a\"\n";
        std::fs::create_dir_all(running.path("data")).unwrap();
        write(&running.directory, "data/cutoffs.toml", cut_off);
        assert_eq!(reload().await, (Vec::new(), vec![b"second".to_vec(); 2]));
        let more = "[store]\nurl = \"sqlite:other.db\"";
        write(&running.directory, "countersign.toml", text(more));
        let (needs_restart, _) = reload().await;
        assert_eq!(needs_restart, ["store.url"]);
    });
}

#[test]
fn of_a_database_only_the_password_can_change_without_a_restart() {
    runtime().block_on(async {
        let directory = directory();
        write(&directory, "certs/store.password", "the first password of the database\n");
        let text = |user: &str, writers: u32| {
            format!(
                "[store]\nurl = \"postgres://{user}@db.example/inbox\"\npassword = \"file:certs/store.password\"\n\
                 [store.postgres]\nwriters = {writers}\n{TENANT}"
            )
        };
        let running = Running::start_in(directory, &text("app", 2));
        write(&running.directory, "certs/store.password", "the second password of the database\n");
        assert_eq!(running.reload().await.unwrap(), Vec::<String>::new());
        write(&running.directory, "countersign.toml", text("app", 3));
        assert_eq!(running.reload().await.unwrap(), ["store.postgres"]);
        write(&running.directory, "countersign.toml", text("other", 2));
        assert_eq!(running.reload().await.unwrap(), ["store.url"]);
    });
}

#[test]
fn a_key_that_comes_a_little_after_its_certificate_is_waited_for() {
    runtime().block_on(async {
        let running = Running::start();
        let server = Authority::new("Internal CA").issue_server();
        write(&running.directory, "certs/server.crt", &server.certificate);
        let (reloaded, ()) = tokio::join!(running.reload(), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            write(&running.directory, "certs/server.key", &server.key);
        });
        reloaded.unwrap();

        let another = Authority::new("Internal CA").issue_server();
        write(&running.directory, "certs/server.crt", &another.certificate);
        let faults = running.reload().await.unwrap_err();
        assert_eq!(faults[0].key, "tls.private_key");
    });
}

#[test]
fn every_way_to_change_a_file_is_noticed_once() {
    runtime().block_on(async {
        let running = Running::start();
        let mut watch = running.reloader.watch();
        nothing_more_is_noticed(&mut watch).await;

        // Written in place.
        write(
            &running.directory,
            "certs/producer.secret",
            "another-secret-of-thirty-two-byte\n",
        );
        noticed(&mut watch).await;
        running.reload().await.unwrap();
        nothing_more_is_noticed(&mut watch).await;

        // As editors do it.
        write(
            &running.directory,
            "certs/.new",
            "a-secret-of-thirty-two-bytes-len",
        );
        fs::rename(
            running.path("certs/.new"),
            running.path("certs/producer.secret"),
        )
        .unwrap();
        noticed(&mut watch).await;
        running.reload().await.unwrap();
        nothing_more_is_noticed(&mut watch).await;

        // The file itself, broken and mended.
        write(&running.directory, "countersign.toml", "[");
        noticed(&mut watch).await;
        running.reload().await.unwrap_err();
        nothing_more_is_noticed(&mut watch).await;
        write(&running.directory, "countersign.toml", TENANT);
        noticed(&mut watch).await;
        running.reload().await.unwrap();
        nothing_more_is_noticed(&mut watch).await;
    });
}

#[test]
fn a_file_that_a_failed_reload_missed_is_waited_for() {
    runtime().block_on(async {
        let running = Running::start();
        let mut watch = running.reloader.watch();
        let text = TENANT.replace("producer.secret", "later.secret");
        write(&running.directory, "countersign.toml", text);
        noticed(&mut watch).await;
        running.reload().await.unwrap_err();
        write(
            &running.directory,
            "certs/later.secret",
            "a-secret-of-thirty-two-bytes-len",
        );
        noticed(&mut watch).await;
        running.reload().await.unwrap();
    });
}

#[test]
fn the_symlink_swap_of_a_mounted_secret_is_noticed() {
    fn link(to: &Path, from: &Path) {
        std::os::unix::fs::symlink(to, from).unwrap();
    }
    runtime().block_on(async {
        // certs/producer.secret -> ..data/producer.secret, ..data -> ..v1
        let directory = directory();
        let certs = directory.path().join("certs");
        for version in ["..v1", "..v2"] {
            fs::create_dir(certs.join(version)).unwrap();
            let secret = format!("certs/{version}/producer.secret");
            write(
                &directory,
                &secret,
                format!("a-secret-of-thirty-two-bytes-{version}"),
            );
        }
        fs::remove_file(certs.join("producer.secret")).unwrap();
        link(Path::new("..v1"), &certs.join("..data"));
        link(
            Path::new("..data/producer.secret"),
            &certs.join("producer.secret"),
        );

        let running = Running::start_in(directory, TENANT);
        let mut watch = running.reloader.watch();
        link(Path::new("..v2"), &certs.join("..data_tmp"));
        fs::rename(certs.join("..data_tmp"), certs.join("..data")).unwrap();
        noticed(&mut watch).await;
        running.reload().await.unwrap();
    });
}

#[test]
fn a_cut_off_waits_for_no_file_to_settle_wherever_the_reload_put_it() {
    runtime().block_on(async {
        let running = Running::start();
        let mut watch = running.reloader.watch();
        let text = format!("[server]\ncutoffs = \"elsewhere.toml\"\n{TENANT}");
        write(&running.directory, "countersign.toml", text);
        running.reload().await.unwrap();
        for (cut_off, secret) in [
            ("[[cutoff]]\n", None),
            ("", Some("another-secret-of-thirty-two-byte")),
        ] {
            write(&running.directory, "elsewhere.toml", cut_off);
            if let Some(secret) = secret {
                write(&running.directory, "certs/producer.secret", secret);
            }
            let begun = tokio::time::Instant::now();
            noticed(&mut watch).await;
            // The clock stands still but for who sleeps.
            assert_eq!(begun.elapsed(), Duration::ZERO);
        }
    });
}

#[test]
fn a_value_is_swapped_whole() {
    let live = Live::new(1);
    assert_eq!(*live.swap(Arc::new(2)), 1);
    assert_eq!(*live.load(), 2);
}

#[test]
fn how_long_things_are_kept_follows_a_reload() {
    runtime().block_on(async {
        let running = Running::start();
        assert!(!running.live.load().retention().is_limited());
        let text = format!("{TENANT}[store.retention]\nbodies_days = 30\n");
        write(&running.directory, "countersign.toml", text);
        let warnings = running.reload().await.unwrap();
        assert_eq!(warnings, [""; 0]);
        let keep = running.live.load().retention().of("tenant-42");
        assert_eq!(keep.bodies_days, Some(30));
    });
}

#[test]
fn what_had_no_producers_may_go_without_and_who_is_replaced_is_not_gone() {
    runtime().block_on(async {
        let nobody = "[server]\npaths = [\"/a\"]\n";
        let running = Running::start_in(directory(), nobody);
        write(&running.directory, "countersign.toml", "");
        running.reload().await.unwrap();
        write(&running.directory, "countersign.toml", TENANT);
        running.reload().await.unwrap();
        let another = TENANT.replace("tenant-42", "tenant-43");
        write(&running.directory, "countersign.toml", &another);
        running.reload().await.unwrap();
        let before = running.live.load().generation();
        let empty_tenant = "[[tenants]]\nid = \"tenant-43\"\n";
        for text in ["", nobody, empty_tenant] {
            write(&running.directory, "countersign.toml", text);
            let faults = running.reload().await.unwrap_err();
            let told = faults[0].to_string();
            assert!(told.contains("tenants: no tenant is left"), "{told}");
            assert_eq!(running.live.load().generation(), before);
        }
        // Whoever means it restarts.
        load(running.directory.path(), nobody, &Environment::empty()).unwrap();
    });
}

#[test]
fn a_secret_that_was_cut_short_is_not_taken_for_another() {
    const OLD: &str = "5f3c1b0a9d8e7f6a5b4c3d2e1f0a9b8c";
    const NEXT: &str = "0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d";
    runtime().block_on(async {
        let running = Running::start();
        let write_secrets = |text: &str| write(&running.directory, "certs/producer.secret", text);
        for taken in [&format!("{OLD}\n"), &format!("{OLD}\n{NEXT}\n")] {
            write_secrets(taken);
            running.reload().await.unwrap();
        }
        let before = running.live.load().generation();
        for (cut, told) in [
            (
                &OLD[..20],
                "secret is the beginning of a secret that serves",
            ),
            (
                &format!("{OLD}\n{}", &NEXT[..9]),
                "secret#2 is the beginning",
            ),
            ("c2d1", "secret is so short that anybody could guess it"),
            (
                "whsec_c2d1",
                "secret is so short that anybody could guess it",
            ),
        ] {
            write_secrets(cut);
            let faults = running.reload().await.unwrap_err();
            assert_eq!(faults.len(), 1, "{faults:?}");
            let fault = faults[0].to_string();
            assert!(fault.contains(told), "{fault}");
            assert!(!fault.contains(cut), "{fault}");
            assert_eq!(faults[0].line, Some(6), "{fault}");
            assert_eq!(running.live.load().generation(), before);
            // Whoever means it restarts.
            load(running.directory.path(), TENANT, &Environment::empty()).unwrap();
        }
        for whole in [format!("{NEXT}\n"), format!("{NEXT}{OLD}\n")] {
            write_secrets(&whole);
            running.reload().await.unwrap();
        }
    });
}

#[test]
fn an_older_revocation_list_does_not_take_the_place_of_the_one_that_serves() {
    let directory = directory();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    write(&directory, "certs/other.crt", ca.pem());
    let list = |number: u8, revoked: &[u8]| {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, number),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from_slice(&[number]),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&Issuer::from_params(&params, &key)).unwrap();
        list.pem().unwrap()
    };
    let text =
        format!("[tls]\nclient_ca = [\"certs/other.crt\"]\ncrls = [\"certs/other.crl\"]\n{TENANT}");
    write(&directory, "certs/other.crl", list(1, &[5]));
    runtime().block_on(async {
        let running = Running::start_in(directory, &text);
        write(&running.directory, "certs/other.crl", list(3, &[5, 6]));
        running.reload().await.unwrap();
        let before = running.live.load().generation();

        write(&running.directory, "certs/other.crl", list(2, &[5]));
        let faults = running.reload().await.unwrap_err();
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let [fault] = &*told else { panic!("{told:?}") };
        for part in [
            "tls.crls[0]: the CRL in ",
            "certs/other.crl of 2026-01-02T00:00:00Z is older than the one that serves, of 2026-01-03T00:00:00Z",
            "would let in again a certificate that one revokes",
            "if the older one is meant, restart the receiver",
        ] {
            assert!(fault.contains(part), "{fault}");
        }
        assert_eq!(running.live.load().generation(), before);
        // Whoever means it restarts.
        load(running.directory.path(), &text, &Environment::empty()).unwrap();

        write(&running.directory, "certs/other.crl", list(4, &[6]));
        running.reload().await.unwrap();
    });
}

#[test]
fn a_list_of_cut_offs_that_is_lost_lets_nobody_in() {
    const CUT_OFF: &str = "[[cut_offs]]\nsince = \"2026-01-01T00:00:00Z\"\nserial = \"0a\"\n";
    runtime().block_on(async {
        let running = Running::start();
        let list = running.path("data/cutoffs.toml");
        fs::create_dir_all(running.path("data")).unwrap();
        // A list that cut nobody off may come and go.
        write(&running.directory, "data/cutoffs.toml", "");
        running.reload().await.unwrap();
        write(&running.directory, "data/cutoffs.toml", CUT_OFF);
        running.reload().await.unwrap();
        let cut_off = async |told: &str| {
            let faults = running.reload().await.unwrap_err();
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert_eq!(faults[0].key, "server.cutoffs");
            assert!(faults[0].what.contains(told), "{faults:?}");
            assert_eq!(running.live.load().cut_offs().entries().len(), 1);
        };
        write(&running.directory, "data/cutoffs.toml", "");
        cut_off("data/cutoffs.toml is empty").await;
        write(
            &running.directory,
            "data/cutoffs.toml",
            "# Whom this receiver turned",
        );
        cut_off("data/cutoffs.toml is empty").await;
        fs::remove_file(&list).unwrap();
        cut_off("data/cutoffs.toml is gone").await;
        // Nor does a slip of the pen in the configuration.
        let text = format!("[server]\ncutoffs = \"data/cutofs.toml\"\n{TENANT}");
        write(&running.directory, "countersign.toml", text);
        cut_off("data/cutofs.toml is gone").await;
        write(&running.directory, "countersign.toml", TENANT);

        write(&running.directory, "data/cutoffs.toml", CUT_OFF);
        running.reload().await.unwrap();
        CutOffs::edit(&list, |list| {
            let entries = list.entries().to_vec();
            entries.iter().all(|entry| list.lift(&entry.who))
        })
        .unwrap();
        running.reload().await.unwrap();
        assert_eq!(running.live.load().cut_offs().entries(), []);
    });
}
