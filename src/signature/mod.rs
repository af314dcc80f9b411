//! Gate 3: is the delivery signed by whom the certificate names?
//!
//! A profile is data ([`ProfileDescriptor`]), checked and compiled once ([`Profile`]).

mod asked;
mod catalogue;
mod challenge;
mod clock;
mod delivery;
mod descriptor;
mod document;
mod explain;
#[cfg(test)]
mod explanations;
mod extend;
mod facts;
mod filter;
mod form;
mod grammar;
mod json;
mod key;
mod mapping;
mod mistakes;
mod place;
mod profile;
#[cfg(test)]
mod round_trips;
mod scheme;
mod secrets;
mod select;
mod sign;
mod template;
#[cfg(test)]
mod vectors;
mod verify;
mod when;
mod xml;

pub use catalogue::{Profiles, builtin};
pub use challenge::ChallengeAnswer;
pub use delivery::{Item, ItemVerdict, Request, ShadowSecret, SignatureRefusal, VerifiedDelivery};
pub use descriptor::{
    Algorithm, AlgorithmByItem, AlgorithmDescriptor, AlsoDescriptor, AmountUnit, AnswerDescriptor,
    BodyFormat, ChallengeDescriptor, ChallengeText, Coverage, Encoding, EventDescriptor, KeyForm,
    MacKind, OneOrMany, PlaceDescriptor, ProfileDescriptor, SignatureDescriptor, TimeUnit,
    TimestampDescriptor, Unlisted, WhenDescriptor,
};
pub use document::NotAnObject;
pub use explain::{Explanation, Finding, explain};
pub use facts::{Facts, NoPayment, PaymentFacts, STATUSES};
pub use key::KeyFault;
pub use mistakes::{BodyMistake, KeyMistake, Mistake};
pub use profile::{Answer, AnswerBody, Profile, ProfileFault};
pub use sign::{SignFault, SignRequest, Signed, sign};
pub use verify::{AccountBinding, ProducerSecret, Settings, Verifier};
