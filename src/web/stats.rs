use std::sync::atomic::{AtomicU64, Ordering};

/// In whose shape a credential was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `GET /ice`
    Ice,
    /// `GET /page/ice`
    Page,
    /// draft-uberti-behave-turn-rest
    Rest,
    /// Cloudflare's.
    Cloudflare,
    /// Twilio's.
    Twilio,
    /// A seat in a call of the page.
    Call,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ice, Self::Page, Self::Rest, Self::Cloudflare, Self::Twilio, Self::Call];

    /// Its name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ice => "ice",
            Self::Page => "page",
            Self::Rest => "rest",
            Self::Cloudflare => "cloudflare",
            Self::Twilio => "twilio",
            Self::Call => "call",
        }
    }
}

/// Why a request was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It came without a key.
    NoKey,
    /// It came with what is no key.
    WrongKey,
    /// It came from a script of a site that is not among `web.origins`.
    Origin,
    /// There were too many from its address.
    AddressRate,
    /// As many connections of its address stood already as may: it was not heard.
    AddressConnections,
    /// There were too many with its key.
    KeyRate,
    /// It could not be understood.
    Malformed,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NoKey,
        Self::WrongKey,
        Self::Origin,
        Self::AddressRate,
        Self::AddressConnections,
        Self::KeyRate,
        Self::Malformed,
    ];

    /// Its name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::WrongKey => "wrong_key",
            Self::Origin => "origin",
            Self::AddressRate => "address_rate",
            Self::AddressConnections => "address_connections",
            Self::KeyRate => "key_rate",
            Self::Malformed => "malformed",
        }
    }
}

/// What has been counted.
#[derive(Debug, Default)]
pub struct Stats {
    given: [AtomicU64; Shape::ALL.len()],
    refused: [AtomicU64; Refused::ALL.len()],
}

impl Stats {
    pub(super) fn give(&self, shape: Shape) {
        self.given[shape as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that is refused.
    pub fn refuse(&self, why: Refused) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Credentials given.
    pub fn given(&self, shape: Shape) -> u64 {
        self.given[shape as usize].load(Ordering::Relaxed)
    }

    /// Requests refused.
    pub fn refused(&self, why: Refused) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_for_itself() {
        let stats = Stats::default();
        Shape::ALL.into_iter().for_each(|shape| stats.give(shape));
        Refused::ALL.into_iter().for_each(|why| stats.refuse(why));
        assert!(Shape::ALL.into_iter().all(|shape| stats.given(shape) == 1));
        assert!(Refused::ALL.into_iter().all(|why| stats.refused(why) == 1));
    }
}
