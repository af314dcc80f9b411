//! One running `countersign serve`, with a directory, a CA and ports of its own.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{
    Answer, Authority, Identity, Leaf, Producer,
    authority::SUBJECT,
    eventually,
    peers::{self, Output},
    producer::client_config,
};

/// How long a receiver may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
const PATH: &str = "/webhooks/payments";
const SECRET: &str = "a-secret-of-thirty-two-bytes-len";

/// A running receiver.
pub(crate) struct Receiver {
    directory: TempDir,
    pub(crate) authority: Authority,
    /// The configured producer's leaf.
    pub(crate) identity: Identity,
    launch: Launch,
    process: Process,
    /// The providers' side.
    pub(crate) address: SocketAddr,
    /// The operator's side.
    pub(crate) admin: SocketAddr,
}

/// What a test changes of the configuration before the start: whole lines, by table.
#[derive(Default)]
pub(crate) struct Changes<'a> {
    pub(crate) server: &'a str,
    pub(crate) limits: &'a str,
    pub(crate) tls: &'a str,
    /// Instead of the SQLite file: the lines of `[store]`, and its tables.
    pub(crate) store: &'a str,
    /// What follows the one tenant and its one producer: more of them, or profiles.
    pub(crate) more: &'a str,
    pub(crate) environment: Vec<(&'a str, OsString)>,
    /// A program that runs the one named behind its arguments in its own place: `["nsenter", "--mount=…", "--"]`.
    pub(crate) run_by: Vec<OsString>,
}

/// How the binary is run, also the next time.
struct Launch {
    run_by: Vec<OsString>,
    environment: Vec<(String, OsString)>,
}

struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    /// The contract's defaults, on free ports.
    pub(crate) fn start() -> Self {
        Self::with(&Changes::default())
    }

    /// The same with changes.
    pub(crate) fn with(changes: &Changes<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("Webhook Internal CA");
        let server = authority.issue_server();
        let identity = authority.issue(&Leaf::of(SUBJECT));
        let certs = directory.path().join("certs");
        fs::create_dir(&certs).unwrap();
        fs::create_dir(directory.path().join("data")).unwrap();
        let write = |name: &str, content: &str| fs::write(certs.join(name), content).unwrap();
        write("ca.crt", &authority.certificate);
        write("server.crt", &server.certificate);
        write("server.key", &server.key);
        write("producer.crt", &identity.certificate);
        write("producer.key", &identity.key);
        write("producer.secret", SECRET);
        fs::write(
            directory.path().join("countersign.toml"),
            configuration(changes),
        )
        .unwrap();
        let launch = Launch {
            run_by: changes.run_by.clone(),
            environment: owned(&changes.environment),
        };
        let mut process = Process::start(directory.path(), &launch);
        let (address, admin) = process.addresses();
        Self {
            directory,
            authority,
            identity,
            launch,
            process,
            address,
            admin,
        }
    }

    /// Where the configuration and `certs/` are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file below the directory.
    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.directory().join(name), content).unwrap();
    }

    /// Where deliveries go.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}{PATH}", self.address.port())
    }

    /// The configured producer.
    pub(crate) fn producer(&self) -> Producer {
        self.producer_as(Some(&self.identity))
    }

    /// A producer with another certificate, or none.
    pub(crate) fn producer_as(&self, identity: Option<&Identity>) -> Producer {
        let tls = client_config(&self.authority.certificate, identity);
        Producer::new(self.address, tls, PATH, SECRET.as_bytes())
    }

    /// Runs a command of the binary with this configuration.
    #[track_caller]
    pub(crate) fn countersign(&self, arguments: &[&str]) -> Output {
        self.countersign_reading(arguments, "")
    }

    /// The same, with this as its standard input.
    #[track_caller]
    pub(crate) fn countersign_reading(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = binary(&self.launch.run_by);
        command.args(arguments);
        peers::run(self.directory(), &mut command, input.as_bytes())
    }

    /// `curl` with the producer's certificate.
    #[track_caller]
    pub(crate) fn curl(&self, arguments: &[&str]) -> Output {
        let identity = [
            "--cacert",
            "certs/ca.crt",
            "--cert",
            "certs/producer.crt",
            "--key",
            "certs/producer.key",
        ];
        peers::curl(self.directory(), &[&identity, arguments].concat())
    }

    /// `GET` on the operator's side.
    #[track_caller]
    pub(crate) fn admin(&self, path: &str) -> Answer {
        plain(self.admin, "GET", path)
    }

    /// `POST /api/reload`.
    #[track_caller]
    pub(crate) fn reload_now(&self) -> Answer {
        plain(self.admin, "POST", "/api/reload")
    }

    /// The records of refusals so far, newest first.
    #[track_caller]
    pub(crate) fn refusals(&self) -> Vec<serde_json::Value> {
        let page: serde_json::Value =
            serde_json::from_str(&self.admin("/api/refusals").body).unwrap();
        page["items"].as_array().unwrap().clone()
    }

    /// Waits for a refusal with this reason.
    #[track_caller]
    pub(crate) fn refusal(&self, reason: &str) -> serde_json::Value {
        eventually(PATIENCE, || {
            self.refusals()
                .into_iter()
                .find(|refusal| refusal["reason"] == reason)
        })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// What it printed and logged so far.
    pub(crate) fn log(&self) -> String {
        lines(&self.process.log).join("\n")
    }

    /// SIGHUP.
    pub(crate) fn reload(&self) {
        self.process.signal(Signal::HUP);
    }

    /// SIGTERM. It still writes what it has to, and [`Receiver::ended`] waits for that.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// SIGTERM, and everything is written once this returns.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.terminate();
        assert!(self.ended().success(), "it ended badly:\n{}", self.log());
    }

    /// SIGINT, as by Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.process.signal(Signal::INT);
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let child = &mut self.process.child;
        eventually(PATIENCE * 2, || child.try_wait().unwrap())
    }

    /// SIGKILL, at whatever moment this is.
    pub(crate) fn kill(&mut self) {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
    }

    /// A second process beside this one, on the same directory: an upgrade. It takes this one's place, and
    /// this one gets a SIGTERM; its exit status is returned.
    pub(crate) fn upgrade(&mut self, environment: &[(&str, OsString)]) -> ExitStatus {
        self.launch.environment = owned(environment);
        let mut new = Process::start(self.directory.path(), &self.launch);
        let (address, admin) = new.addresses();
        self.terminate();
        let status = self.ended();
        self.process = new;
        (self.address, self.admin) = (address, admin);
        status
    }

    /// Starts it again as it was started; ports that its environment does not name are new.
    pub(crate) fn restart(&mut self) {
        let _ = self.process.child.kill();
        let _ = self.process.child.wait();
        self.process = Process::start(self.directory.path(), &self.launch);
        (self.address, self.admin) = self.process.addresses();
    }
}

impl Process {
    fn start(directory: &Path, launch: &Launch) -> Self {
        let environment = launch.environment.iter();
        let mut child = binary(&launch.run_by)
            .arg("serve")
            .envs(environment.map(|(name, value)| (name, value)))
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        keep_lines(child.stdout.take().unwrap(), &log);
        keep_lines(child.stderr.take().unwrap(), &log);
        Self { child, log }
    }

    /// Waits for the two lines that tell the bound ports.
    #[track_caller]
    fn addresses(&mut self) -> (SocketAddr, SocketAddr) {
        let find = |log: &[String], prefix: &str| {
            log.iter()
                .find_map(|line| line.strip_prefix(prefix)?.trim().parse().ok())
        };
        let Self { child, log } = self;
        eventually(PATIENCE, || {
            let ended = child.try_wait().unwrap();
            let log = lines(log);
            let addresses = find(&log, "countersign: listening on https://")
                .zip(find(&log, "countersign: admin on http://"));
            assert!(
                addresses.is_some() || ended.is_none(),
                "it ended before it listened"
            );
            addresses
        })
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the receiver said:\n{}", lines(&self.log).join("\n"));
        }
    }
}

/// What was said so far, also to a test that has failed already.
fn lines(log: &Mutex<Vec<String>>) -> Vec<String> {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn owned(environment: &[(&str, OsString)]) -> Vec<(String, OsString)> {
    let owned = environment.iter();
    owned
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

/// The binary, with nothing of this process's environment that could change what it does.
pub(crate) fn binary(run_by: &[OsString]) -> Command {
    let path = env!("CARGO_BIN_EXE_countersign");
    let mut command = match run_by.split_first() {
        None => Command::new(path),
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(path);
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("COUNTERSIGN_") {
            command.env_remove(name);
        }
    }
    command
        .env_remove("LISTEN_FDS")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("RUST_LOG");
    command
}

fn keep_lines(output: impl Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            log.lock().unwrap().push(line);
        }
    });
}

fn configuration(changes: &Changes<'_>) -> String {
    let Changes {
        server,
        limits,
        tls,
        store,
        more,
        environment: _,
        run_by: _,
    } = changes;
    let store = if store.is_empty() {
        "url = \"sqlite:data/countersign.db\""
    } else {
        store
    };
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
paths = ["{PATH}"]
{server}

[server.limits]
{limits}

[admin]
listen = "127.0.0.1:0"

[tls]
certificate = "certs/server.crt"
private_key = "certs/server.key"
client_ca = ["certs/ca.crt"]
{tls}

[store]
{store}

[[tenants]]
id = "tenant-42"

[[tenants.producers]]
name = "payments-provider"
subject = "CN=payments-provider,O=Example,OU=tenant-42"
profile = "timestamped"
secrets = ["file:certs/producer.secret"]
{more}
"#
    )
}

#[track_caller]
fn plain(address: SocketAddr, method: &str, path: &str) -> Answer {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        tcp,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    Answer::read(&mut BufReader::new(tcp)).unwrap()
}
