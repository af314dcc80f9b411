//! Session tickets that end with the chain for which they were given out.
//!
//! rustls asks no verifier when a session is resumed, and after a handshake it can send no alert any more: a peer whose leaf had lapsed
//! since would only see the connection close. So a ticket bears the end of what its handshake proved, and past it there is no
//! resumption: the peer shakes hands in full, and is told by an alert why that failed.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::server::ProducesTickets;

use super::capture;

/// Tickets of rustls' own kind, with the last second in which they count before all else in them.
#[derive(Debug)]
pub(super) struct Tickets {
    sealed: Arc<dyn ProducesTickets>,
}

impl Tickets {
    pub(super) fn new(sealed: Arc<dyn ProducesTickets>) -> Self {
        Self { sealed }
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.sealed.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.sealed.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let until = capture::proven_until()?;
        self.sealed.encrypt(&[&until.to_be_bytes(), plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let opened = self.sealed.decrypt(cipher)?;
        let (until, plain) = opened.split_first_chunk()?;
        let until = i64::from_be_bytes(*until);
        if Timestamp::now().as_second() > until {
            return None;
        }
        // The session that is resumed gets a ticket of its own, which ends when this one does.
        capture::note_proven_until(until);
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::Ticketer;

    use super::super::Capture;
    use super::*;

    #[tokio::test]
    async fn a_ticket_counts_for_as_long_as_what_its_handshake_proved() {
        let tickets = Tickets::new(Ticketer::new().unwrap());
        let now = Timestamp::now().as_second();
        for (until, expected) in [(now + 60, Some(&b"session"[..])), (now - 1, None)] {
            let handshake = async {
                assert_eq!(tickets.encrypt(b"session"), None, "nothing is proven yet");
                capture::note_proven_until(until);
                tickets.encrypt(b"session").unwrap()
            };
            let ticket = Capture::new().scope(handshake).await;
            let resumption = async {
                let opened = tickets.decrypt(&ticket);
                assert_eq!(opened.as_deref(), expected);
                // And so does the next ticket, which no verifier was asked for.
                tickets.encrypt(b"session").is_some()
            };
            let goes_on = Capture::new().scope(resumption).await;
            assert_eq!(goes_on, expected.is_some());
        }
    }
}
