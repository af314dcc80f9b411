//! A receiver on a port that it keeps, and the seed of what is left to chance.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    time::{SystemTime, UNIX_EPOCH},
};

use socket2::{Domain, Socket, Type};

use crate::{Changes, Receiver};

/// Where a test takes place.
pub(crate) struct Scene {
    pub(crate) receiver: Receiver,
    pub(crate) chance: Chance,
    pub(crate) seed: u64,
    _port: Port,
}

impl Scene {
    /// Starts a receiver. The seed is new, or the one that `COUNTERSIGN_FAULTS_SEED` names.
    pub(crate) fn new(test: &str, changes: Changes<'_>) -> Self {
        let seed = seed();
        // The harness shows this when the test fails.
        eprintln!(
            "again: COUNTERSIGN_FAULTS_SEED={seed} cargo test --test faults {test} -- --nocapture"
        );
        let port = Port::reserve();
        let mut changes = changes;
        let listen = OsString::from(port.address.to_string());
        changes
            .environment
            .push(("COUNTERSIGN_SERVER__LISTEN", listen));
        Self {
            receiver: Receiver::with(&changes),
            chance: Chance(seed),
            seed,
            _port: port,
        }
    }
}

fn seed() -> u64 {
    match std::env::var("COUNTERSIGN_FAULTS_SEED") {
        Ok(seed) => seed.parse().expect("COUNTERSIGN_FAULTS_SEED is a number"),
        Err(_unset) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos()) ^ now.as_secs()
        }
    }
}

/// The lines of `[store]` for this database, with bounds that make an outage short.
pub(crate) fn on_postgres(url: &str) -> String {
    format!(
        "url = \"{url}\"\n[store.limits]\nwait = \"4s\"\n[store.postgres]\nconnect_timeout = \"1s\"\n\
         statement_timeout = \"2s\"\npatience = \"200ms\"\n"
    )
}

/// A port that nobody else is given: it is bound here without being listened on, and `SO_REUSEADDR` lets the receiver
/// bind it beside us.
struct Port {
    address: SocketAddr,
    _held: Socket,
}

impl Port {
    fn reserve() -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        held.set_reuse_address(true).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        held.bind(&any.into()).unwrap();
        Self {
            address: held.local_addr().unwrap().as_socket().unwrap(),
            _held: held,
        }
    }
}

/// A generator of numbers that a seed decides (SplitMix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// A number below the bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// A number from 1 on.
    pub(crate) fn up_to(&mut self, most: u64) -> usize {
        1 + self.below(most) as usize
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub(crate) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}
