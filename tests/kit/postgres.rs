//! A throw-away PostgreSQL: started from the installed binaries, or the one that `COUNTERSIGN_TEST_POSTGRES_URL` names.
//!
//! A shell of the server's own user watches over it: when this process ends, however it does, its end of a pipe closes,
//! and the server and its files go.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::eventually::{eventually, eventually_ok};

/// The user of a server that is not root's.
const USERS: [&str; 2] = ["postgres", "nobody"];
const DEADLINE: Duration = Duration::from_secs(60);

/// A server of our own, that can be stopped, killed and started again. It ends with this value.
pub(crate) struct Postgres {
    binaries: PathBuf,
    directory: PathBuf,
    settings: Vec<String>,
    user: Option<(u32, u32)>,
    port: u16,
    watcher: Option<Child>,
}

/// How a server is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Sessions are cut, what was committed is on disk.
    Fast,
    /// All processes end at once, and the next start recovers: `pg_ctl stop -m immediate`.
    Immediate,
    /// As by `kill -9`.
    Killed,
}

/// The server that the tests of this process share, and a fresh database on it: its URL. `None`, after saying so
/// loudly, where there is no PostgreSQL; under CI that is a failure.
pub(crate) fn fresh_database() -> Option<String> {
    static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let shared = SHARED.get_or_init(Shared::start).as_ref()?;
    let name = format!(
        "countersign_test_{}_{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    );
    Some(shared.create(&name))
}

/// The same, behind a PgBouncer that the tests of this process share.
pub(crate) fn fresh_pooled_database() -> Option<String> {
    static SHARED: OnceLock<Option<(Postgres, Pooler)>> = OnceLock::new();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let start = || {
        let server = Postgres::start(&[])?;
        let pooler = Pooler::start(&server)?;
        Some((server, pooler))
    };
    let (server, pooler) = SHARED.get_or_init(start).as_ref()?;
    let name = format!("pooled_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    server.create_database(&name);
    Some(pooler.url(&name))
}

/// Says loudly what the machine has not and is therefore not tested; under CI that is a failure.
fn lacks<T>(lack: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "{lack}");
    eprintln!("\n*** NOT TESTED: {lack} ***\n");
    None
}

enum Shared {
    Ours(Postgres),
    Theirs(String),
}

impl Shared {
    fn start() -> Option<Self> {
        match std::env::var("COUNTERSIGN_TEST_POSTGRES_URL") {
            Ok(url) => Some(Self::Theirs(url)),
            Err(_unset) => Postgres::start(&[]).map(Self::Ours),
        }
    }

    fn create(&self, name: &str) -> String {
        match self {
            Self::Ours(server) => server.create_database(name),
            Self::Theirs(url) => {
                psql(
                    Path::new(""),
                    url,
                    &format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"),
                );
                with_database(url, name)
            }
        }
    }
}

/// The same URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url
        .split_once('?')
        .map_or((url, None), |(address, query)| (address, Some(query)));
    let (scheme, rest) = address.split_once("://").expect("a URL");
    let host = rest.split('/').next().unwrap_or_default();
    match query {
        Some(query) => format!("{scheme}://{host}/{name}?{query}"),
        None => format!("{scheme}://{host}/{name}"),
    }
}

fn psql(binaries: &Path, url: &str, sql: &str) -> String {
    let output = Command::new(binaries.join("psql"))
        .args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
            url,
        ])
        .stdin(Stdio::null())
        .output()
        .expect("psql runs");
    assert!(
        output.status.success(),
        "{sql}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs a statement in the database of this URL, past every receiver.
pub(crate) fn execute(url: &str, sql: &str) {
    psql(&binaries().unwrap_or_default(), url, sql);
}

/// Where `initdb`, `postgres` and `psql` are.
fn binaries() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    for versions in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let Ok(entries) = std::fs::read_dir(versions) else {
            continue;
        };
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path().join("bin"))
            .collect();
        found.sort();
        places.extend(found.into_iter().rev());
    }
    places.into_iter().find(|place| {
        ["initdb", "postgres", "psql"]
            .iter()
            .all(|name| place.join(name).is_file())
    })
}

impl Postgres {
    /// A new server with these lines in its configuration; `None`, after saying so loudly, where none is installed.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        Self::start_with(settings, &[])
    }

    /// The same, with these files in its data directory.
    pub(crate) fn start_with(settings: &[&str], files: &[(&str, &[u8])]) -> Option<Self> {
        let Some(binaries) = binaries() else {
            return lacks(
                "no PostgreSQL: install it (Debian: apt-get install postgresql), put its binaries on PATH, or name a \
                 server in COUNTERSIGN_TEST_POSTGRES_URL",
            );
        };
        let settings = settings.iter().map(|&line| line.to_owned()).collect();
        let mut server = Self::without_data(binaries, settings);
        server.initialize();
        for (name, contents) in files {
            server.place(name, contents);
        }
        server.start_again();
        Some(server)
    }

    fn without_data(binaries: PathBuf, settings: Vec<String>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("countersign-pg-")
            .tempdir()
            .expect("a directory")
            .keep();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))
            .expect("permissions");
        let user = other_user();
        if let Some((uid, gid)) = user {
            chown(&directory, Some(uid), Some(gid)).expect("root may give a directory away");
        }
        Self {
            binaries,
            directory,
            settings,
            user,
            port: 0,
            watcher: None,
        }
    }

    /// A hot standby of this server, of which each commit waits from now on until it has it on disk.
    pub(crate) fn synchronous_standby(&self) -> Self {
        let from = format!("host=127.0.0.1 port={} user=postgres", self.port);
        let settings = vec![format!(
            "primary_conninfo = '{from} application_name=standby'"
        )];
        let mut standby = Self::without_data(self.binaries.clone(), settings);
        let copied = standby
            .command(&self.binaries.join("pg_basebackup"))
            .args(["--checkpoint=fast", "--no-sync", "--dbname", &from])
            .arg("--pgdata")
            .arg(standby.data())
            .stdin(Stdio::null())
            .output()
            .expect("pg_basebackup runs");
        assert!(
            copied.status.success(),
            "pg_basebackup: {}",
            String::from_utf8_lossy(&copied.stderr)
        );
        standby.place("standby.signal", b"");
        standby.start_again();
        self.psql(
            "postgres",
            "ALTER SYSTEM SET synchronous_standby_names = 'standby'",
        );
        self.psql("postgres", "SELECT pg_reload_conf()");
        let states = "SELECT sync_state FROM pg_stat_replication";
        eventually(DEADLINE, || {
            let follows = self.psql("postgres", states).trim() == "sync";
            follows.then_some(())
        });
        standby
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        let promoted = self.psql("postgres", "SELECT pg_promote(true, 60)");
        assert_eq!(promoted.trim(), "t", "{}", self.log());
    }

    fn initialize(&self) {
        let mut command = self.command(&self.binaries.join("initdb"));
        command.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        let output = command
            .arg("-D")
            .arg(self.data())
            .stdin(Stdio::null())
            .output()
            .expect("initdb runs");
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts it on the port that it had, if it had one, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        let chosen = self.port;
        eventually_ok(DEADLINE, || {
            if self.watcher.is_none() {
                if chosen == 0 {
                    // Between this and the server's own bind another process may take the port: then another is tried.
                    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
                    self.port = free.local_addr().expect("an address").port();
                }
                self.launch();
            }
            if self.answers() {
                return Ok(());
            }
            if let Some(mut ended) = self.watcher.take_if(has_ended)
                && let Some(mut pipe) = ended.stdin.take()
            {
                // The files are for the next attempt: without the word, its shell would take them away.
                let _told = pipe.write_all(b"keep\n");
            }
            Err(format!("PostgreSQL does not start: {}", self.log()))
        });
    }

    fn launch(&mut self) {
        // The outer shell ends with the server. The inner one waits for the pipe's end; a word on the pipe spares the files.
        let script = r#"
            "$1/postgres" -D "$2/data" -k "$2" -p "$3" -c listen_addresses=127.0.0.1 >>"$2/log" 2>&1 </dev/null &
            server=$!
            exec 3<&0
            (
                read -r keep <&3
                kill -QUIT $server
                while kill -0 $server; do sleep 0.05; done
                [ -n "$keep" ] || rm -rf "$2"
            ) 2>/dev/null &
            wait $server
        "#;
        let mut command = self.command(Path::new("sh"));
        command
            .args(["-c", script, "sh"])
            .arg(&self.binaries)
            .arg(&self.directory)
            .arg(self.port.to_string());
        self.place("postgresql.auto.conf", self.settings.join("\n").as_bytes());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.watcher = Some(command.spawn().expect("sh runs"));
    }

    fn place(&self, name: &str, contents: &[u8]) {
        let path = self.data().join(name);
        std::fs::write(&path, contents).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .expect("permissions");
        if let Some((uid, gid)) = self.user {
            chown(&path, Some(uid), Some(gid)).expect("root may give a file away");
        }
    }

    /// Ends the server; its files stay for [`Postgres::start_again`].
    pub(crate) fn stop(&mut self, ending: Ending) {
        let Some(mut watcher) = self.watcher.take() else {
            return;
        };
        let signal = match ending {
            Ending::Fast => "-INT",
            Ending::Immediate => "-QUIT",
            Ending::Killed => "-KILL",
        };
        let pipe = watcher.stdin.take();
        if let Some(pid) = self.pid() {
            let _ended = Command::new("kill").args([signal, &pid]).status();
        }
        // Of a killed server the children end by themselves, a moment later: `start_again` tries until they have.
        let _ended = watcher.wait();
        if let Some(mut pipe) = pipe {
            let _told = pipe.write_all(b"keep\n");
        }
    }

    /// The process id of the server, while it runs.
    pub(crate) fn pid(&self) -> Option<String> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        file.lines().next().map(str::to_owned)
    }

    fn answers(&self) -> bool {
        let mut command = Command::new(self.binaries.join("psql"));
        command.args(["-X", "-q", "-c", "SELECT 1", &self.url("postgres")]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Its TCP port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its unix socket is, and its data below.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The address of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }

    /// A new database, and its address.
    pub(crate) fn create_database(&self, name: &str) -> String {
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    /// What a statement gives, one row a line, columns divided by `|`.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> String {
        psql(&self.binaries, &self.url(database), sql)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = match self.user {
            Some((uid, gid)) => {
                let mut command = Command::new("setpriv");
                command.args([
                    &format!("--reuid={uid}"),
                    &format!("--regid={gid}"),
                    "--clear-groups",
                    "--",
                ]);
                command.arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(&self.directory).env("LC_ALL", "C");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            drop(watcher.stdin.take());
            let _ended = watcher.wait();
        }
        let _gone = std::fs::remove_dir_all(&self.directory);
    }
}

fn has_ended(child: &mut Child) -> bool {
    child.try_wait().is_ok_and(|status| status.is_some())
}

/// PostgreSQL refuses to run as root: whom it runs as then.
fn other_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id")
            .args(arguments)
            .stderr(Stdio::null())
            .output()
            .ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    USERS
        .iter()
        .find_map(|&name| Some((id(&["-u", name])?, id(&["-g", name])?)))
}

/// A PgBouncer before a server, in transaction mode with fewer sessions than clients: each transaction may meet another
/// session, and one that nobody uses is soon given up, so that many databases fit behind it. It ends with this value.
pub(crate) struct Pooler {
    watcher: Child,
    port: u16,
}

impl Pooler {
    /// `None`, after saying so loudly, where PgBouncer is not installed; under CI that is a failure.
    pub(crate) fn start(server: &Postgres) -> Option<Self> {
        let places = std::env::var_os("PATH").unwrap_or_default();
        let places = std::env::split_paths(&places).chain([PathBuf::from("/usr/sbin")]);
        let Some(binary) = places
            .map(|place| place.join("pgbouncer"))
            .find(|path| path.is_file())
        else {
            return lacks(
                "no PgBouncer: install it (Debian: apt-get install pgbouncer), or put its binary on PATH",
            );
        };
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let users = server.directory().join("users.txt");
        std::fs::write(&users, "\"postgres\" \"\"\n").expect("a file");
        let settings = server.directory().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 2\n\
             server_idle_timeout = 5\n",
            server.port(),
            users.display()
        );
        std::fs::write(&settings, text).expect("a file");
        let script = r#"
            "$1" -q "$2" </dev/null & pooler=$!
            exec 3<&0
            ( read -r _ <&3; kill -KILL $pooler ) 2>/dev/null &
            wait $pooler
        "#;
        let mut command = server.command(Path::new("sh"));
        command.args(["-c", script, "sh"]).arg(binary).arg(settings);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let pooler = Self {
            watcher: command.spawn().expect("sh runs"),
            port,
        };
        eventually_ok(DEADLINE, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
        Some(pooler)
    }

    /// The address of one of its server's databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ended = self.watcher.wait();
    }
}
