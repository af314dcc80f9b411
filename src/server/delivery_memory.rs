//! The memory that all deliveries on their way share, heads and bodies.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of heads and bodies that are held at once, from the first that arrives until the delivery is answered.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// In what measure it is taken.
const UNIT: usize = 1024;

/// What is left of it, in units of [`UNIT`] bytes.
#[derive(Debug)]
pub(super) struct DeliveryMemory(Arc<Semaphore>);

/// What one delivery takes of it, until this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    memory: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

/// Too much is held already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Default for DeliveryMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BYTES_MAX / UNIT)))
    }
}

impl DeliveryMemory {
    /// The reservation of a delivery of which nothing came yet: it takes nothing.
    pub(super) fn reserve(&self) -> Reservation {
        Reservation {
            memory: Arc::clone(&self.0),
            taken: None,
        }
    }
}

impl Reservation {
    /// Takes what a delivery needs of which there are so many bytes by now.
    pub(super) fn reach(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let taken = self
            .taken
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        // The whole is rounded up, not each piece: a sender that divides a body into single bytes gets no more than another.
        let more = bytes.div_ceil(UNIT).saturating_sub(taken);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_too_many| Exhausted)?;
        let more = Arc::clone(&self.memory)
            .try_acquire_many_owned(more)
            .map_err(|_full| Exhausted)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_takes_the_same_memory_in_however_many_pieces_it_comes() {
        let memory = DeliveryMemory::default();
        let left = || memory.0.available_permits();
        let all = left();
        let mut in_bytes = memory.reserve();
        for bytes in 1..=BYTES_MAX / UNIT {
            in_bytes.reach(bytes).unwrap();
        }
        assert_eq!(all - left(), BYTES_MAX / UNIT / UNIT);
        let before = left();
        let mut at_once = memory.reserve();
        at_once.reach(BYTES_MAX / UNIT).unwrap();
        assert_eq!(before - left(), BYTES_MAX / UNIT / UNIT);
        drop((in_bytes, at_once));
        assert_eq!(left(), all);
    }

    #[test]
    fn there_is_no_more_than_there_is() {
        let memory = DeliveryMemory::default();
        let (mut one, mut other) = (memory.reserve(), memory.reserve());
        one.reach(BYTES_MAX - 1).unwrap();
        assert_eq!(other.reach(1), Err(Exhausted));
        drop(one);
        other.reach(1).unwrap();
    }
}
