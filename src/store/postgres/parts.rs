//! The parts of a PostgreSQL's address: which of it may be shown, and where its parameters begin.
//!
//! Promise: a text that can be read in two ways is not read at all, so that no part of a password is taken for a host or for a parameter.

use super::address_fault::AddressFault;

/// An address, cut where the driver cuts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// All before the parameters.
    pub(super) head: &'a str,
    /// The parameters, without their `?`.
    pub(super) query: &'a str,
}

impl<'a> Parts<'a> {
    /// Cuts an address. The driver takes all before the first `@` for user and password, also a `?` or a `/`.
    pub(super) fn of(address: &'a str) -> Result<Self, AddressFault> {
        let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
        let mut ats = rest.split('@');
        let (first, second, third) = (ats.next(), ats.next(), ats.next());
        let after = match (second, third) {
            // A second one stands in a password or in a parameter, and nothing tells in which.
            (Some(_), Some(_)) => return Err(AddressFault::Ambiguous { character: '@' }),
            (Some(after), None) if first.is_none_or(|before| !has_a_parameter(before)) => after,
            (Some(_), None) => return Err(AddressFault::Ambiguous { character: '?' }),
            (None, _) => rest,
        };
        let query = after.split_once('?').map(|(_, query)| query);
        let head = query.map_or(address, |query| {
            address
                .strip_suffix(query)
                .and_then(|head| head.strip_suffix('?'))
                .unwrap_or(address)
        });
        Ok(Self {
            head,
            query: query.unwrap_or_default(),
        })
    }
}

/// Hosts and database, if nothing that stands there could be part of a password, in whichever way the address is read.
pub(super) fn shown(address: &str) -> Option<&str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let after = match rest.rsplit_once('@') {
        Some((before, after)) if !has_a_parameter(before) => after,
        Some(_) => return None,
        None => rest,
    };
    let place = after.split(['?', '#']).next().unwrap_or_default();
    let hosts = place.split('/').next().unwrap_or_default();
    // Where the `@` was forgotten, the password stands in the place of a port.
    let has_a_port = |host: &str| {
        let host = host.rsplit_once(']').map_or(host, |(_, port)| port);
        let port = host.split_once(':').map(|(_, port)| port);
        port.is_none_or(|port| port.parse::<u16>().is_ok())
    };
    hosts.split(',').all(has_a_port).then_some(place)
}

/// Whether what stands before an `@` could as well be a host with parameters, of which one holds the `@`.
fn has_a_parameter(before: &str) -> bool {
    before
        .split_once('?')
        .is_some_and(|(_, query)| query.contains('='))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::Url;

    #[test]
    fn parameters_begin_behind_the_password() {
        for (text, query, place) in [
            ("postgres://h/d", "", "h/d"),
            ("postgres://h/d?a=b", "a=b", "h/d"),
            ("postgres://u:p@h/d?a=b", "a=b", "h/d"),
            ("postgres://u:a?b@h/d?a=b", "a=b", "h/d"),
            ("postgres://u:a#b@h/d?a=b", "a=b", "h/d"),
            ("postgres://u:a/b@h:1,i:2/d?a=b?c", "a=b?c", "h:1,i:2/d"),
            ("postgres://u@[::1]:5432/d", "", "[::1]:5432/d"),
        ] {
            assert_eq!(Parts::of(text).unwrap().query, query, "{text}");
            assert_eq!(shown(text), Some(place), "{text}");
        }
        for (text, character, place) in [
            ("postgres://u:p@ss@h/d", '@', Some("h/d")),
            ("postgres://u:p@h/d?application_name=a@b", '@', None),
            ("postgres://u:a?b=c@h/d", '?', None),
            ("postgres://h/d?password=a@b", '?', None),
        ] {
            let ambiguous = AddressFault::Ambiguous { character };
            assert_eq!(Parts::of(text), Err(ambiguous), "{text}");
            assert_eq!(shown(text), place, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_part_of_a_password_is_shown(
            password in "[A-Z@?#/:&=%]{0,6}SECRET[A-Z@?#/:&=%]{0,6}SECRET[A-Z@?#/:&=%]{0,3}",
            parameters in "([?]sslmode=require)?",
        ) {
            let mut texts = vec![
                format!("postgres://user:{password}@host/db{parameters}"),
                format!("postgres://user@host/db?password={password}"),
                format!("postgres://host/db?password={password}"),
            ];
            if !password.contains('@') {
                // Somebody forgot where it is.
                texts.push(format!("postgres://user:{password}{parameters}"));
            }
            for text in texts {
                let url: Url = text.parse().unwrap();
                let shown = format!("{url} {url:?}");
                prop_assert!(!shown.contains("SECRET"), "{text}: {shown}");
            }
        }
    }
}
