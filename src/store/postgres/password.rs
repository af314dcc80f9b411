//! The password of a PostgreSQL, which a reload replaces while sessions are open.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::secret::Secret;

/// A password, asked for by each session when it is opened. Clones share it: what replaces it in one replaces it in all.
#[derive(Clone, Default)]
pub(super) struct Password(Arc<RwLock<Option<Secret>>>);

impl Password {
    pub(super) fn new(secret: Option<Secret>) -> Self {
        Self(Arc::new(RwLock::new(secret)))
    }

    /// What counts now.
    pub(super) fn current(&self) -> Option<Secret> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// From now on what `other` holds counts. Whether that is another one.
    pub(super) fn renew(&self, other: &Self) -> bool {
        let new = other.current();
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let differs = held.as_ref().map(Secret::expose) != new.as_ref().map(Secret::expose);
        *held = new;
        differs
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
