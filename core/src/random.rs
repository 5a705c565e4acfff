//! Random numbers as a pure function of the seed of a run and a purpose.

/// Derives the seed of one purpose, for instance `derive(seed, "augment", &[epoch, image])`.
#[must_use]
pub fn derive(seed: u64, purpose: &str, numbers: &[u64]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(purpose.as_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    first_u64(&hasher.finalize())
}

/// The first 64 bits of the hash of a row's content.
#[must_use]
pub fn content_hash(bytes: &[u8]) -> u64 {
    first_u64(&blake3::hash(bytes))
}

/// Returns whether the row or group with this split key is held out for validation.
#[must_use]
pub fn is_held_out(seed: u64, key: u64, fraction: f64) -> bool {
    // 53 bits make a number in [0, 1) that is exact.
    let uniform = (derive(seed, "held out", &[key]) >> 11) as f64 / (1_u64 << 53) as f64;
    uniform < fraction
}

/// Returns the fold of the row or group with this split key.
#[must_use]
pub fn fold_of(seed: u64, key: u64, folds: u32) -> u32 {
    (derive(seed, "fold", &[key]) % u64::from(folds.max(1))) as u32
}

fn first_u64(hash: &blake3::Hash) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_the_given_fraction_is_held_out_and_always_the_same_rows() {
        let held_out = |seed| (0..10_000).filter(|key| is_held_out(seed, *key, 0.1)).collect::<Vec<_>>();
        let first = held_out(42);
        assert!((900..1100).contains(&first.len()), "{}", first.len());
        assert_eq!(first, held_out(42));
        assert_ne!(first, held_out(43));
        assert!(!is_held_out(42, 1, 0.0));
    }
}
