//! Gate 0: who may hold a connection, and how many.
//!
//! Promises: never more than [`Limits::connections`] connections in all and [`Limits::connections_per_ip`]
//! per address; a bounded number of handshakes under way, among which the address that has the most gives
//! way first, so that a crowd of strangers cannot keep a producer from its own. The one lock here is taken
//! when a connection opens, authenticates or closes, never by a request.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

/// Bounds of the providers' side, as `[server.limits]` has them. Bodies and requests are bounded by `server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are open at once, in all.
    pub connections: usize,
    /// Connections that one address (an IPv6 /64 is one address) holds at once.
    pub connections_per_ip: usize,
    /// From the first byte to the end of the handshake, a PROXY header included.
    pub handshake_timeout: Duration,
    /// How long a connection may have no request in flight: idle, or slow with a request's head.
    pub header_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_ip: 256,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Handshakes under way at once, in all: an eighth of the connections, but never so few that an honest
    /// burst of one provider could fill it.
    fn handshakes(&self) -> usize {
        (self.connections / 8).max(64)
    }
}

/// The bound at which a connection was closed, before anything of it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitReached {
    /// `server.limits.connections`.
    Connections,
    /// `server.limits.connections_per_ip`.
    ConnectionsPerIp,
    /// Too many handshakes under way: the oldest of the most crowded address made room for another.
    Handshakes,
}

impl LimitReached {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Connections, Self::ConnectionsPerIp, Self::Handshakes];

    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerIp => "connections_per_ip",
            Self::Handshakes => "handshakes",
        }
    }
}

/// What counts as one address: an IPv4 address (mapped into IPv6 or not), or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Prefix {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl Prefix {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// Counts the connections and admits new ones.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    open: usize,
    handshakes: usize,
    next: u64,
    addresses: HashMap<Prefix, Held>,
    /// The addresses that have handshakes under way, the most crowded last; of two alike, the one whose oldest is older. A
    /// flood makes each newcomer evict another, so the most crowded must be found without looking at them all.
    crowds: BTreeMap<Crowd, Prefix>,
}

/// How many handshakes an address has under way, and which of them is the oldest.
type Crowd = (usize, Reverse<u64>);

/// What one address holds.
#[derive(Debug, Default)]
struct Held {
    open: usize,
    /// Oldest first. Dropping or using the sender tells the connection to give way.
    handshakes: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl Held {
    fn crowd(&self) -> Option<Crowd> {
        let (oldest, _) = self.handshakes.front()?;
        Some((self.handshakes.len(), Reverse(*oldest)))
    }
}

/// Whether [`Limits::connections_per_ip`] applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A peer that speaks for itself.
    Direct,
    /// A trusted proxy: it brings the connections of many, and their own address is counted once it is known.
    Proxy,
}

impl Gate {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                limits,
                open: 0,
                handshakes: 0,
                next: 0,
                addresses: HashMap::new(),
                crowds: BTreeMap::new(),
            }),
        })
    }

    /// Admits one more connection, its handshake still to come.
    pub(super) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        peer: Peer,
    ) -> Result<Ticket, LimitReached> {
        let mut state = self.lock();
        if state.open >= state.limits.connections {
            return Err(LimitReached::Connections);
        }
        let prefix = Prefix::of(address);
        state.check_address(prefix, peer)?;
        if state.handshakes >= state.limits.handshakes() {
            state.evict();
        }
        let (id, evicted) = state.insert(prefix);
        Ok(Ticket {
            gate: Arc::clone(self),
            prefix,
            handshake: Some((id, evicted)),
        })
    }

    /// Takes new bounds for connections to come; those that are open stay.
    pub(super) fn set_limits(&self, limits: Limits) {
        self.lock().limits = limits;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under this lock can panic half-way through a change, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check_address(&self, prefix: Prefix, peer: Peer) -> Result<(), LimitReached> {
        let held = self.addresses.get(&prefix).map_or(0, |held| held.open);
        match peer {
            Peer::Direct if held >= self.limits.connections_per_ip => {
                Err(LimitReached::ConnectionsPerIp)
            }
            Peer::Direct | Peer::Proxy => Ok(()),
        }
    }

    fn insert(&mut self, prefix: Prefix) -> (u64, oneshot::Receiver<()>) {
        let id = self.next;
        self.next += 1;
        self.open += 1;
        self.handshakes += 1;
        let (sender, receiver) = oneshot::channel();
        self.addresses.entry(prefix).or_default().open += 1;
        self.change(prefix, |held| held.handshakes.push_back((id, sender)));
        (id, receiver)
    }

    /// Ends the oldest handshake of the address that has the most of them. Its connection leaves when its
    /// task notices; only the place among the handshakes is free at once.
    fn evict(&mut self) {
        let crowded = self.crowds.last_key_value().map(|(_, prefix)| *prefix);
        let oldest =
            crowded.and_then(|prefix| self.change(prefix, |held| held.handshakes.pop_front())?);
        if let Some((_, sender)) = oldest {
            self.handshakes -= 1;
            // An error means that the connection has just left by itself.
            let _ = sender.send(());
        }
    }

    /// Changes the handshakes of an address, and its place among the crowds with them.
    fn change<T>(&mut self, prefix: Prefix, change: impl FnOnce(&mut Held) -> T) -> Option<T> {
        let held = self.addresses.get_mut(&prefix)?;
        let before = held.crowd();
        let changed = change(held);
        let after = held.crowd();
        if let Some(crowd) = before {
            self.crowds.remove(&crowd);
        }
        if let Some(crowd) = after {
            self.crowds.insert(crowd, prefix);
        }
        Some(changed)
    }

    /// Whether it was still among them: it may have been evicted.
    fn end_handshake(&mut self, prefix: Prefix, id: u64) -> bool {
        let removed = self.change(prefix, |held| {
            let index = held
                .handshakes
                .binary_search_by_key(&id, |(id, _)| *id)
                .ok()?;
            held.handshakes.remove(index)
        });
        let was_among_them = removed.flatten().is_some();
        if was_among_them {
            self.handshakes -= 1;
        }
        was_among_them
    }

    fn release(&mut self, prefix: Prefix) {
        self.open = self.open.saturating_sub(1);
        if let Some(held) = self.addresses.get_mut(&prefix) {
            held.open = held.open.saturating_sub(1);
            if held.open == 0 {
                self.addresses.remove(&prefix);
            }
        }
    }
}

/// A place among the connections; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    prefix: Prefix,
    handshake: Option<(u64, oneshot::Receiver<()>)>,
}

impl Ticket {
    /// Counts the connection, whose handshake is still to come, under the address that a trusted proxy named.
    pub(super) fn readdress(&mut self, address: IpAddr) -> Result<(), LimitReached> {
        let prefix = Prefix::of(address);
        let mut state = self.gate.lock();
        state.check_address(prefix, Peer::Direct)?;
        let handshake = self.handshake.take();
        if !handshake.is_some_and(|(id, _)| state.end_handshake(self.prefix, id)) {
            return Err(LimitReached::Handshakes);
        }
        state.release(self.prefix);
        self.prefix = prefix;
        self.handshake = Some(state.insert(prefix));
        Ok(())
    }

    /// Resolves when this handshake has to make room for another.
    pub(super) async fn evicted(&mut self) {
        match &mut self.handshake {
            Some((_, evicted)) => {
                let _ = evicted.await;
            }
            None => std::future::pending().await,
        }
    }

    /// The handshake has ended well: the connection is no longer a stranger's.
    pub(super) fn establish(&mut self) {
        if let Some((id, _)) = self.handshake.take() {
            self.gate.lock().end_handshake(self.prefix, id);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        if let Some((id, _)) = self.handshake.take() {
            state.end_handshake(self.prefix, id);
        }
        state.release(self.prefix);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn gate(connections: usize, connections_per_ip: usize) -> Arc<Gate> {
        Gate::new(Limits {
            connections,
            connections_per_ip,
            ..Limits::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_connection_over_the_limit_is_refused_until_another_leaves() {
        let gate = gate(2, 2);
        let first = gate.admit(ip("192.0.2.1"), Peer::Direct).unwrap();
        let _second = gate.admit(ip("192.0.2.2"), Peer::Direct).unwrap();
        assert_eq!(
            gate.admit(ip("192.0.2.3"), Peer::Direct).unwrap_err(),
            LimitReached::Connections
        );
        drop(first);
        gate.admit(ip("192.0.2.3"), Peer::Direct).unwrap();
    }

    #[test]
    fn an_ipv4_mapped_address_and_its_ipv4_form_are_one_and_so_is_a_64() {
        for (one, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ] {
            let gate = gate(10, 1);
            let _held = gate.admit(ip(one), Peer::Direct).unwrap();
            assert_eq!(
                gate.admit(ip(other), Peer::Direct).unwrap_err(),
                LimitReached::ConnectionsPerIp,
                "{one} {other}"
            );
        }
        let gate = gate(10, 1);
        let _held = gate.admit(ip("2001:db8:1:2::1"), Peer::Direct).unwrap();
        gate.admit(ip("2001:db8:1:3::1"), Peer::Direct).unwrap();
    }

    #[test]
    fn an_established_connection_still_counts_for_its_address() {
        let gate = gate(10, 1);
        let mut held = gate.admit(ip("192.0.2.1"), Peer::Direct).unwrap();
        held.establish();
        gate.admit(ip("192.0.2.1"), Peer::Direct).unwrap_err();
        drop(held);
        gate.admit(ip("192.0.2.1"), Peer::Direct).unwrap();
    }

    #[tokio::test]
    async fn a_crowd_of_handshakes_makes_room_for_a_newcomer() {
        let gate = gate(1000, 1000);
        let mut lone = gate.admit(ip("192.0.2.1"), Peer::Direct).unwrap();
        let mut crowd: Vec<_> = (0..124)
            .map(|_| gate.admit(ip("198.51.100.7"), Peer::Direct).unwrap())
            .collect();
        let _newcomer = gate.admit(ip("203.0.113.5"), Peer::Direct).unwrap();
        // The oldest of the crowd goes; the lone one, though older, stays.
        crowd.remove(0).evicted().await;
        tokio::select! {
            biased;
            () = lone.evicted() => panic!("the lone handshake was evicted"),
            () = std::future::ready(()) => {}
        }
        lone.establish();
        drop(crowd);
        assert_eq!(gate.lock().handshakes, 1);
        assert_eq!(gate.lock().open, 2);
    }

    #[test]
    fn of_addresses_alike_the_one_that_waits_longest_gives_way_and_not_the_newcomer() {
        let gate = gate(512, 512);
        let address = |number: u16| IpAddr::from([10, 0, (number >> 8) as u8, number as u8]);
        let mut held: VecDeque<_> = (0..64)
            .map(|number| gate.admit(address(number), Peer::Direct).unwrap())
            .collect();
        for number in 64..400 {
            held.push_back(gate.admit(address(number), Peer::Direct).unwrap());
            let mut oldest = held.pop_front().unwrap();
            assert!(oldest.evicted().now_or_never().is_some(), "{number}");
        }
        for one in &mut held {
            assert!(one.evicted().now_or_never().is_none());
        }
    }

    #[test]
    fn a_proxied_connection_counts_for_the_address_behind_the_proxy() {
        let gate = gate(3, 1);
        let mut tickets: Vec<_> = (0..3)
            .map(|_| gate.admit(ip("10.0.0.1"), Peer::Proxy).unwrap())
            .collect();
        tickets[0].readdress(ip("192.0.2.1")).unwrap();
        tickets[1].readdress(ip("192.0.2.2")).unwrap();
        assert_eq!(
            tickets[2].readdress(ip("192.0.2.1")).unwrap_err(),
            LimitReached::ConnectionsPerIp
        );
        drop(tickets);
        let state = gate.lock();
        assert_eq!(
            (state.open, state.handshakes, state.addresses.len()),
            (0, 0, 0)
        );
    }

    #[derive(Clone, Debug)]
    enum Step {
        Admit(u8),
        Establish(usize),
        Readdress(usize, u8),
        Leave(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_u8..4).prop_map(Step::Admit),
            2 => any::<usize>().prop_map(Step::Establish),
            2 => (any::<usize>(), 0_u8..4).prop_map(|(which, address)| Step::Readdress(which, address)),
            2 => any::<usize>().prop_map(Step::Leave),
        ];
        proptest::collection::vec(step, 0..400)
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_nothing_leaks_whatever_happens(steps in steps()) {
            let gate = gate(100, 40);
            let address = |number: u8| IpAddr::from([192, 0, 2, number]);
            let mut held: Vec<Ticket> = Vec::new();
            for step in steps {
                match step {
                    Step::Admit(number) => held.extend(gate.admit(address(number), Peer::Direct)),
                    Step::Establish(which) if !held.is_empty() => {
                        let which = which % held.len();
                        held[which].establish();
                    }
                    Step::Readdress(which, number) if !held.is_empty() => {
                        let which = which % held.len();
                        let _ = held[which].readdress(address(number));
                    }
                    Step::Leave(which) if !held.is_empty() => {
                        drop(held.swap_remove(which % held.len()));
                    }
                    Step::Establish(_) | Step::Readdress(..) | Step::Leave(_) => {}
                }
                let state = gate.lock();
                prop_assert_eq!(state.open, held.len());
                prop_assert!(state.open <= 100 && state.handshakes <= 64);
                let handshakes: usize =
                    state.addresses.values().map(|held| held.handshakes.len()).sum();
                prop_assert_eq!(state.handshakes, handshakes);
                prop_assert!(state.addresses.values().all(|held| held.open <= 40));
                let crowds: BTreeMap<Crowd, Prefix> = state
                    .addresses
                    .iter()
                    .filter_map(|(prefix, held)| Some((held.crowd()?, *prefix)))
                    .collect();
                prop_assert_eq!(&state.crowds, &crowds);
            }
            drop(held);
            let state = gate.lock();
            prop_assert_eq!((state.open, state.handshakes, state.addresses.len()), (0, 0, 0));
        }
    }
}
