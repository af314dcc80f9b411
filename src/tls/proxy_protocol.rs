//! The PROXY protocol, versions 1 and 2: behind a TCP load balancer, the peer's own address.
//!
//! A header is read only from an address in `server.trusted_proxies`, and there it is required: neither its
//! presence nor its absence is guessed from what a stranger sends. What is malformed closes the connection.
//! Source: HAProxy's `proxy-protocol.txt`, revision 2020/03/05, sections 2.1 and 2.2.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest version 1 header, its line end included.
const V1_BYTES_MAX: usize = 107;
/// A version 2 header with its type-length-values; the protocol allows 64 KiB, of which no proxy makes use.
const V2_BYTES_MAX: usize = 4096;
const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A block of addresses, as `10.0.0.0/8` or `2001:db8::/32`; a single address is a block of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkFault {
    /// The part before the slash is no IP address.
    #[error("\"{0}\" is no IP address")]
    Address(String),
    /// The part after the slash is no prefix length of this kind of address.
    #[error("\"/{prefix}\" is no prefix length")]
    Prefix {
        /// What was written.
        prefix: String,
        /// The address's length in bits.
        max: u8,
    },
    /// Bits after the prefix are set, so that it is unclear which block is meant.
    #[error("the address has bits set after its prefix")]
    HostBits(Network),
}

impl NetworkFault {
    /// What to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::Address(_) => "write a block such as 10.0.0.0/8 or 2001:db8::/32".to_owned(),
            Self::Prefix { max, .. } => format!("write a number from 0 to {max}"),
            Self::HostBits(network) => format!("write {network}, or the address alone"),
        }
    }
}

impl Network {
    /// Whether it leaves out nobody who has this kind of address.
    pub fn is_everybody(&self) -> bool {
        self.prefix == 0
    }

    /// Whether the address lies in the block. An IPv4 address mapped into IPv6 is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(prefix.min(32)))
                .unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(prefix.min(128)))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

impl FromStr for Network {
    type Err = NetworkFault;

    fn from_str(text: &str) -> Result<Self, NetworkFault> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .ok()
            .ok_or_else(|| NetworkFault::Address(address.to_owned()))?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => max,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|bits| *bits <= max && prefix.bytes().all(|digit| digit.is_ascii_digit()))
                .ok_or_else(|| NetworkFault::Prefix {
                    prefix: prefix.to_owned(),
                    max,
                })?,
        };
        let network = Self {
            address: masked(address, prefix),
            prefix,
        };
        if network.address == address {
            Ok(network)
        } else {
            Err(NetworkFault::HostBits(network))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// What a header says about who is behind the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The connection of this peer.
    Proxied(SocketAddr),
    /// The proxy's own connection, such as a health check.
    Local,
    /// A peer whose address the proxy does not tell.
    Unknown,
}

/// Why a header is refused.
#[derive(Debug, thiserror::Error)]
pub enum HeaderRefusal {
    /// The first bytes are those of no header.
    #[error("the trusted proxy sent no PROXY header")]
    Missing,
    /// It begins as a header and goes on as none.
    #[error("malformed PROXY header: {0}")]
    Malformed(&'static str),
    /// The connection ended, or broke, before a byte of it.
    #[error("the connection ended before a PROXY header")]
    Nothing,
    /// The proxy ended the connection.
    #[error("the connection ended within the PROXY header")]
    Closed,
    /// The connection broke.
    #[error("the connection failed within the PROXY header")]
    Io(#[source] io::Error),
}

/// Reads a header, and returns with it what was read after it. Bounded in bytes; the caller bounds the time.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<(Header, Vec<u8>), HeaderRefusal> {
    let mut bytes = Vec::with_capacity(256);
    loop {
        if let Some((header, length)) = parse(&bytes)? {
            return Ok((header, bytes.split_off(length)));
        }
        // `parse` fails on whatever could not become a header, so this is bounded by the longest one.
        let room = V2_BYTES_MAX.saturating_sub(bytes.len());
        let read = (&mut *stream).take(room as u64).read_buf(&mut bytes).await;
        match read {
            Ok(0) | Err(_) if bytes.is_empty() => return Err(HeaderRefusal::Nothing),
            Ok(0) => return Err(HeaderRefusal::Closed),
            Ok(_) => {}
            Err(source) => return Err(HeaderRefusal::Io(source)),
        }
    }
}

/// The header that `bytes` begin with and its length, or `None` if more bytes are needed to tell.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderRefusal> {
    if let Some(rest) = strip_or_wait(bytes, V2_SIGNATURE) {
        return rest.map_or(Ok(None), |rest| parse_v2(bytes, rest));
    }
    if let Some(rest) = strip_or_wait(bytes, V1_SIGNATURE) {
        return rest.map_or(Ok(None), |_| parse_v1(bytes));
    }
    Err(HeaderRefusal::Missing)
}

/// `None` if `bytes` do not begin with the signature; `Some(None)` if they may do so yet.
fn strip_or_wait<'a>(bytes: &'a [u8], signature: &[u8]) -> Option<Option<&'a [u8]>> {
    if let Some(rest) = bytes.strip_prefix(signature) {
        return Some(Some(rest));
    }
    signature.starts_with(bytes).then_some(None)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderRefusal> {
    const TOO_LONG: HeaderRefusal =
        HeaderRefusal::Malformed("version 1: no line end within 107 bytes");
    let head = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
        return if head.len() < V1_BYTES_MAX {
            Ok(None)
        } else {
            Err(TOO_LONG)
        };
    };
    let line = head
        .get(..end)
        .and_then(|line| line.strip_suffix(b"\r"))
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(HeaderRefusal::Malformed("version 1: not a line of text"))?;
    let header = v1_line(line).ok_or(HeaderRefusal::Malformed(
        "version 1: not \"PROXY TCP4|TCP6|UNKNOWN source destination ports\"",
    ))?;
    Ok(Some((header, end + 1)))
}

fn v1_line(line: &str) -> Option<Header> {
    let mut parts = line.split(' ');
    if parts.next() != Some("PROXY") {
        return None;
    }
    let family = parts.next()?;
    if family == "UNKNOWN" {
        return Some(Header::Unknown);
    }
    let (source, destination) = (parts.next()?, parts.next()?);
    let (port, destination_port) = (v1_port(parts.next()?)?, v1_port(parts.next()?)?);
    if parts.next().is_some() {
        return None;
    }
    let _ = destination_port;
    let address = match family {
        "TCP4" => {
            let _: Ipv4Addr = destination.parse().ok()?;
            IpAddr::V4(source.parse().ok()?)
        }
        "TCP6" => {
            let _: Ipv6Addr = destination.parse().ok()?;
            IpAddr::V6(source.parse().ok()?)
        }
        _ => return None,
    };
    Some(Header::Proxied(SocketAddr::new(
        address.to_canonical(),
        port,
    )))
}

/// A port in decimal without leading zeros, as the protocol demands.
fn v1_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

fn parse_v2(bytes: &[u8], rest: &[u8]) -> Result<Option<(Header, usize)>, HeaderRefusal> {
    let [command, family, high, low, rest @ ..] = rest else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let total = V2_SIGNATURE.len() + 4 + length;
    if total > V2_BYTES_MAX {
        return Err(HeaderRefusal::Malformed(
            "version 2: longer than 4096 bytes",
        ));
    }
    if command >> 4 != 2 {
        return Err(HeaderRefusal::Malformed("version 2: another version"));
    }
    if bytes.len() < total {
        return Ok(None);
    }
    let payload = rest.get(..length).unwrap_or_default();
    let header = match command & 0x0f {
        0 => Header::Local,
        1 => v2_address(*family, payload)?,
        _ => return Err(HeaderRefusal::Malformed("version 2: unknown command")),
    };
    Ok(Some((header, total)))
}

fn v2_address(family: u8, payload: &[u8]) -> Result<Header, HeaderRefusal> {
    const SHORT: HeaderRefusal =
        HeaderRefusal::Malformed("version 2: too short for its address family");
    let (header, values) = match family {
        // AF_UNSPEC: the address part is of unknown form and is not read.
        0x00 => return Ok(Header::Unknown),
        0x11 => {
            let (address, values) = payload.split_first_chunk::<12>().ok_or(SHORT)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *address;
            (socket(Ipv4Addr::new(a, b, c, d).into(), high, low), values)
        }
        0x21 => {
            let (source, rest) = payload.split_first_chunk::<16>().ok_or(SHORT)?;
            let (_, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            let ([high, low, _, _], values) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
            (socket(Ipv6Addr::from(*source).into(), *high, *low), values)
        }
        _ => {
            return Err(HeaderRefusal::Malformed(
                "version 2: neither TCP over IPv4 nor TCP over IPv6",
            ));
        }
    };
    check_values(values)?;
    Ok(header)
}

fn socket(address: IpAddr, high: u8, low: u8) -> Header {
    Header::Proxied(SocketAddr::new(
        address.to_canonical(),
        u16::from_be_bytes([high, low]),
    ))
}

/// The type-length-values are not read, but they must fill the header exactly.
fn check_values(mut values: &[u8]) -> Result<(), HeaderRefusal> {
    while !values.is_empty() {
        values = match values {
            [_, high, low, rest @ ..] => rest.get(usize::from(u16::from_be_bytes([*high, *low]))..),
            _ => None,
        }
        .ok_or(HeaderRefusal::Malformed(
            "version 2: a type-length-value runs past the header",
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = V2_SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn v2_of(source: SocketAddr) -> Vec<u8> {
        let mut payload = Vec::new();
        match source.ip() {
            IpAddr::V4(v4) => {
                payload.extend(v4.octets());
                payload.extend([10, 0, 0, 9]);
            }
            IpAddr::V6(v6) => {
                payload.extend(v6.octets());
                payload.extend([9; 16]);
            }
        }
        payload.extend(source.port().to_be_bytes());
        payload.extend(8443_u16.to_be_bytes());
        v2(0x21, if source.is_ipv4() { 0x11 } else { 0x21 }, &payload)
    }

    fn v1_of(source: SocketAddr) -> Vec<u8> {
        match source.ip() {
            IpAddr::V4(ip) => format!("PROXY TCP4 {ip} 10.0.0.9 {} 8443\r\n", source.port()),
            IpAddr::V6(ip) => format!("PROXY TCP6 {ip} 2001:db8::9 {} 8443\r\n", source.port()),
        }
        .into_bytes()
    }

    fn check(bytes: &[u8], expected: Result<Header, &str>) {
        let found = parse(bytes);
        match (&found, expected) {
            (Ok(Some((header, length))), Ok(expected)) => {
                assert_eq!((*header, *length), (expected, bytes.len()));
            }
            (Err(refusal), Err(text)) => {
                assert!(refusal.to_string().contains(text), "{refusal}");
            }
            _ => panic!("{:?}: {found:?}", String::from_utf8_lossy(bytes)),
        }
    }

    #[test]
    fn both_versions_tell_the_peers_own_address() {
        for source in ["192.0.2.1:50000", "[2001:db8::1]:50000"] {
            let source: SocketAddr = source.parse().unwrap();
            check(&v1_of(source), Ok(Header::Proxied(source)));
            check(&v2_of(source), Ok(Header::Proxied(source)));
        }
        check(b"PROXY UNKNOWN\r\n", Ok(Header::Unknown));
        check(
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
            Ok(Header::Unknown),
        );
        check(&v2(0x20, 0x00, b""), Ok(Header::Local));
        check(&v2(0x20, 0x11, &[0; 12]), Ok(Header::Local));
        check(&v2(0x21, 0x00, b"whatever"), Ok(Header::Unknown));
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:50000".parse().unwrap();
        let folded = Header::Proxied("192.0.2.1:50000".parse().unwrap());
        check(&v2_of(mapped), Ok(folded));
    }

    #[test]
    fn values_after_the_address_are_skipped_if_they_are_whole() {
        let mut payload = vec![192, 0, 2, 1, 10, 0, 0, 9, 0xc3, 0x50, 0x20, 0xfb];
        payload.extend([0x04, 0, 2, 0, 0]);
        check(
            &v2(0x21, 0x11, &payload),
            Ok(Header::Proxied("192.0.2.1:50000".parse().unwrap())),
        );
        payload.extend([0x04, 0, 9, 0]);
        check(&v2(0x21, 0x11, &payload), Err("runs past"));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for bytes in [
            &b"PROXY TCP4 192.0.2.1 10.0.0.9 050 8443\r\n"[..],
            b"PROXY TCP4 192.0.2.1 10.0.0.9 70000 8443\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.9 +50 8443\r\n",
            b"PROXY TCP4 192.0.2.1  10.0.0.9 50 8443\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.9 50 8443 \r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.9 50 8443\n",
            b"PROXY TCP4 2001:db8::1 10.0.0.9 50 8443\r\n",
            b"PROXY TCP6 192.0.2.1 10.0.0.9 50 8443\r\n",
            b"PROXY UDP4 192.0.2.1 10.0.0.9 50 8443\r\n",
            b"PROXY \r\n",
            &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat(),
        ] {
            check(bytes, Err("version 1"));
        }
        check(&v2(0x11, 0x11, &[0; 12]), Err("another version"));
        check(&v2(0x22, 0x11, &[0; 12]), Err("unknown command"));
        check(&v2(0x21, 0x12, &[0; 12]), Err("neither TCP"));
        check(&v2(0x21, 0x31, &[0; 216]), Err("neither TCP"));
        check(&v2(0x21, 0x11, &[0; 11]), Err("too short"));
        check(&v2(0x21, 0x21, &[0; 35]), Err("too short"));
        check(&v2(0x21, 0x11, &[0; 4090]), Err("longer than"));
        check(b"\x16\x03\x01", Err("no PROXY header"));
        check(b"GET / HTTP/1.1\r\n", Err("no PROXY header"));
    }

    #[tokio::test]
    async fn what_follows_the_header_is_handed_on() {
        let mut bytes = v1_of("192.0.2.1:5".parse().unwrap());
        bytes.extend(b"\x16\x03\x01");
        let (header, rest) = read(&mut bytes.as_slice()).await.unwrap();
        assert_eq!(header, Header::Proxied("192.0.2.1:5".parse().unwrap()));
        assert_eq!(rest, b"\x16\x03\x01");
        assert!(matches!(
            read(&mut &bytes[..9]).await,
            Err(HeaderRefusal::Closed)
        ));
        assert!(matches!(
            read(&mut &b""[..]).await,
            Err(HeaderRefusal::Nothing)
        ));
    }

    #[test]
    fn a_network_contains_its_addresses() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(contains("::1", "::1"));
        assert!(!contains("::1", "::2"));
    }

    #[test]
    fn a_network_that_says_two_things_is_a_fault() {
        let fault = |text: &str| text.parse::<Network>().unwrap_err();
        let mend = |text: &str| fault(text).mend();
        assert_eq!(mend("10.0.0.1/8"), "write 10.0.0.0/8, or the address alone");
        assert!(mend("10.0.0.0/33").contains("0 to 32"));
        assert!(mend("10.0.0.0/+8").contains("0 to 32"));
        assert!(mend("10.0.0.0/").contains("0 to 32"));
        let fault = fault("proxy.example").to_string();
        assert!(fault.contains("no IP address"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic_and_within_the_bound(bytes: Vec<u8>, v2: bool) {
            let signature = if v2 { V2_SIGNATURE } else { V1_SIGNATURE };
            for bytes in [bytes.clone(), [signature, bytes.as_slice()].concat()] {
                if let Ok(Some((_, length))) = parse(&bytes) {
                    prop_assert!(length <= bytes.len() && length <= V2_BYTES_MAX);
                }
            }
        }

        #[test]
        fn a_header_is_the_same_however_its_bytes_arrive(source: SocketAddr, v2: bool, after: Vec<u8>) {
            prop_assume!(match source { SocketAddr::V6(v6) => v6.scope_id() == 0 && v6.flowinfo() == 0, SocketAddr::V4(_) => true });
            let header = if v2 { v2_of(source) } else { v1_of(source) };
            for end in 0..header.len() {
                prop_assert!(matches!(parse(&header[..end]), Ok(None)), "{end}");
            }
            let bytes = [header.clone(), after].concat();
            let (found, length) = parse(&bytes).unwrap().unwrap();
            let expected = SocketAddr::new(source.ip().to_canonical(), source.port());
            prop_assert_eq!(found, Header::Proxied(expected));
            prop_assert_eq!(length, header.len());
        }

        #[test]
        fn a_network_is_printed_as_it_is_read(address: IpAddr, prefix in 0_u8..=128) {
            let prefix = prefix.min(if address.is_ipv4() { 32 } else { 128 });
            let network = Network { address: masked(address, prefix), prefix };
            prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
        }
    }
}
