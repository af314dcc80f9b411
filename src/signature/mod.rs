//! Gate 3: is the delivery signed by whom the certificate names?
//!
//! A profile is data ([`ProfileDescriptor`]), checked and compiled once ([`Profile`]).

mod descriptor;
mod facts;

pub use descriptor::{
    Algorithm, AlgorithmByItem, AlgorithmDescriptor, AlsoDescriptor, AmountUnit, AnswerDescriptor,
    BodyFormat, ChallengeDescriptor, ChallengeText, Coverage, Encoding, EventDescriptor, KeyForm,
    MacKind, OneOrMany, PlaceDescriptor, ProfileDescriptor, SignatureDescriptor, TimeUnit,
    TimestampDescriptor, WhenDescriptor,
};
pub use facts::{Facts, NoPayment, NotAnObject, PaymentFacts};
