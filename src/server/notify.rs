//! Tells the service manager where we are in our life: `READY=1`, `RELOADING=1`, `STOPPING=1`.
//!
//! Source: `sd_notify(3)`. Nobody has to listen: without a socket nothing is sent, and a failed message is no
//! reason to stop serving.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::{
        ffi::OsStrExt,
        net::{SocketAddr, UnixDatagram},
    },
};

use rustix::time::{ClockId, clock_gettime};

/// Where we are in our life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Ports are bound, and deliveries are accepted (again, after a reload).
    Ready,
    /// A reload has begun; `Ready` follows, whether it was carried out or refused.
    Reloading,
    /// No new connections; what is in flight is finished.
    Stopping,
}

/// The service manager, if there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Notifier {
    socket: Option<OsString>,
}

impl Notifier {
    /// `socket` is what `NOTIFY_SOCKET` holds: a path, or an abstract name after an `@`.
    pub(super) fn new(socket: Option<OsString>) -> Self {
        Self {
            socket: socket.filter(|socket| !socket.is_empty()),
        }
    }

    /// Tells the state, or the log that it could not be told.
    pub(super) fn tell(&self, state: State) {
        if let Err(error) = self.notify(state) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }

    fn notify(&self, state: State) -> io::Result<()> {
        let Some(name) = &self.socket else {
            return Ok(());
        };
        let message = match state {
            State::Ready => "READY=1\n".to_owned(),
            State::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_micros()),
            State::Stopping => "STOPPING=1\n".to_owned(),
        };
        UnixDatagram::unbound()?
            .send_to_addr(message.as_bytes(), &address(name)?)
            .map(drop)
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', rest @ ..] => {
            <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(rest)
        }
        _ => SocketAddr::from_pathname(name),
    }
}

fn monotonic_micros() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(socket: &UnixDatagram, name: OsString) {
        let notifier = Notifier::new(Some(name));
        let told = |state| {
            notifier.notify(state).unwrap();
            let mut buffer = [0; 256];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(told(State::Ready), "READY=1\n");
        assert!(told(State::Reloading).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(told(State::Stopping), "STOPPING=1\n");
    }

    #[test]
    fn the_service_manager_is_told_at_a_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        check(&UnixDatagram::bind(&path).unwrap(), path.into());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_service_manager_is_told_at_an_abstract_name() {
        use std::os::linux::net::SocketAddrExt;

        let name = format!("countersign-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        check(
            &UnixDatagram::bind_addr(&address).unwrap(),
            format!("@{name}").into(),
        );
    }

    #[test]
    fn without_a_service_manager_nothing_is_sent() {
        for socket in [None, Some(OsString::new())] {
            let notifier = Notifier::new(socket);
            assert_eq!(notifier.socket, None);
            assert!(notifier.notify(State::Ready).is_ok());
        }
        // To one that is not there it would be tried.
        let directory = tempfile::tempdir().unwrap();
        let gone = Notifier::new(Some(directory.path().join("notify").into()));
        assert!(gone.notify(State::Ready).is_err());
    }
}
