//! Where the tokens of leases and the pauses after errors come from.

use protocol::LeaseToken;

use crate::error::QueueError;

/// A store's source of chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chance {
    /// Random bytes of the system: nobody can guess a token.
    #[default]
    System,
    /// Numbers that follow from a seed, for tests that are to be replayed.
    Seeded(u64),
}

impl Chance {
    /// A token that no lease had before.
    pub(super) fn token(&mut self) -> Result<LeaseToken, QueueError> {
        let mut bytes = [0; 16];
        match self {
            Self::System => getrandom::fill(&mut bytes).map_err(no_bytes)?,
            Self::Seeded(state) => {
                bytes[..8].copy_from_slice(&next(state).to_le_bytes());
                bytes[8..].copy_from_slice(&next(state).to_le_bytes());
            }
        }
        Ok(LeaseToken(bytes))
    }

    /// A number between 0 and 1.
    pub(super) fn fraction(&mut self) -> Result<f64, QueueError> {
        let bits = match self {
            Self::System => getrandom::u32().map_err(no_bytes)?,
            Self::Seeded(state) => (next(state) >> 32) as u32,
        };
        Ok(f64::from(bits) / f64::from(u32::MAX))
    }
}

/// SplitMix64, by Sebastiano Vigna.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn no_bytes(error: getrandom::Error) -> QueueError {
    QueueError::Unavailable(format!("the system gave no random bytes: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again_and_another_seed_gives_others() {
        let draw = |seed| {
            let mut chance = Chance::Seeded(seed);
            (chance.token().unwrap(), chance.token().unwrap(), chance.fraction().unwrap())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn fractions_are_between_nothing_and_one() {
        for mut chance in [Chance::System, Chance::Seeded(1)] {
            assert!((0..1_000).all(|_| (0.0..=1.0).contains(&chance.fraction().unwrap())));
        }
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        for mut chance in [Chance::System, Chance::Seeded(1)] {
            let tokens: std::collections::HashSet<_> = (0..1_000).map(|_| chance.token().unwrap()).collect();
            assert_eq!(tokens.len(), 1_000);
        }
    }
}
