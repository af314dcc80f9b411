//! The sockets that are listened on, and why one cannot be.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::config::Config;
use crate::text::chain;
use crate::tls;

const SERVER_LISTEN: &[&str] = &["server", "listen"];
const ADMIN_LISTEN: &[&str] = &["admin", "listen"];

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{} = \"{address}\" cannot be listened on; {}", key.join("."), self.mend())]
pub struct ListenFailure {
    /// The key of the configuration.
    pub key: &'static [&'static str],
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

impl ListenFailure {
    /// Why the configuration's addresses could not be listened on, as far as that can be known while the receiver may be running: that
    /// one is no interface's.
    pub fn foreseen(config: &Config) -> Vec<Self> {
        let listened = [
            (SERVER_LISTEN, config.server.listen),
            (ADMIN_LISTEN, config.admin.listen),
        ];
        let failures = listened.into_iter().filter_map(|(key, address)| {
            let mut any_port = address;
            any_port.set_port(0);
            let source = TcpListener::bind(any_port).err()?;
            (source.kind() == io::ErrorKind::AddrNotAvailable).then_some(Self {
                key,
                address,
                source,
            })
        });
        failures.collect()
    }

    /// What is wrong, as it is told of the key.
    pub fn what(&self) -> String {
        let Self {
            address, source, ..
        } = self;
        format!("\"{address}\" cannot be listened on: {}", chain(source))
    }

    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        let kind = self.source.kind();
        if let Some(mend) = tls::mend_of_open_files(&self.source) {
            mend
        } else if kind == io::ErrorKind::AddrInUse {
            "something listens there already, perhaps a receiver that is running (as root, `ss -ltnp` names it): name another port, or stop it if it is not needed"
        } else if kind == io::ErrorKind::AddrNotAvailable {
            "no interface of this machine has this address: name one that it has, or 0.0.0.0 for all"
        } else if kind == io::ErrorKind::PermissionDenied {
            "the receiver's user may not take this port: name one from 1024 on, or give it the right (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE, or a socket unit)"
        } else {
            "name another address or port"
        }
    }
}

/// The addresses that are listened on.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    /// The providers' side.
    pub server: SocketAddr,
    /// The operator's side.
    pub admin: SocketAddr,
}

/// What is listened on.
pub(super) struct Sockets {
    pub(super) providers: Vec<TcpListener>,
    pub(super) desk: TcpListener,
}

impl Sockets {
    pub(super) fn bind(
        config: &Config,
        inherited: Vec<TcpListener>,
    ) -> Result<Self, ListenFailure> {
        let providers = providers(config, inherited)?;
        // The next version finds both of our addresses in use, or neither.
        let (address, reuse) = (config.admin.listen, config.server.reuse_port);
        let desk = bind(ADMIN_LISTEN, address, reuse)?;
        Ok(Self { providers, desk })
    }

    pub(super) fn addresses(&self) -> io::Result<Announced> {
        Ok(Announced {
            server: local_address(&self.providers)?,
            admin: self.desk.local_addr()?,
        })
    }
}

/// What the service manager handed over, or the configured address.
pub(super) fn providers(
    config: &Config,
    inherited: Vec<TcpListener>,
) -> Result<Vec<TcpListener>, ListenFailure> {
    if inherited.is_empty() {
        let (address, reuse) = (config.server.listen, config.server.reuse_port);
        return Ok(vec![bind(SERVER_LISTEN, address, reuse)?]);
    }
    for further in inherited.iter().skip(1) {
        tracing::info!(
            address = further.local_addr().ok().map(tracing::field::display),
            "the service manager passed another socket: deliveries are taken there too, over mutual TLS; the operator's side \
             listens to admin.listen alone"
        );
    }
    Ok(inherited)
}

fn bind(
    key: &'static [&'static str],
    address: SocketAddr,
    reuse: tls::ReusePort,
) -> Result<TcpListener, ListenFailure> {
    tls::listen(address, reuse).map_err(|source| ListenFailure {
        key,
        address,
        source,
    })
}

/// Where the first of them listens.
pub(super) fn local_address(listeners: &[TcpListener]) -> io::Result<SocketAddr> {
    listeners
        .first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?
        .local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_no_interface_has_is_not_called_taken() {
        let told = |kind: io::ErrorKind| {
            let failure = ListenFailure {
                key: SERVER_LISTEN,
                address: SocketAddr::from(([192, 0, 2, 1], 1)),
                source: kind.into(),
            };
            failure.to_string()
        };
        let away = told(io::ErrorKind::AddrNotAvailable);
        let begin = "server.listen = \"192.0.2.1:1\" cannot be listened on; ";
        assert!(away.starts_with(begin), "{away}");
        assert!(away.contains("no interface of this machine"), "{away}");
        assert!(!away.contains("listens there already"), "{away}");
        assert!(told(io::ErrorKind::AddrInUse).contains("listens there already"));
        let of_files = ListenFailure {
            key: SERVER_LISTEN,
            address: SocketAddr::from(([192, 0, 2, 1], 1)),
            // EMFILE of Linux.
            source: io::Error::from_raw_os_error(24),
        };
        assert!(of_files.mend().contains("ulimit -n"), "{of_files}");
    }
}
