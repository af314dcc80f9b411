//! Where a receiver listens, read from as little of a configuration as can be: one that runs goes on with what it has loaded,
//! whatever becomes of its file, and whoever asks for it must still find it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::context;
use super::fault::{Fault, Findings};
use super::key::KeyPath;
use super::tree::{Node, Value};
use super::{Absence, CONFIG_BYTES_MAX, ConfigFile, Environment, text};

/// `server.listen`, where nothing is said.
pub(super) const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443);
/// `admin.listen`, where nothing is said.
pub(super) const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9443);

/// Where one side of a receiver listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// As it is written; else the default.
    pub address: SocketAddr,
    /// Why what is written cannot be read, so that the default is no more than likely.
    pub unread: Option<Fault>,
}

impl ListenAddress {
    /// `admin.listen`.
    pub fn of_admin(file: &ConfigFile, environment: &Environment) -> Self {
        find("admin", ADMIN, file, environment)
    }

    /// `server.listen`.
    pub fn of_server(file: &ConfigFile, environment: &Environment) -> Self {
        find("server", SERVER, file, environment)
    }
}

fn find(
    section: &str,
    default: SocketAddr,
    file: &ConfigFile,
    environment: &Environment,
) -> ListenAddress {
    let key = KeyPath::of(&[section, "listen"]);
    // What a variable says counts, whatever stands in the file.
    let (mut variables, _) = Node::parse("");
    let _strays = environment.lay_over(&mut variables);
    let mut damage = None;
    let tree = if variables.at(&key).is_some() {
        variables
    } else {
        let text = text(file, environment, Absence::AsNamed).unwrap_or_else(|damaged| {
            damage = Some(damaged);
            legible(file)
        });
        let (tree, broken) = Node::parse(&text);
        if let Some(broken) = broken.into_iter().next() {
            let place = broken
                .line
                .map_or_else(String::new, |line| format!(" in line {line}"));
            let mend = "mend that line; https://toml.io has the form";
            damage = Some((format!("no TOML{place}: {}", broken.what), mend.to_owned()));
        }
        tree
    };
    let damage = match tree.at(&key).map(|node| &node.value) {
        Some(Value::Text(text)) => match text.parse() {
            Ok(address) => {
                return ListenAddress {
                    address,
                    unread: None,
                };
            }
            Err(_no_address) => Some(no_address(&format!("{text:?}"), default)),
        },
        Some(other) => Some(no_address(other.kind(), default)),
        None => damage,
    };
    let name = file.path().display().to_string().into();
    let findings = Findings::new(name, tree);
    ListenAddress {
        address: default,
        unread: damage.map(|(what, mend)| findings.fault_at(&key, what, mend)),
    }
}

fn no_address(found: &str, default: SocketAddr) -> (String, String) {
    let what = format!("{found} is no IP address with a port");
    (what, format!("write \"{default}\""))
}

/// What can be read of a file that is no text throughout; nothing of one that cannot be read.
fn legible(file: &ConfigFile) -> String {
    match context::read_file(file.path(), CONFIG_BYTES_MAX) {
        Ok(read) => String::from_utf8_lossy(&read.bytes).into_owned(),
        Err(_told) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;

    /// Where the operator's side is asked for, and what could not be read.
    fn admin(text: &[u8], environment: &Environment) -> (String, Option<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("countersign.toml");
        std::fs::write(&path, text).unwrap();
        let found = ListenAddress::of_admin(&ConfigFile::Named(path), environment);
        let root = format!("{}/", directory.path().display());
        let unread = found
            .unread
            .map(|fault| fault.to_string().replace(&root, ""));
        (found.address.to_string(), unread)
    }

    #[test]
    fn an_address_is_found_in_a_file_that_is_damaged_elsewhere() {
        let none = Environment::empty();
        for damaged in [
            &b"x = 1\n[admin]\nlisten = \"127.0.0.1:19\"\ntoken = \"file:nope\"\n"[..],
            b"[admin]\nlisten = \"127.0.0.1:19\"\n[tls]\ncertificate = \n",
            b"[admin]\nlisten = \"127.0.0.1:19\"\n[server\nlisten = \"0.0.0.0:20\"\n",
            b"[server\nlisten = \"0.0.0.0:20\"\n[admin]\nlisten = \"127.0.0.1:19\"\n",
            b"# \xff\n[admin]\nlisten = \"127.0.0.1:19\"\n",
        ] {
            let found = admin(damaged, &none);
            let text = String::from_utf8_lossy(damaged);
            assert_eq!(found, ("127.0.0.1:19".to_owned(), None), "{text}");
        }
        let variable = Environment::from([("COUNTERSIGN_ADMIN__LISTEN", "127.0.0.1:21")]);
        let found = admin(b"admin = 3\n\xff = [", &variable);
        assert_eq!(found, ("127.0.0.1:21".to_owned(), None));
    }

    #[test]
    fn the_default_stands_in_for_an_address_that_can_not_be_read() {
        let none = Environment::empty();
        let default = "127.0.0.1:9443".to_owned();
        assert_eq!(admin(b"[server]\n", &none), (default.clone(), None));
        let (address, unread) = admin(b"[admin]\nlisten = \"nowhere\"\n", &none);
        assert_eq!(address, default);
        let told = "countersign.toml:2: admin.listen: \"nowhere\" is no IP address with a port; write \"127.0.0.1:9443\"";
        assert_eq!(unread.as_deref(), Some(told));
        let (address, unread) = admin(b"[admin]\nlisten = \"127.0.0.1:\n", &none);
        assert_eq!(address, default);
        assert!(unread.is_some());
        let absent = ConfigFile::Named("nowhere/countersign.toml".into());
        let found = ListenAddress::of_admin(&absent, &none);
        assert_eq!(found.address.to_string(), default);
        assert!(found.unread.unwrap().what.contains("does not exist"));
        let server = ListenAddress::of_server(&absent, &none);
        assert_eq!(server.address.to_string(), file::Server::default().listen);
        assert_eq!(default, file::Admin::default().listen);
    }
}
