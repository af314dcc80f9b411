//! Whom a refused certificate concerns, as far as its subject tells.

use crate::identity::{Directory, Force, Producer, TenantId};
use crate::x509::DistinguishedName;

/// Whom a refusal is booked to: nobody is named who may have nothing to do with it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claimed<'a> {
    /// The one producer that it can be.
    pub(super) producer: Option<&'a Producer>,
    tenant: Option<&'a TenantId>,
}

impl<'a> Claimed<'a> {
    /// By a subject alone. Where several producers have it, and only the path tells them apart, it is none of them; and a tenant only if it
    /// is that of all. A producer that only watches is meant where no live one has the subject.
    pub(super) fn by(subject: &DistinguishedName, directory: &'a Directory) -> Self {
        let live = |producer: &Producer| producer.force == Force::Live;
        let any_live = directory.claimed(subject).any(|producer| live(producer));
        let mut meant = directory
            .claimed(subject)
            .map(|producer| &**producer)
            .filter(|producer| live(producer) == any_live);
        let Some(first) = meant.next() else {
            return Self::default();
        };
        let mut claimed = Self::from(first);
        for other in meant {
            claimed.producer = None;
            claimed.tenant = claimed.tenant.filter(|tenant| **tenant == other.tenant);
        }
        claimed
    }

    /// The tenant's id; empty where it is not known.
    pub(super) fn tenant(&self) -> &'a str {
        self.tenant.map_or("", TenantId::as_str)
    }

    /// The producer's name; empty where it is not known.
    pub(super) fn name(&self) -> &'a str {
        self.producer.map_or("", |producer| &producer.name)
    }
}

impl<'a> From<&'a Producer> for Claimed<'a> {
    fn from(producer: &'a Producer) -> Self {
        Self {
            producer: Some(producer),
            tenant: Some(&producer.tenant),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::ProducerId;

    const SUBJECT: &str = "CN=payments-provider,O=Example";

    /// Of producers (tenant, path, force) with one subject: the tenant and the path of whom a refusal is booked to.
    #[track_caller]
    fn check(producers: &[(&str, &str, Force)], expected: (&str, &str)) {
        let subject: DistinguishedName = SUBJECT.parse().unwrap();
        let producers = producers.iter().enumerate();
        let producers = producers.map(|(id, (tenant, path, force))| Producer {
            id: ProducerId(id),
            tenant: TenantId::new(tenant),
            name: Arc::from(*path),
            subject: subject.clone(),
            pins: Vec::new(),
            shadow_pins: Vec::new(),
            path: Some(Arc::from(*path)),
            force: *force,
        });
        let directory = Directory::build(producers.collect()).unwrap();
        let claimed = Claimed::by(&subject, &directory);
        assert_eq!((claimed.tenant(), claimed.name()), expected);
        let stranger: DistinguishedName = "CN=somebody".parse().unwrap();
        assert_eq!(Claimed::by(&stranger, &directory).tenant(), "");
    }

    #[test]
    fn of_several_with_one_subject_none_is_named_and_a_tenant_only_if_it_is_that_of_all() {
        use Force::{Live, Shadow};
        check(&[("a", "/1", Live)], ("a", "/1"));
        check(&[("a", "/1", Live), ("b", "/2", Live)], ("", ""));
        check(&[("a", "/1", Live), ("a", "/2", Live)], ("a", ""));
        let three = [("a", "/1", Live), ("b", "/2", Live), ("a", "/3", Live)];
        check(&three, ("", ""));
        // What only watches decides nothing, this neither.
        check(&[("b", "/2", Shadow), ("a", "/1", Live)], ("a", "/1"));
        check(&[("b", "/2", Shadow)], ("b", "/2"));
        check(&[("b", "/2", Shadow), ("a", "/1", Shadow)], ("", ""));
    }
}
