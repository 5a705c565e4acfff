//! Valid messages that are damaged in seeded ways. The tests of several crates share it.

use std::path::{Path, PathBuf};

/// Damaged inputs per valid one.
const ROUNDS: usize = 3000;

/// The next number of a SplitMix64 sequence (Steele et al. 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// One to four changes: a flipped bit, a byte that readers treat as special, a cut, a doubled piece, a piece of another.
fn damaged(valid: &[u8], other: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..=next(state) % 4 {
        let place = next(state) as usize % bytes.len().max(1);
        let end = (place + next(state) as usize % 24).min(bytes.len());
        match next(state) % 6 {
            0 if !bytes.is_empty() => bytes[place] ^= 1 << (next(state) % 8),
            1 if !bytes.is_empty() => {
                bytes[place] = [0, 1, 0x7F, 0x80, 0xFF, b'"', b'(', b';'][next(state) as usize % 8]
            }
            2 => bytes.truncate(place),
            3 => drop(bytes.splice(place..place, bytes[place..end].to_vec())),
            4 => drop(bytes.drain(place..end)),
            _ => {
                let start = next(state) as usize % other.len().max(1);
                let piece = &other[start..(start + 16).min(other.len())];
                drop(bytes.splice(place..place, piece.iter().copied()));
            }
        }
    }
    bytes
}

/// Runs the check on what is valid and on what was made of it. `UPDATE_CORPUS=1` stores what is valid: fuzzers start
/// from there.
pub(crate) fn batter(target: &str, check: fn(&[u8]), valid: &[Vec<u8>]) {
    if std::env::var("UPDATE_CORPUS").is_ok_and(|value| value == "1") {
        for (number, bytes) in valid.iter().enumerate() {
            std::fs::write(corpus(target).join(format!("valid_{number}")), bytes).unwrap();
        }
    }
    let mut state = 20_261_124;
    for bytes in valid {
        check(bytes);
        for _ in 0..ROUNDS {
            let other = &valid[next(&mut state) as usize % valid.len()];
            check(&damaged(bytes, other, &mut state));
        }
    }
}

pub(crate) fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target)
}
