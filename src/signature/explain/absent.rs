//! What the signed content names and the request lacks: without it the content is another one, or none.

use super::explanation::{Delivery, Finding, items};
use crate::signature::asked::{self, Place};
use crate::signature::scheme::AlgorithmRule;
use crate::signature::template::Value;

impl Delivery<'_> {
    /// The headers, the parameters of the query string and the items that are absent. A field of the body may well be.
    pub(super) fn absent(&self) -> Vec<Finding> {
        let mut absent: Vec<Finding> = Vec::new();
        let contents = self.scheme.contents.iter();
        let values = contents.flat_map(|content| content.values());
        let signed = values.filter_map(|value| Some(("signed value", around_the_body(value)?)));
        let variants = std::iter::once(&self.scheme.main).chain(&self.scheme.also);
        let algorithms = variants.filter_map(|variant| match &variant.algorithm {
            AlgorithmRule::Fixed(_) => None,
            AlgorithmRule::ByItem { item, .. } => Some(("algorithm", Place::Item(item.clone()))),
        });
        for (what, place) in signed.chain(algorithms) {
            let finding = Finding {
                what,
                place: place.to_string(),
                found: None,
                in_the_url: matches!(place, Place::Query(_)),
            };
            if self.lacks(&place) && !absent.contains(&finding) {
                absent.push(finding);
            }
        }
        absent
    }

    fn lacks(&self, place: &Place) -> bool {
        match place {
            Place::Item(key) => {
                let items = items(self.scheme, &self.texts);
                items.is_some_and(|items| matches!(items.named(key), Ok(None)))
            }
            Place::Header(_) | Place::Form(_) | Place::Json(_) | Place::Query(_) => {
                let found = asked::texts(place, false, self.request, self.body, self.document);
                found.is_ok_and(|found| found.is_empty())
            }
        }
    }
}

fn around_the_body(value: &Value) -> Option<Place> {
    match value {
        Value::Header(name) => Some(Place::Header([name.clone()].into())),
        Value::Query(name) => Some(Place::Query(name.clone())),
        Value::Item(key) => Some(Place::Item(key.clone())),
        Value::Body
        | Value::Timestamp
        | Value::Id
        | Value::Url
        | Value::Method
        | Value::PathAndQuery
        | Value::Secret
        | Value::KeyId
        | Value::Form(_)
        | Value::Json(_)
        | Value::Config(_) => None,
    }
}
