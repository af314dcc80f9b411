//! Gate 3: is the delivery signed by whom the certificate names?
//!
//! A profile is data ([`ProfileDescriptor`]), checked and compiled once ([`Profile`]); a [`Verifier`] adds one
//! producer's secrets and bindings to it, with the keys prepared. Only [`Verifier::verify`] makes a
//! [`VerifiedDelivery`].
//!
//! It promises: the raw bytes are what is verified, and they are parsed only afterwards; every listed signature
//! and every active secret is tried, and MACs are compared in constant time; what the signature does not cover is
//! never an amount, a status or an account. The other way round, [`sign()`] signs as the provider does, and
//! [`explain()`] tells a person why a signature does not match, without telling a secret or a signature.
//!
//! It never reads a file, a clock or the environment, never logs, and never fetches a key.
//!
//! Sources: RFC 2104, RFC 6901, RFC 8032, the Standard Webhooks specification 1.0.0; each profile names its own.

mod body;
#[cfg(test)]
mod borders_tests;
mod challenge;
mod clock;
#[cfg(test)]
mod covered_tests;
mod delivery;
mod encoded;
mod explain;
mod filter;
mod grammar;
mod key;
mod listing;
mod mapping;
mod places;
#[cfg(test)]
mod places_tests;
mod private_key;
mod profile;
#[cfg(test)]
mod published_more_tests;
#[cfg(test)]
mod published_tests;
mod put;
mod refusal;
mod request;
#[cfg(test)]
mod round_trips_tests;
mod scheme;
mod secrets;
mod sign;
mod sign_fault;
mod template;
#[cfg(test)]
mod template_tests;
#[cfg(test)]
mod vectors_tests;
mod verifier;
mod verify;
#[cfg(test)]
mod verify_tests;

pub use body::compressed::Compression;
pub use body::document::NotAnObject;
pub use challenge::ChallengeAnswer;
pub use delivery::{Item, ItemVerdict, ShadowSecret, VerifiedDelivery};
pub use explain::explanation::{Absence, Explanation, Finding};
pub use explain::mistakes::{BodyMistake, KeyMistake, Mistake, UrlMistake};
pub use explain::report::explain;
pub use explain::rewritten::Writing;
pub use explain::rewritten_form::FormWriting;
pub use key::KeyFault;
pub use mapping::facts::{Facts, Fetch, NoPayment, PaymentFacts, STATUSES};
pub use mapping::reread::{Again, SignedAgain};
pub use profile::algorithm::{Algorithm, MacKind};
pub use profile::catalogue::{Profiles, builtin};
pub use profile::descriptor::{
    AlgorithmByItem, AlgorithmDescriptor, AlsoDescriptor, AmountUnit, AnswerDescriptor, BodyFormat,
    ChallengeDescriptor, ChallengeText, Coverage, Encoding, EventDescriptor, KeyForm, OneOrMany,
    PlaceDescriptor, ProfileDescriptor, RefundsDescriptor, SentDescriptor, SignatureDescriptor,
    SignedTime, TimeUnit, TimestampDescriptor, Unlisted, WhenDescriptor,
};
pub use profile::faults::ProfileFault;
pub use profile::meaning::{Answer, AnswerBody, Profile};
pub use refusal::SignatureRefusal;
pub use request::Request;
pub use secrets::{AccountBinding, ProducerSecret, Settings};
pub use sign::{Pen, SignRequest, Signed, sign};
pub use sign_fault::SignFault;
pub use verifier::Verifier;
