//! The canonical statuses of a payment, in rank order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a payment has come to. The order is the rank: of two events of one moment, the greater status wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Begun, and nothing decided.
    Pending,
    /// Waits for the payer (3-D Secure, a redirect).
    RequiresAction,
    /// Refused.
    Failed,
    /// The amount is reserved.
    Authorized,
    /// The amount has been asked for.
    Captured,
    /// Given up, or expired, before any money moved.
    Canceled,
    /// Paid.
    Succeeded,
    /// Part of it was given back.
    PartiallyRefunded,
    /// All of it was given back.
    Refunded,
    /// The payer disputes it.
    Disputed,
    /// The dispute was decided for the merchant.
    DisputeWon,
    /// The dispute was decided for the payer.
    DisputeLost,
}

/// The text is no canonical status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a canonical status")]
pub struct UnknownStatus;

impl Status {
    /// Every status, in rank order.
    pub const ALL: [Self; 12] = [
        Self::Pending,
        Self::RequiresAction,
        Self::Failed,
        Self::Authorized,
        Self::Captured,
        Self::Canceled,
        Self::Succeeded,
        Self::PartiallyRefunded,
        Self::Refunded,
        Self::Disputed,
        Self::DisputeWon,
        Self::DisputeLost,
    ];

    /// Its name, as `payments list` prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::RequiresAction => "requires_action",
            Self::Failed => "failed",
            Self::Authorized => "authorized",
            Self::Captured => "captured",
            Self::Canceled => "canceled",
            Self::Succeeded => "succeeded",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Disputed => "disputed",
            Self::DisputeWon => "dispute_won",
            Self::DisputeLost => "dispute_lost",
        }
    }

    /// Its place in the order, from 1; 0 is left for an event that states no status.
    #[must_use]
    pub const fn rank(self) -> u8 {
        self as u8 + 1
    }
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownStatus)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_contracts() {
        let names = [
            "pending",
            "requires_action",
            "failed",
            "authorized",
            "captured",
            "canceled",
            "succeeded",
            "partially_refunded",
            "refunded",
            "disputed",
            "dispute_won",
            "dispute_lost",
        ];
        for (index, name) in names.into_iter().enumerate() {
            let status: Status = name.parse().unwrap();
            assert_eq!(status.as_str(), name);
            assert_eq!(usize::from(status.rank()), index + 1);
            assert_eq!(
                serde_json::to_string(&status).unwrap(),
                format!("\"{name}\"")
            );
        }
        assert_eq!(crate::signature::STATUSES, names);
        assert!(Status::ALL.is_sorted());
        assert_eq!("cancelled".parse::<Status>(), Err(UnknownStatus));
        assert_eq!("Pending".parse::<Status>(), Err(UnknownStatus));
    }
}
