//! The signatures of a delivery that may be right, decoded.

use super::encoded::Signature;
use super::profile::algorithm::Algorithm;

/// The signatures that may be right. Nearly always it is one, which is read where it stays.
#[derive(Default)]
pub(super) struct Listing {
    first: Option<Listed>,
    others: Vec<Listed>,
}

impl Listing {
    /// Adds a signature of this variant, if `read` reads one.
    pub(super) fn add(
        &mut self,
        variant: usize,
        algorithm: Algorithm,
        read: impl FnOnce(&mut Signature) -> bool,
    ) {
        let unread = || Listed {
            variant,
            algorithm,
            signature: Signature::unread(),
        };
        if self.first.is_none() {
            if !read(&mut self.first.insert(unread()).signature) {
                self.first = None;
            }
        } else {
            let mut another = unread();
            if read(&mut another.signature) {
                self.others.push(another);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Those of a variant, in order.
    pub(super) fn of(&self, variant: usize) -> impl Iterator<Item = &Listed> {
        let all = self.first.iter().chain(&self.others);
        all.filter(move |one| one.variant == variant)
    }
}

/// A signature that may be right.
pub(super) struct Listed {
    /// Of the scheme's variants, by its place.
    variant: usize,
    /// The same for all of a variant.
    pub(super) algorithm: Algorithm,
    pub(super) signature: Signature,
}
