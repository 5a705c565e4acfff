//! Fixed changes of images: what another site could have done to the same image. A stress test of a model uses them.
//!
//! A new change is one entry in [`CHANGES`]. The SQL function `change_image`, the stress test of EVALUATE and the
//! manual of functions are made from this list.

mod bands;
mod geometry;
mod saved;
mod tone;

use super::{Pixels, PixelsError};

/// A fixed change of an image. It has no random part: the same image always gives the same result.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Its name in SQL: "wide".
    pub name: &'static str,
    /// The description in the manual.
    pub meaning: &'static str,
    /// Changes an image. The result has the same width, height and channels.
    ///
    /// Returns an error if the number of samples does not match the sides, or if a side or the area is too large to be
    /// resampled or encoded.
    pub apply: fn(&Pixels) -> Result<Pixels, PixelsError>,
}

/// All changes, in the order of the rows of a stress test.
pub const CHANGES: &[Change] = &[
    Change {
        name: "wide",
        meaning: "as if the original had been 1.2 times as wide before it was squeezed: top and bottom are cut off, the rest fills the height",
        apply: |pixels| geometry::middle(pixels, 1.0, 1.0 / geometry::STRETCH),
    },
    Change {
        name: "narrow",
        meaning: "as if the original had been 1.2 times as high before it was squeezed: left and right are cut off, the rest fills the width",
        apply: |pixels| geometry::middle(pixels, 1.0 / geometry::STRETCH, 1.0),
    },
    Change {
        name: "tighter",
        meaning: "enlarged 1.2 times; all four borders are cut off",
        apply: |pixels| geometry::middle(pixels, 1.0 / geometry::STRETCH, 1.0 / geometry::STRETCH),
    },
    Change {
        name: "turned",
        meaning: "turned clockwise by 10 degrees; the border is repeated",
        apply: geometry::turned,
    },
    Change {
        name: "shifted",
        meaning: "shifted right and down by a sixteenth of each side; the border is repeated",
        apply: geometry::shifted,
    },
    Change {
        name: "haze",
        meaning: "all detail is weaker",
        apply: |pixels| bands::with_gains(pixels, [0.7, 0.7, 0.7, 0.7, 0.8]),
    },
    Change {
        name: "flat",
        meaning: "large structures are weaker, fine detail is kept",
        apply: |pixels| bands::with_gains(pixels, [1.0, 1.0, 0.8, 0.6, 0.5]),
    },
    Change {
        name: "soft",
        meaning: "fine detail is weaker",
        apply: |pixels| bands::with_gains(pixels, [0.5, 0.6, 0.8, 1.0, 1.0]),
    },
    Change {
        name: "sharp",
        meaning: "fine detail is stronger",
        apply: |pixels| bands::with_gains(pixels, [1.6, 1.4, 1.2, 1.0, 1.0]),
    },
    Change {
        name: "boost",
        meaning: "large structures are stronger, fine detail is kept",
        apply: |pixels| bands::with_gains(pixels, [1.0, 1.0, 1.2, 1.4, 1.5]),
    },
    Change { name: "dark", meaning: "darker: a gamma of 1.4", apply: |pixels| tone::gamma(pixels, 1.4) },
    Change { name: "light", meaning: "lighter: a gamma of 1 / 1.4", apply: |pixels| tone::gamma(pixels, 1.0 / 1.4) },
    Change {
        name: "low contrast",
        meaning: "every level is pulled to the mid grey, to 0.7 of its distance",
        apply: |pixels| tone::contrast(pixels, 0.7),
    },
    Change { name: "jpeg", meaning: "saved as a JPEG of quality 25", apply: saved::jpeg },
    Change { name: "coarse", meaning: "resized to half of each side and back", apply: saved::coarse },
];

/// Returns the change with this name, or `None` if there is none. Case does not matter.
pub fn change_named(name: &str) -> Option<&'static Change> {
    CHANGES.iter().find(|change| change.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::super::Channels;
    use super::*;

    /// An image without symmetry, with detail of every size.
    fn drawn(width: u32, height: u32, channels: Channels) -> Pixels {
        let sample = |at: usize| ((at * 37 + at / 11 * 5 + at * at % 97) % 200 + 20) as u8;
        let samples = width as usize * height as usize * channels.count();
        Pixels::new(width, height, channels, (0..samples).map(sample).collect()).unwrap()
    }

    #[test]
    fn every_change_keeps_the_sides_and_the_channels() {
        for channels in [Channels::Grey, Channels::Rgb] {
            for (width, height) in [(1, 1), (1, 7), (5, 1), (2, 2), (37, 21)] {
                let image = drawn(width, height, channels);
                for change in CHANGES {
                    let changed = (change.apply)(&image).unwrap();
                    let found = (changed.width, changed.height, changed.channels, changed.data.len());
                    assert_eq!(found, (width, height, channels, image.data.len()), "{}", change.name);
                }
            }
        }
    }

    #[test]
    fn every_change_changes_an_image_in_its_own_way() {
        let image = drawn(37, 21, Channels::Grey);
        let mut seen = vec![image.data.clone()];
        for change in CHANGES {
            let changed = (change.apply)(&image).unwrap();
            assert_eq!((change.apply)(&image).unwrap(), changed, "{}", change.name);
            assert!(!seen.contains(&changed.data), "{}", change.name);
            seen.push(changed.data);
        }
    }

    #[test]
    fn an_image_without_its_samples_is_refused() {
        let short = Pixels { data: vec![0; 3], ..drawn(4, 4, Channels::Rgb) };
        for change in CHANGES {
            assert!(matches!((change.apply)(&short), Err(PixelsError::WrongLength { .. })), "{}", change.name);
        }
    }

    #[test]
    fn changes_are_found_by_their_names() {
        for change in CHANGES {
            assert_eq!(change_named(&change.name.to_uppercase()).unwrap().meaning, change.meaning);
        }
        assert!(change_named("as is").is_none());
    }
}
