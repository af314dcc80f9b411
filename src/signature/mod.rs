//! Gate 3: is the delivery signed by whom the certificate names?
//!
//! A profile is data ([`ProfileDescriptor`]), checked and compiled once ([`Profile`]); a [`Verifier`] adds one
//! producer's secrets and bindings to it, with the keys prepared. Only [`Verifier::verify`] makes a
//! [`VerifiedDelivery`].
//!
//! It promises: the raw bytes are what is verified, and they are parsed only afterwards; every listed signature
//! and every active secret is tried, and MACs are compared in constant time; what the signature does not cover is
//! never an amount, a status or an account. The other way round, [`sign`] signs as the provider does, and
//! [`explain`] tells a person why a signature does not match, without telling a secret or a signature.
//!
//! It never reads a file, a clock or the environment, never logs, and never fetches a key.
//!
//! Sources: RFC 2104, RFC 6901, RFC 8032, the Standard Webhooks specification 1.0.0; each profile names its own.

mod again;
mod around;
mod asked;
mod bodies;
#[cfg(test)]
mod borders_tests;
mod candidates;
mod catalogue;
mod challenge;
mod clock;
mod compressed;
mod delivery;
mod descriptor;
mod document;
mod explain;
#[cfg(test)]
mod explanations_tests;
#[cfg(test)]
mod explanations_around_tests;
mod extend;
mod facts;
#[cfg(test)]
mod facts_tests;
#[cfg(test)]
mod faults_tests;
mod filter;
mod floats;
mod form;
mod grammar;
mod impossible;
mod impossible_event;
mod json;
mod key;
mod mapping;
mod mistakes;
mod other_contents;
mod other_keys;
mod other_urls;
mod place;
#[cfg(test)]
mod places_tests;
mod private_key;
mod profile;
#[cfg(test)]
mod published_tests;
mod put;
mod refunds;
mod rewritten;
mod rewritten_form;
#[cfg(test)]
mod round_trips_tests;
mod scheme;
mod search;
mod secrets;
mod select;
mod sent;
mod shown;
mod sign;
mod template;
#[cfg(test)]
mod vectors_tests;
mod verify;
#[cfg(test)]
mod verify_tests;
mod when;
mod written;
mod xml;

pub use again::{Again, SignedAgain};
pub use catalogue::{Profiles, builtin};
pub use challenge::ChallengeAnswer;
pub use compressed::Compression;
pub use delivery::{Item, ItemVerdict, Request, ShadowSecret, SignatureRefusal, VerifiedDelivery};
pub use descriptor::{
    Algorithm, AlgorithmByItem, AlgorithmDescriptor, AlsoDescriptor, AmountUnit, AnswerDescriptor,
    BodyFormat, ChallengeDescriptor, ChallengeText, Coverage, Encoding, EventDescriptor, KeyForm,
    MacKind, OneOrMany, PlaceDescriptor, ProfileDescriptor, RefundsDescriptor, SignatureDescriptor,
    TimeUnit, TimestampDescriptor, Unlisted, WhenDescriptor,
};
pub use document::NotAnObject;
pub use explain::{Explanation, Finding, explain};
pub use facts::{Facts, Fetch, NoPayment, PaymentFacts, STATUSES};
pub use key::KeyFault;
pub use mistakes::{BodyMistake, KeyMistake, Mistake, UrlMistake};
pub use profile::{Answer, AnswerBody, Profile, ProfileFault};
pub use rewritten::Writing;
pub use rewritten_form::FormWriting;
pub use sent::SentDescriptor;
pub use sign::{Pen, SignFault, SignRequest, Signed, sign};
pub use verify::{AccountBinding, ProducerSecret, Settings, Verifier};
