//! Where a PostgreSQL is and how it is spoken to: the address as libpq writes it, and what the configuration adds.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;

use super::address_fault::AddressFault;
use super::parts;
use super::password::Password;
use super::schema::Found;
use super::tls::{Tls, TlsParameters};
use crate::secret::Secret;
use crate::store::StoreFault;
use crate::tls::DatabaseTls;

/// The address of a PostgreSQL, and how it is used.
#[derive(Clone)]
pub struct Address {
    text: Box<str>,
    base: PathBuf,
    access: Access,
    password: Password,
}

/// How a PostgreSQL is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Sessions that write, each with one batch in flight.
    pub writers: usize,
    /// Sessions that read, at most.
    pub readers: usize,
    /// How long one host may take until it has answered.
    pub connect_timeout: Duration,
    /// How long one batch, or one reading, may take.
    pub statement_timeout: Duration,
    /// How long deliveries wait through an outage before they are told of it.
    pub patience: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            writers: 2,
            readers: 4,
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(8),
            patience: Duration::from_secs(3),
        }
    }
}

impl Address {
    pub(in crate::store) fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            base: PathBuf::new(),
            access: Access::default(),
            password: Password::default(),
        }
    }

    pub(in crate::store) fn relative_to(self, directory: &Path) -> Self {
        Self {
            base: directory.into(),
            ..self
        }
    }

    pub(in crate::store) fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    pub(in crate::store) fn with_password(self, password: Option<Secret>) -> Self {
        Self {
            password: Password::new(password),
            ..self
        }
    }

    /// Takes the password of `other`, unless that is the address of another database, which only counts after a restart.
    pub(in crate::store) fn renew_password(&self, other: &Self) -> bool {
        self == other && self.password.renew(&other.password)
    }

    pub(in crate::store) fn is_used_like(&self, other: &Self) -> bool {
        self.access == other.access
    }

    pub(in crate::store) fn holds_a_password(&self) -> bool {
        Config::from_str(
            &TlsParameters::take(&self.text).map_or_else(|_| String::new(), |(text, _)| text),
        )
        .is_ok_and(|config| config.get_password().is_some())
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.base == other.base
    }
}

impl Eq for Address {}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match parts::shown(&self.text) {
            Some(place) => write!(f, "postgres://{place}"),
            // What is no host may be a password.
            None => f.write_str("postgres:// (not shown: it may hold a password)"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// An address that was understood: each host by itself, and TLS.
#[derive(Clone)]
pub(in crate::store) struct Target {
    hosts: Vec<Config>,
    password: Password,
    tls: Arc<Tls>,
    pub(in crate::store) place: String,
    pub(in crate::store) access: Access,
    /// Whether our schema was met at any of the hosts.
    met: Arc<AtomicBool>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.place)
    }
}

impl Target {
    /// Understands the address, and reads the files that it names.
    pub(in crate::store) fn load(address: &Address) -> Result<Self, StoreFault> {
        let place = address.to_string();
        let (text, tls) = TlsParameters::take(&address.text)
            .map_err(|fault| StoreFault::of_address(&place, fault))?;
        let mut config = Config::from_str(&text).map_err(|error| {
            // The driver's own words are two levels: what it was at, and why.
            let detail = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            StoreFault::of_address(&place, AddressFault::Form { detail })
        })?;
        config.ssl_mode(tls.mode.driver());
        if config.get_application_name().is_none() {
            config.application_name("countersign");
        }
        // The driver does not tell its own value from one that was given.
        if !names(&text, "keepalives_idle") {
            config.keepalives_idle(Duration::from_secs(15));
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(address.access.statement_timeout);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(address.access.connect_timeout);
        }
        let hosts = single_hosts(&config).map_err(|fault| StoreFault::of_address(&place, fault))?;
        let tls = Arc::new(Tls::load(tls, &address.base, &place)?);
        Ok(Self {
            hosts,
            password: address.password.clone(),
            tls,
            place,
            access: address.access.clone(),
            met: Arc::default(),
        })
    }

    /// Notes that our schema was met at one of the hosts.
    pub(super) fn is_met(&self) {
        self.met.store(true, Ordering::Relaxed);
    }

    /// The same, where what was found at a host has it.
    pub(super) fn has_met(&self, found: &Found) {
        if found.schema > 0 {
            self.is_met();
        }
    }

    /// Whether our schema was met at any of the hosts since the start. It is made where there was none at all: never in the place of one
    /// that went, and never beside one at another host, which would be a second ledger.
    pub(super) fn was_met(&self) -> bool {
        self.met.load(Ordering::Relaxed)
    }

    /// What a host is called, to be shown.
    pub(super) fn host_name(&self, number: usize) -> String {
        let host = self.hosts.get(number);
        let address = host.and_then(|host| host.get_hostaddrs().first());
        let name = match host.and_then(|host| host.get_hosts().first()) {
            Some(tokio_postgres::config::Host::Tcp(name)) => name.clone(),
            #[cfg(unix)]
            Some(tokio_postgres::config::Host::Unix(path)) => path.display().to_string(),
            None => address.map(ToString::to_string).unwrap_or_default(),
        };
        let port = host.and_then(|host| host.get_ports().first());
        format!("{name}:{}", port.copied().unwrap_or(5432))
    }

    /// How each host is spoken to, with the password of this moment.
    pub(super) fn hosts(&self) -> Vec<Config> {
        let mut hosts = self.hosts.clone();
        // Without one, what the address holds counts.
        if let Some(password) = self.password.current() {
            for host in &mut hosts {
                host.password(password.expose());
            }
        }
        hosts
    }

    /// How a host is spoken to whatever it may do; `None` where that is how it is spoken to anyhow.
    pub(super) fn host_in_any_state(&self, number: usize) -> Option<Config> {
        let mut host = self.hosts().into_iter().nth(number)?;
        if host.get_target_session_attrs() == TargetSessionAttrs::Any {
            return None;
        }
        host.target_session_attrs(TargetSessionAttrs::Any);
        Some(host)
    }

    /// TLS by the files that the address names, as they are now.
    pub(super) async fn tls(&self) -> DatabaseTls {
        self.tls.current(&self.place).await
    }

    pub(in crate::store) fn hosts_count(&self) -> usize {
        self.hosts.len()
    }
}

/// Whether the address has this parameter.
fn names(address: &str, parameter: &str) -> bool {
    let query = address.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .any(|pair| pair.split('=').next() == Some(parameter))
}

/// The configuration of each host: the driver's own loop over them would let one that accepts and says nothing use up
/// the time of all.
fn single_hosts(config: &Config) -> Result<Vec<Config>, AddressFault> {
    let (hosts, addresses, ports) = (
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
    );
    let count = hosts.len().max(addresses.len());
    if count == 0 {
        return Err(AddressFault::NoHost);
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(AddressFault::Ports {
            hosts: count,
            ports: ports.len(),
        });
    }
    Ok((0..count).map(|index| single_host(config, index)).collect())
}

fn single_host(config: &Config, index: usize) -> Config {
    let mut single = Config::new();
    match config.get_hosts().get(index) {
        Some(tokio_postgres::config::Host::Tcp(name)) => single.host(name),
        #[cfg(unix)]
        Some(tokio_postgres::config::Host::Unix(path)) => single.host_path(path),
        None => &mut single,
    };
    if let Some(address) = config.get_hostaddrs().get(index) {
        single.hostaddr(*address);
    }
    if let Some(port) = config.get_ports().get(index).or(config.get_ports().first()) {
        single.port(*port);
    }
    if let Some(user) = config.get_user() {
        single.user(user);
    }
    if let Some(password) = config.get_password() {
        single.password(password);
    }
    if let Some(database) = config.get_dbname() {
        single.dbname(database);
    }
    if let Some(options) = config.get_options() {
        single.options(options);
    }
    if let Some(name) = config.get_application_name() {
        single.application_name(name);
    }
    if let Some(timeout) = config.get_connect_timeout() {
        single.connect_timeout(*timeout);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        single.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        single.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        single.keepalives_retries(retries);
    }
    single
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts())
        .target_session_attrs(config.get_target_session_attrs())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle());
    single
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::SslMode;

    use super::*;

    fn fault(text: &str) -> String {
        let StoreFault::Address { source, .. } = Target::load(&Address::new(text)).unwrap_err()
        else {
            panic!("another fault");
        };
        source.to_string()
    }

    #[test]
    fn each_host_has_its_port_and_the_rest_in_common() {
        let target = Target::load(&Address::new(
            "postgres://user:pw@a:1,b:2/db?sslmode=disable&target_session_attrs=read-write",
        ))
        .unwrap();
        let hosts = target.hosts();
        assert_eq!(hosts.len(), 2);
        assert_eq!(hosts[1].get_ports(), [2]);
        assert_eq!(hosts[1].get_dbname(), Some("db"));
        assert_eq!(hosts[1].get_password(), Some(b"pw".as_slice()));
        assert_eq!(hosts[1].get_ssl_mode(), SslMode::Disable);
        assert_eq!(format!("{target:?}"), "Target(postgres://a:1,b:2/db)");
    }

    #[test]
    fn what_the_address_says_of_an_idle_connection_counts() {
        let idle = |text: &str| {
            let target = Target::load(&Address::new(text)).unwrap();
            target.hosts()[0].get_keepalives_idle().as_secs()
        };
        assert_eq!(idle("postgres://u@h/d"), 15);
        assert_eq!(idle("postgres://u@h/d?keepalives=1"), 15);
        assert_eq!(idle("postgres://u@h/d?keepalives=1&keepalives_idle=60"), 60);
        assert_eq!(idle("postgres://u@h/d?keepalives_idle=7200"), 7200);
    }

    #[test]
    fn a_password_by_reference_goes_before_one_in_the_address_and_is_renewed_in_all_clones() {
        let address = |password: Option<&str>| {
            let password = password.map(|text| Secret::new(text.into()));
            Address::new("postgres://u:worse@h/d").with_password(password)
        };
        let used = address(Some("better"));
        let target = Target::load(&used.clone()).unwrap();
        let told = || target.hosts()[0].get_password().map(<[u8]>::to_vec);
        assert_eq!(told(), Some(b"better".to_vec()));
        assert!(!used.renew_password(&address(Some("better"))));
        assert!(used.renew_password(&address(Some("best"))));
        assert_eq!(told(), Some(b"best".to_vec()));
        // A reload that changed nothing else gives back what it was given.
        assert!(!used.renew_password(&used.clone()));
        assert!(used.renew_password(&address(None)));
        assert_eq!(told(), Some(b"worse".to_vec()));
        let other = Address::new("postgres://u:worse@h/other");
        let theirs = other.with_password(Some(Secret::new(b"theirs".to_vec())));
        assert!(!used.renew_password(&theirs));
        assert_eq!(told(), Some(b"worse".to_vec()));
    }

    #[test]
    fn a_question_mark_in_a_password_takes_no_parameter_away() {
        let target = Target::load(&Address::new(
            "postgres://u:Top-Half?secret@h/db?sslmode=require",
        ))
        .unwrap();
        let host = &target.hosts()[0];
        assert_eq!(host.get_ssl_mode(), SslMode::Require);
        assert_eq!(host.get_password(), Some(b"Top-Half?secret".as_slice()));
        assert_eq!(host.get_dbname(), Some("db"));
        let told = "can be read in two ways";
        assert!(fault("postgres://u:p@ss?w@h/db?sslmode=require").contains(told));
    }

    #[test]
    fn what_is_wrong_with_an_address_is_told() {
        assert_eq!(
            fault("postgres://u@h/d?sslmode=on"),
            "sslmode=on is none of disable, prefer, require, verify-ca, verify-full"
        );
        assert_eq!(
            fault("postgres://u@h/d?sslmode=verify-full"),
            "sslmode=verify-full needs sslrootcert=FILE, the authority that vouches for the database"
        );
        assert_eq!(
            fault("postgres://u@h/d?sslcert=a.crt"),
            "sslcert and sslkey must be given together"
        );
        assert!(
            fault("postgres://u@h/d?sslmode=verify-ca&sslrootcert=none%20such")
                .starts_with("none such: ")
        );
        assert!(fault("postgres://u@h/d?no_such_key=1").contains("no_such_key"));
        assert_eq!(fault("postgres:///d"), "it names no host");
        assert_eq!(
            fault("postgres://u@a:1,b:2,c:3/d?port=4"),
            "it names 4 ports for 3 hosts"
        );
    }
}
