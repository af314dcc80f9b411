//! What a signature must cover, for it to prove what the profile takes from a delivery.

use super::algorithm::MacKind;
use super::descriptor::{BodyFormat, Coverage, ProfileDescriptor};
use super::faults::Faults;
use crate::signature::scheme::{Place, Scheme};
use crate::signature::template::{Template, Value};

const CONTENT: &str = "signature.content";

/// Adds a fault for all that would be taken and is not proved.
pub(super) fn check(
    profile: &ProfileDescriptor,
    scheme: &Scheme,
    coverage: Coverage,
    faults: &mut Faults,
) {
    check_that_values_have_a_place(profile, scheme, faults);
    check_that_the_id_is_covered(scheme, faults);
    if profile.timestamp.is_some() && !scheme.signs_the_timestamp() {
        let mend = "put {timestamp} into signature.content, or leave [timestamp] out; where it comes by `extends`, build on a profile that has none";
        let what = "the signature does not cover it, so it proves nothing";
        faults.add("timestamp", what, mend);
    }
    if !covers(scheme, profile, coverage) && !scheme.contents.is_empty() {
        let mend = "put {body} (or the signed fields) into it, or say signed = \"fields\" or \"reference\"";
        faults.add(CONTENT, "does not cover what `signed` says", mend);
    }
    check_that_forms_agree(scheme, faults);
    check_that_groups_are_told_apart(profile, scheme, faults);
    if scheme.main.mac == MacKind::Hash && !scheme.signs(&Value::Secret) {
        let mend = "put {secret} into it, or use mac = \"hmac\"";
        let what = "is hashed without a secret: anyone could sign";
        faults.add(CONTENT, what, mend);
    }
    if scheme.per_item {
        check_that_items_can_be_signed(scheme, coverage, faults);
    }
}

fn check_that_values_have_a_place(
    profile: &ProfileDescriptor,
    scheme: &Scheme,
    faults: &mut Faults,
) {
    let takes = |value: &Value| scheme.values().any(|taken| taken == value);
    if takes(&Value::Timestamp) && profile.timestamp.is_none() {
        let mend = "say where it stands: [timestamp] from = ...";
        let what = "signs {timestamp}, and there is no [timestamp]";
        faults.add(CONTENT, what, mend);
    }
    if takes(&Value::Id) && scheme.id.is_none() {
        let mend = "write signature.id = { header = [\"webhook-id\"] }";
        let what = "signs {id}, and nothing says where it stands";
        faults.add(CONTENT, what, mend);
    }
}

fn check_that_the_id_is_covered(scheme: &Scheme, faults: &mut Faults) {
    let id = &Value::Id;
    if scheme.values().any(|value| value == id)
        && (!scheme.signs_if_present(id) || scheme.folds_case_of(id))
    {
        let mend = "put {id} into every form of signature.content, without a filter that takes a part of it or changes its case";
        let what = "takes a value that the signature does not cover";
        faults.add("signature.id", what, mend);
    }
}

/// Whether it covers what `signed` says.
fn covers(scheme: &Scheme, profile: &ProfileDescriptor, coverage: Coverage) -> bool {
    let mut values = scheme.values();
    match coverage {
        Coverage::Body => {
            // A body that may be JSON as well is not read by that field alone.
            let event = profile.event.as_ref();
            let document = event
                .filter(|event| event.format != Some(BodyFormat::JsonOrForm))
                .and_then(|event| event.field.as_deref())
                .map(|field| Value::Form(field.into()));
            let whole = |field: &Value| scheme.signs(field) && !scheme.folds_case_of(field);
            scheme.signs(&Value::Body) || document.as_ref().is_some_and(whole)
        }
        Coverage::Fields => values.any(|value| is_field(value) && scheme.signs_if_present(value)),
        Coverage::Reference => values.any(|value| scheme.signs_if_present(value)),
        Coverage::Connection => true,
    }
}

fn is_field(value: &Value) -> bool {
    matches!(
        value,
        Value::Json(_) | Value::Form(_) | Value::Query(_) | Value::Body
    )
}

/// Whichever form is the right one, the same things must be signed, and where one ends must be told in the same way: what one
/// form leaves out, or another takes for something else, could be anyone's.
fn check_that_forms_agree(scheme: &Scheme, faults: &mut Faults) {
    let first = scheme.contents.first().map(Template::order);
    let differs = |content: &Template| Some(content.order()) != first;
    if scheme.contents.iter().any(differs) {
        let mend = "let every form hold the same values in the same order, with the same text between them";
        faults.add(CONTENT, "has forms that sign different things", mend);
    }
}

fn check_that_groups_are_told_apart(
    profile: &ProfileDescriptor,
    scheme: &Scheme,
    faults: &mut Faults,
) {
    let format = profile.event.as_ref().and_then(|event| event.format);
    let json = format.unwrap_or_default() == BodyFormat::Json;
    let mut contents = scheme.contents.iter();
    if !contents.all(|content| content.tells_its_groups(json)) {
        let mend = "let each group in brackets begin with a text of its own, as [id:{query:id};][ref:{query:ref};]ts:{timestamp}";
        let what = "has a group of which the text does not tell whether it is there: one signature would serve for several deliveries";
        faults.add(CONTENT, what, mend);
    }
}

fn check_that_items_can_be_signed(scheme: &Scheme, coverage: Coverage, faults: &mut Faults) {
    if !matches!(scheme.place, Place::Json(_)) {
        let what = "must be { json = ... } where each item bears its own";
        faults.add("signature.from", what, "name the item's field");
    }
    if coverage == Coverage::Body {
        let what = "a signature per item covers fields, never the body";
        faults.add("signed", what, "say signed = \"fields\"");
    }
}
