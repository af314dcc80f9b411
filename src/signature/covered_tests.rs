//! What is read is what was signed: a body that can be taken in two ways is taken in the way in which it was signed, or in none.

use bytes::Bytes;
use hmac::{KeyInit, Mac};
use jiff::Timestamp;

use super::*;
use crate::identity::Force;
use crate::secret::Secret;

const UNCOVERED: &str = "takes a value that the signature does not cover";

fn compiled(text: &str) -> Result<Profile, Vec<String>> {
    let descriptor: ProfileDescriptor = toml::from_str(text).unwrap();
    let told = |faults: Vec<ProfileFault>| faults.iter().map(ToString::to_string).collect();
    Profile::compile("own", &descriptor).map_err(told)
}

/// A profile over fields that signs them in one notation; `event` says how the mapping reads the body.
fn over_fields(content: &str, event: &str) -> String {
    format!(
        "signed = 'fields'\n[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{content}'\n[event]\nid = '/id'\n\
         payment_id = '/id'\namount = '/amount'\ncurrency = '/currency'\nstatus_by = '=succeeded'\n{event}\n"
    )
}

#[track_caller]
fn check_uncovered(content: &str, event: &str) {
    let faults = compiled(&over_fields(content, event)).unwrap_err();
    let uncovered = |key: &str| {
        let about = format!("{key}: {UNCOVERED}");
        faults.iter().any(|fault| fault.starts_with(&about))
    };
    let all = [
        "event.id",
        "event.payment_id",
        "event.amount",
        "event.currency",
    ];
    assert!(all.into_iter().all(uncovered), "{content}: {faults:#?}");
}

#[test]
fn a_field_of_a_form_is_no_field_of_json() {
    let form = "{form:id}&{form:amount}&{form:currency}";
    let json = "{json:/id}&{json:/amount}&{json:/currency}";
    check_uncovered(form, "");
    check_uncovered(json, "format = 'form'");
    // The document is what another field of the form holds.
    check_uncovered(form, "format = 'form'\nfield = 'payload'");
    check_uncovered(json, "format = 'form'\nfield = 'payload'");
    check_uncovered(json, "format = 'json-or-form'\nfield = 'payload'");
    // The events are parts of what is signed, and what they hold is not.
    check_uncovered(json, "each = '/items/*'");
    compiled(&over_fields(form, "format = 'form'")).unwrap();
    compiled(&over_fields(json, "")).unwrap();
}

#[test]
fn a_value_is_uncovered_through_whatever_it_is_taken() {
    let check = |signature: &str, event: &str, expected: Option<&str>| {
        let text = format!(
            "signed = 'fields'\n[signature]\nfrom = {{ header = ['x-sig'] }}\n{signature}\n[event]\nid = '/id'\n{event}\n"
        );
        let told = compiled(&text).err();
        let uncovered = |key: &str| format!("{key}: {UNCOVERED}");
        let first = told.as_ref().map(|faults| faults[0].as_str());
        match (first, expected) {
            (None, None) => {}
            (Some(first), Some(key)) if first.starts_with(&uncovered(key)) => {}
            _ => panic!("{text}\n{told:#?}"),
        }
    };
    let by_type = "type = '/kind'\nstatus_by = '{type}'";
    check("content = '{json:/id}'", by_type, Some("event.status_by"));
    check("content = '{json:/id}:{json:/kind}'", by_type, None);
    let in_a_case = "status_by = '{upper:/status}'";
    check("content = '{json:/id}'", in_a_case, Some("event.status_by"));
    check("content = '{json:/id}:{json:/status}'", in_a_case, None);
    let a_header = "status_by = '{header:x-status}'";
    check("content = '{json:/id}'", a_header, Some("event.status_by"));
    check("content = '{json:/id}:{header:x-status}'", a_header, None);
    let the_id = "status_by = '{id}'";
    let with_id = "id = { header = ['x-id'] }\n";
    let unsigned = format!("{with_id}content = '{{json:/id}}'");
    check(&unsigned, the_id, Some("event.status_by"));
    check(
        &unsigned,
        "status_by = '{header:x-id}'",
        Some("event.status_by"),
    );
    let signed = format!("{with_id}content = '{{json:/id}}:{{id}}'");
    check(&signed, the_id, None);
    check(&signed, "status_by = '{header:x-id}'", None);
}

#[test]
fn a_body_that_may_be_json_is_not_covered_by_its_form_field() {
    let profile = |format: &str, content: &str| {
        format!(
            "[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{content}'\n[event]\nid = '/id'\nformat = '{format}'\n\
             field = 'payload'\n"
        )
    };
    let faults = compiled(&profile("json-or-form", "{form:payload}")).unwrap_err();
    assert!(
        faults[0].starts_with("signature.content: does not cover what `signed` says"),
        "{faults:#?}"
    );
    compiled(&profile("json-or-form", "{body}")).unwrap();
    compiled(&profile("form", "{form:payload}")).unwrap();
}

#[test]
fn a_document_in_one_case_alone_is_not_covered() {
    let profile = |content: &str, event: &str| {
        format!(
            "[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{content}'\n[event]\nid = '/id'\n{event}\n"
        )
    };
    let of_a_form = "format = 'form'\nfield = 'payload'";
    for (content, event) in [
        ("{lower:body}", ""),
        ("{upper:base64:body}", ""),
        ("{sha256_hex:lower:body}", ""),
        ("{lower:form:payload}", of_a_form),
    ] {
        let faults = compiled(&profile(content, event)).unwrap_err();
        assert!(
            faults[0].starts_with("signature.content: does not cover what `signed` says"),
            "{content}: {faults:#?}"
        );
    }
    compiled(&profile("{upper:sha256_hex:body}", "")).unwrap();
    compiled(&profile("{base64:body}", "")).unwrap();
}

#[track_caller]
fn check_fault(profile: &str, expected: &str) {
    let faults = compiled(profile).err().unwrap_or_default();
    let told = faults.iter().any(|fault| fault.contains(expected));
    assert!(told, "{profile}\n{expected}: {faults:#?}");
}

#[test]
fn what_is_signed_in_one_case_is_an_id_in_that_case_alone() {
    let content =
        "{lower:json:/id|without::}:{json:/amount|is:amount}:{upper:json:/status|is:word}";
    let own = |event: &str| {
        format!(
            "signed = 'fields'\n[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{content}'\n[event]\n{event}\n"
        )
    };
    let folded = "of which the signature covers the letters in one case alone";
    check_fault(
        &own("id = '/id'"),
        &format!("event.id: takes a value {folded}"),
    );
    check_fault(&own("payment_id = '/id'\nstatus_by = '/status'"), folded);
    let in_that_case = "id = '{lower:/id}'\npayment_id = '{lower:/id}'\nstatus_by = '/status'";
    let profile = compiled(&own(in_that_case)).unwrap();
    let request = Request {
        method: &http::Method::POST,
        path_and_query: "/",
        headers: &http::HeaderMap::new(),
    };
    let facts = profile.facts(br#"{"id":"aBc","status":"paid"}"#, &request);
    assert_eq!(facts.unwrap().event_id.as_deref(), Some("abc"));
    let account = AccountBinding {
        pointer: "/id".into(),
        equals: "A".into(),
    };
    let bound = Settings {
        account: Some(account),
        ..Settings::default()
    };
    let faults = verifier(profile, bound).map(drop).unwrap_err();
    assert!(faults[0].contains("does not cover it"), "{faults:#?}");
}

#[test]
fn forms_of_a_content_that_cut_it_up_in_another_way_are_a_fault() {
    let own = |contents: &str| {
        format!(
            "signed = 'fields'\n[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = [{contents}]\n[event]\nid = '/id'\n"
        )
    };
    for other in [
        "{json:/amount|is:amount}:{json:/id|without::}",
        "{json:/id|without::}.{json:/amount|is:amount}",
        "{json:/id|without::}:",
        "v1{json:/id|without::}:{json:/amount|is:amount}",
        "{json:/id|without::}:{json:/amount|is:amount}v1",
        "{base64:json:/id|without::}:{json:/amount|is:amount}",
    ] {
        let contents = format!("'{{json:/id|without::}}:{{json:/amount|is:amount}}', '{other}'");
        check_fault(&own(&contents), "has forms that sign different things");
    }
    let sound = "'{json:/id|without::}:{json:/amount}', \"{json:/id|without::}:{json:/amount|is:amount}\\n\"";
    compiled(&own(sound)).unwrap();
}

#[test]
fn a_group_shows_whether_it_is_there() {
    let own = |content: &str| {
        format!(
            "signed = 'fields'\n[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{content}'\n[event]\nid = '/id'\n"
        )
    };
    for content in [
        "{json:/id|without::}:[{json:/amount|is:amount}:][{json:/fee|is:amount}:]{json:/currency|is:currency}",
        "{json:/id|without::}:{json:/amount|is:amount}[-{json:/fee|is:amount}]{json:/x|is:amount}",
        "{json:/id|without::}:[a:{json:/fee}:][a:{json:/x}:]b",
    ] {
        check_fault(&own(content), "does not tell whether it is there");
    }
    compiled(&own(
        "[id:{json:/id|without:;};][fee:{json:/fee|without:;};]end",
    ))
    .unwrap();
}

#[test]
fn a_form_beside_a_value_has_no_border() {
    let own = |content: &str, event: &str| {
        format!(
            "[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{content}'\n[event]\nid = '/id'\n{event}\n"
        )
    };
    for content in ["{url}{body}", "{header:x-nonce}{body}", "{body}{timestamp}"] {
        let timed = "[timestamp]\nfrom = { header = ['x-time'] }\npast = '5m'\n";
        let with_time = |text: String| match content.contains("timestamp") {
            true => format!("{timed}{text}"),
            false => text,
        };
        check_fault(
            &with_time(own(content, "format = 'form'")),
            "one signature would serve for several deliveries",
        );
        compiled(&with_time(own(content, ""))).unwrap();
    }
}

#[test]
fn of_several_headers_of_an_id_none_is_signed_by_itself() {
    let own = |id: &str| {
        format!(
            "[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{{id}}.{{body}}'\nid = {{ header = ['a-id', 'b-id'] }}\n\
             [event]\nid = '{id}'\n"
        )
    };
    check_fault(&own("{header:b-id}"), UNCOVERED);
    compiled(&own("{id}")).unwrap();
}

#[test]
fn nothing_is_signed_for_a_stranger_that_a_delivery_could_say() {
    let own = |content: &str, event: &str| {
        format!(
            "signed = 'fields'\n[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{content}'\n[event]\n{event}\n\
             [[challenge]]\nmethod = 'GET'\nwhen = {{ query = 'c' }}\naccept = 'hex'\nbody = '{{mac:query:c}}'\n"
        )
    };
    let oracle = "signs for anyone what could be the content of a delivery";
    check_fault(&own("{json:/pay}", ""), oracle);
    check_fault(&own("{json:/pay}{json:/amount|is:currency}", ""), oracle);
    check_fault(&own("{form:payload}", "format = 'form'"), oracle);
    check_fault(&own("{json:/pay}{crc32:body}", ""), oracle);
    compiled(&own("pay:{json:/pay}", "")).unwrap();
}

#[test]
fn of_a_signed_challenge_only_what_is_signed_is_signed_again() {
    let own = |body: &str| {
        format!(
            "[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{{body}}.{{header:x-a}}'\n[event]\nid = '/id'\n\
             [[challenge]]\nwhen = {{ json = '/c' }}\nbody = '{body}'\n"
        )
    };
    let oracle = "answers with a MAC, and the signature does not cover";
    check_fault(&own("{mac:query:c}"), oracle);
    check_fault(&own("{mac:header:x-b}"), oracle);
    compiled(&own("{mac:json:/c}{header:x-b}")).unwrap_err();
    compiled(&own("{mac:json:/c}")).unwrap();
    compiled(&own("{mac:header:x-a}")).unwrap();
}

#[test]
fn a_query_in_one_case_is_no_id() {
    let own = |content: &str| {
        format!(
            "[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{content}|{{body}}'\n[event]\nid = '{{query:id}}'\n"
        )
    };
    check_fault(&own("{lower:path_and_query}"), "in one case alone");
    compiled(&own("{path_and_query}")).unwrap();
    let id = "[signature]\nfrom = { header = ['x-sig'] }\ncontent = '{lower:id}.{body}'\nid = { header = ['x-id'] }";
    check_fault(id, &format!("signature.id: {UNCOVERED}"));
}

#[test]
fn the_elements_of_a_list_that_is_not_signed_are_no_events() {
    check_fault(
        "signed = 'fields'\n[signature]\nfrom = { header = ['x-sig'] }\ncontent = '{json:/batch}'\n[event]\neach = '/items/*'",
        "event.each: takes a list's elements for the events",
    );
}

#[test]
fn signed_fields_by_which_an_event_is_known_have_borders() {
    let own = |content: &str| {
        format!(
            "signed = 'fields'\n[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{content}'\n"
        )
    };
    check_fault(
        &own("{json:/pay|without::}:{json:/a}{json:/b}"),
        "one signature would serve for several deliveries",
    );
    compiled(&own("{json:/pay|without::}:{json:/a}")).unwrap();
}

fn verifier(profile: Profile, settings: Settings) -> Result<Verifier, Vec<String>> {
    let secret = ProducerSecret {
        label: "the secret".into(),
        secret: Secret::new("a secret of some length".into()),
        force: Force::Live,
    };
    let told = |faults: Vec<ProfileFault>| faults.iter().map(ToString::to_string).collect();
    Verifier::new(profile.into(), vec![secret], settings).map_err(told)
}

#[test]
fn an_account_is_bound_to_what_is_signed_as_it_is_read() {
    let bound = |content: &str, event: &str| {
        let text = format!(
            "signed = 'fields'\n[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{content}'\n[event]\n{event}"
        );
        let account = AccountBinding {
            pointer: "/account".into(),
            equals: "acct_1".into(),
        };
        let settings = Settings {
            account: Some(account),
            ..Settings::default()
        };
        verifier(compiled(&text).unwrap(), settings).map(drop)
    };
    bound("{json:/account}", "").unwrap();
    bound("{form:account}", "format = 'form'").unwrap();
    for (content, event) in [
        ("{form:account}", ""),
        ("{json:/account}", "format = 'form'"),
        ("{form:account}", "format = 'form'\nfield = 'payload'"),
    ] {
        let faults = bound(content, event).unwrap_err();
        assert!(
            faults[0].starts_with("account.pointer: the profile's signature does not cover it"),
            "{faults:#?}"
        );
    }
}

#[test]
fn a_bound_account_is_looked_for_where_the_profile_reads_its_events() {
    let check = |event: &str, body: &str, expected: bool| {
        let text = format!(
            "[signature]\nfrom = {{ header = ['x-sig'] }}\nencoding = 'hex'\ncontent = '{{body}}'\n[event]\n{event}"
        );
        let settings = Settings {
            account: Some(AccountBinding {
                pointer: "/account".into(),
                equals: "acct_1".into(),
            }),
            ..Settings::default()
        };
        let verifier = verifier(compiled(&text).unwrap(), settings).unwrap();
        let mut mac =
            hmac::Hmac::<sha2::Sha256>::new_from_slice(b"a secret of some length").unwrap();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let mut headers = http::HeaderMap::new();
        headers.insert("x-sig", signature.parse().unwrap());
        let request = Request {
            method: &http::Method::POST,
            path_and_query: "/",
            headers: &headers,
        };
        let proof = verifier.prove(&request, body.to_owned().into(), Timestamp::UNIX_EPOCH);
        let told = proof.map(drop);
        let refused = Err(SignatureRefusal::AccountMismatch);
        assert_eq!(told, if expected { Ok(()) } else { refused }, "{body}");
    };
    let form = "format = 'form'";
    let field = "format = 'form'\nfield = 'payload'";
    let either = "format = 'json-or-form'\nfield = 'payload'";
    let (own, other) = (r#"{"account":"acct_1"}"#, r#"{"account":"acct_2"}"#);
    let (in_form, other_in_form) = (&format!("payload={own}"), &format!("payload={other}"));
    for (event, body, expected) in [
        (form, "account=acct_1", true),
        (form, "account=acct_2", false),
        (form, "account=acct_1&account=acct_1", false),
        (form, "id=acct_1", false),
        (field, in_form, true),
        (field, other_in_form, false),
        (field, "account=acct_1", false),
        (either, in_form, true),
        (either, other_in_form, false),
        (either, own, true),
        (either, other, false),
    ] {
        check(event, body, expected);
    }
}

#[test]
fn a_query_that_only_a_url_with_a_query_signs_is_read_by_nobody() {
    let with_url = |content: &str, url: &str| {
        let text = format!(
            "[signature]\nfrom = {{ header = ['x-sig'] }}\ncontent = '{content}'\n[event]\nid = '{{query:id}}'\n"
        );
        let settings = Settings {
            url: Some(url.to_owned()),
            ..Settings::default()
        };
        verifier(compiled(&text).unwrap(), settings).map(drop)
    };
    with_url("{url}{body}", "https://hooks.example.com/in").unwrap();
    with_url(
        "{url}|{query:id}|{body}",
        "https://hooks.example.com/in?v=1",
    )
    .unwrap();
    let faults = with_url("{url}{body}", "https://hooks.example.com/in?v=1").unwrap_err();
    assert!(
        faults[0].starts_with("url: has a query, and the mapping reads {query:id} of each request"),
        "{faults:#?}"
    );
}

#[test]
fn an_item_that_can_not_be_read_hides_no_other() {
    let profile = "signed = 'fields'\n[signature]\nfrom = { json = '/s' }\nencoding = 'hex'\ncontent = '{json:/id}'\n\
                   each = '/items/*/event'\n[event]\nid = '/id'";
    let verifier = verifier(compiled(profile).unwrap(), Settings::default()).unwrap();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(b"a secret of some length").unwrap();
    mac.update(b"evt_1");
    let good = format!(
        r#"{{"id":"evt_1","s":"{}"}}"#,
        hex::encode(mac.finalize().into_bytes())
    );
    let body =
        format!(r#"{{"items":[{{"event":{good}}},{{"event":{good},"event":{{"id":"evil"}}}}]}}"#);
    let request = Request {
        method: &http::Method::POST,
        path_and_query: "/",
        headers: &http::HeaderMap::new(),
    };
    let proof = verifier
        .prove(&request, Bytes::from(body), Timestamp::UNIX_EPOCH)
        .unwrap();
    let verdicts: Vec<_> = proof
        .items
        .iter()
        .map(|item| item.refusal().is_none())
        .collect();
    assert_eq!(verdicts, [true, false]);
}

#[test]
fn an_event_of_a_batch_that_stands_twice_hides_no_other() {
    let profile = "[signature]\nfrom = { header = ['x-sig'] }\ncontent = '{body}'\n[event]\nid = '/id'\neach = '/items/*/event'";
    let profile = compiled(profile).unwrap();
    let body = r#"{"items":[{"event":{"id":"evt_1"}},{"event":{"id":"evt_2"},"event":{"id":"evt_3"}},{"event":{"id":"evt_4"}}]}"#;
    let items = profile
        .mapping
        .items(&Bytes::from_static(body.as_bytes()))
        .unwrap();
    assert_eq!(items.len(), 3);
    let around = mapping::around::Around {
        headers: &http::HeaderMap::new(),
        query: "",
    };
    let ids: Vec<_> = items
        .iter()
        .map(|item| profile.mapping.facts(item, around).unwrap().event_id)
        .collect();
    assert_eq!(
        ids,
        [Some("evt_1".to_owned()), None, Some("evt_4".to_owned())]
    );
}
