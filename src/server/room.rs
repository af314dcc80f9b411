//! The room that all bodies on their way share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of bodies that are held at once, from the first that arrives until the delivery is answered.
const ROOM_BYTES: usize = 256 * 1024 * 1024;
/// In what measure room is taken.
const UNIT: usize = 1024;

/// What is left for bodies, in units of [`UNIT`] bytes.
#[derive(Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// What one body takes of it, until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

/// Too many bodies are held already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM_BYTES / UNIT)))
    }
}

impl Room {
    /// The share of a body of which nothing came yet.
    pub(super) fn share(&self) -> Share {
        Share {
            room: Arc::clone(&self.0),
            taken: None,
        }
    }
}

impl Share {
    /// Takes what a body needs that has so many bytes by now.
    pub(super) fn reach(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let taken = self
            .taken
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        // The whole is rounded up, not each piece: a sender that divides a body into single bytes has no more room than another.
        let more = bytes.div_ceil(UNIT).saturating_sub(taken);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_too_many| NoRoom)?;
        let more = Arc::clone(&self.room)
            .try_acquire_many_owned(more)
            .map_err(|_full| NoRoom)?;
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
    fn a_body_takes_the_same_room_in_however_many_pieces_it_comes() {
        let room = Room::default();
        let left = || room.0.available_permits();
        let all = left();
        let mut in_bytes = room.share();
        for bytes in 1..=ROOM_BYTES / UNIT {
            in_bytes.reach(bytes).unwrap();
        }
        assert_eq!(all - left(), ROOM_BYTES / UNIT / UNIT);
        let before = left();
        let mut at_once = room.share();
        at_once.reach(ROOM_BYTES / UNIT).unwrap();
        assert_eq!(before - left(), ROOM_BYTES / UNIT / UNIT);
        drop((in_bytes, at_once));
        assert_eq!(left(), all);
    }

    #[test]
    fn there_is_no_more_than_there_is() {
        let room = Room::default();
        let (mut one, mut other) = (room.share(), room.share());
        one.reach(ROOM_BYTES - 1).unwrap();
        assert_eq!(other.reach(1), Err(NoRoom));
        drop(one);
        other.reach(1).unwrap();
    }
}
