//! What the signature of a delivery covered, read again from what was kept of it. Nothing is verified here: it held when
//! the delivery came.

use jiff::Timestamp;

use crate::signature::body;
use crate::signature::grammar::Items;
use crate::signature::places::{self, query};
use crate::signature::profile::descriptor::SignedTime;
use crate::signature::profile::meaning::Profile;
use crate::signature::request::Request;
use crate::signature::verify::{delivery_id, stated};

/// Something that a signature covers, as far as it can be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again<T> {
    /// The profile's signatures cover no such thing.
    Nothing,
    /// This it was.
    Same(T),
    /// It stood where nothing was kept.
    Lost,
}

impl<T> Again<T> {
    fn of(found: Option<T>) -> Self {
        found.map_or(Self::Lost, Self::Same)
    }
}

/// Time and id of a kept delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAgain {
    /// When it was signed, where its events happened then.
    pub at: Again<Timestamp>,
    /// Its id.
    pub id: Again<String>,
}

impl Profile {
    /// The time and the id that its signature covers; `item` is the kept body, or the kept part of it.
    pub fn signed_again(&self, item: &[u8], request: &Request<'_>) -> SignedAgain {
        let nothing = SignedAgain {
            at: Again::Nothing,
            id: Again::Nothing,
        };
        // What each item of a batch signs for itself is no delivery's.
        let Some(scheme) = self.scheme.as_ref().filter(|scheme| !scheme.per_item) else {
            return nothing;
        };
        let document = body::json::document(item).ok();
        let texts = places::texts(&scheme.place, scheme.all, request, item, document);
        let texts = texts.unwrap_or_default();
        let items = Items::read(scheme.grammar, texts.iter().map(|text| &**text));
        let happened = self.mapping.readings.signed_time == SignedTime::Happened;
        let at = self.timestamp.as_ref().filter(|_| happened).map(|rule| {
            let time = stated(rule, request, item, document, items.as_ref().ok()?);
            time.ok().map(|(_, at)| at)
        });
        let id = scheme.id.as_ref().filter(|_| scheme.signs_the_id);
        let id = id.map(|place| {
            let id = delivery_id(place, request, item, document, items.as_ref().ok()?);
            id.ok().map(std::borrow::Cow::into_owned)
        });
        SignedAgain {
            at: at.map_or(Again::Nothing, Again::of),
            id: id.map_or(Again::Nothing, Again::of),
        }
    }

    /// Whether its mapping reads a parameter of the query string that this request lacks.
    pub fn lacks_a_parameter(&self, request: &Request<'_>) -> bool {
        let query = query(request).as_bytes();
        let mut names = self.mapping.readings.query.iter();
        names.any(|name| matches!(body::form::value(query, name), Ok(None)))
    }
}
