//! What a mapping reads from around the body: it must be kept with an event, or the event could not be read again.

use http::{HeaderMap, HeaderName};

use crate::signature::body;
use crate::signature::profile::descriptor::SignedTime;

/// What stands around the body.
#[derive(Clone, Copy, Debug)]
pub(in crate::signature) struct Around<'a> {
    /// The request's headers.
    pub(in crate::signature) headers: &'a HeaderMap,
    /// Its query string, without the `?`; empty where there is none.
    pub(in crate::signature) query: &'a str,
}

/// The headers and the parameters of the query string that the places of a mapping name, and what the signed time tells.
#[derive(Clone, Debug, Default)]
pub(in crate::signature) struct Readings {
    pub(in crate::signature) headers: Vec<HeaderName>,
    pub(in crate::signature) query: Vec<Box<str>>,
    pub(in crate::signature) signed_time: SignedTime,
}

impl Readings {
    /// What of a query string is read, as a path and query; `None` where that is nothing. The rest may hold a token, and
    /// is not for keeping.
    pub(in crate::signature) fn path_and_query(&self, query: &str) -> Option<String> {
        let mut read = String::new();
        for (name, value) in body::form::pairs(query.as_bytes()) {
            if let Some(name) = self.query.iter().find(|known| known.as_bytes() == &*name) {
                body::form::append(&mut read, name, &value);
            }
        }
        (!read.is_empty()).then(|| format!("/?{read}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_query_string_only_what_is_read_is_kept() {
        let readings = Readings {
            query: vec!["data.id".into()],
            ..Readings::default()
        };
        let kept = |query| readings.path_and_query(query);
        assert_eq!(
            kept("hmac=t&data.id=7%2b&x=1").as_deref(),
            Some("/?data.id=7%2B")
        );
        // One that stands twice counts as absent then and later.
        assert_eq!(
            kept("data.id=7&data.id=8").as_deref(),
            Some("/?data.id=7&data.id=8")
        );
        assert_eq!(kept("hmac=t"), None);
        assert_eq!(Readings::default().path_and_query("a=1"), None);
    }
}
