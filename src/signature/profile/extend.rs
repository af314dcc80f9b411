//! `extends`: what a profile leaves out comes from another; tables are joined key by key, lists replaced whole, and its own rules
//! of `event.when` stand before those of the other.

use super::descriptor::SentDescriptor;
use super::descriptor::{
    AnswerDescriptor, EventDescriptor, ProfileDescriptor, SignatureDescriptor, TimestampDescriptor,
    WhenDescriptor,
};

/// Fills the named fields of `$own` from `$base` where they are absent.
macro_rules! or_else {
    (whole $own:expr, $base:expr; $($field:ident),+ $(,)?) => {
        Self { $($field: $own.$field.or_else(|| $base.$field.clone()),)+ }
    };
    ($own:expr, $base:expr; $($field:ident),+ $(,)?) => {
        Self { $($field: $own.$field.or_else(|| $base.$field.clone()),)+ ..$own }
    };
}

fn over<T: Clone>(own: Option<T>, base: &Option<T>, join: impl Fn(T, &T) -> T) -> Option<T> {
    match (own, base) {
        (Some(own), Some(base)) => Some(join(own, base)),
        (Some(own), None) => Some(own),
        (None, base) => base.clone(),
    }
}

impl ProfileDescriptor {
    /// This profile, with what it leaves out taken from `base`, which names what is to be filled in next.
    pub(super) fn over(mut self, base: &Self) -> Self {
        let weak = self.weak.take().or_else(|| self.inherits_weakness(base));
        self.signature = over(
            self.signature.take(),
            &base.signature,
            SignatureDescriptor::over,
        );
        self.timestamp = over(
            self.timestamp.take(),
            &base.timestamp,
            TimestampDescriptor::over,
        );
        let is_of_another_form = self.is_of_another_form(base);
        self.event = over(self.event.take(), &base.event, EventDescriptor::over);
        self.answer = over(self.answer.take(), &base.answer, AnswerDescriptor::over);
        self.sent = over(self.sent.take(), &base.sent, SentDescriptor::over);
        if !is_of_another_form {
            self.samples = over(self.samples.take(), &base.samples, |own, base| {
                joined(own, base)
            });
        }
        let whole = or_else!(self, base; extends, title, source, note, signed, challenge);
        Self { weak, ..whole }
    }
}

impl ProfileDescriptor {
    /// Whether its bodies are read otherwise: samples of the other form would be none of its own.
    fn is_of_another_form(&self, base: &Self) -> bool {
        let form = |event: &EventDescriptor| event.format;
        let own = self.event.as_ref().and_then(form);
        let base = base.event.as_ref().and_then(form).unwrap_or_default();
        own.is_some_and(|own| own != base)
    }

    /// Why the other scheme is weak, if that is still the reason: of another algorithm it would be untrue.
    fn inherits_weakness(&self, base: &Self) -> Option<String> {
        let own = self.signature.as_ref();
        let is_another = own.is_some_and(|own| own.algorithm.is_some() || own.mac.is_some());
        base.weak.clone().filter(|_| !is_another)
    }
}

fn joined<V: Clone>(
    own: std::collections::BTreeMap<String, V>,
    base: &std::collections::BTreeMap<String, V>,
) -> std::collections::BTreeMap<String, V> {
    let mut whole = base.clone();
    whole.extend(own);
    whole
}

impl SignatureDescriptor {
    fn over(self, base: &Self) -> Self {
        or_else!(whole self, base; from, all, split, pair, pick, bare, mac, algorithm, encoding, key, strip_prefix,
            content, id, each, also)
    }
}

impl TimestampDescriptor {
    fn over(self, base: &Self) -> Self {
        or_else!(whole self, base; from, unit, past, future)
    }
}

impl AnswerDescriptor {
    fn over(self, base: &Self) -> Self {
        or_else!(whole self, base; accepted, body, content_type, bad_signature, bad_signature_body, budget)
    }
}

impl SentDescriptor {
    fn over(mut self, base: &Self) -> Self {
        self.headers = over(self.headers.take(), &base.headers, |own, base| {
            joined(own, base)
        });
        or_else!(self, base; signature, algorithm)
    }
}

impl EventDescriptor {
    fn over(mut self, base: &Self) -> Self {
        self.status = over(self.status.take(), &base.status, |own, base| {
            joined(own, base)
        });
        self.when = over(self.when.take(), &base.when, |own, base| {
            rules_over(own, base)
        });
        self.only = over(self.only.take(), &base.only, joined);
        or_else!(self, base; format, field, each, id, kind, occurred_at, occurred_at_unit, account, payment_id, amount,
            amount_unit, amount_refunded, currency, status_by, unlisted, fetch_needed, signed_time, minor_digits, refunds)
    }
}

/// One's own rules come first, for the first that fits is used. An empty list takes all away; behind a rule for every event
/// no other would ever be looked at.
fn rules_over(own: Vec<WhenDescriptor>, base: &[WhenDescriptor]) -> Vec<WhenDescriptor> {
    let mut rules = own;
    if !rules.is_empty() && !rules.iter().any(WhenDescriptor::is_for_every_event) {
        rules.extend(base.iter().cloned());
    }
    rules
}
