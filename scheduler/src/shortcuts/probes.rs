//! The probes: linear models that see only a part of what is in an image.

use super::thumbnail::{SIDE, Thumbnail};

/// A probe.
pub(super) struct Probe {
    /// What the statement calls it.
    pub(super) name: &'static str,
    /// Returns what it sees, as many numbers for each image.
    pub(super) seen: fn(&Thumbnail) -> Vec<f32>,
    /// Whether it also sees the subject of most images.
    pub(super) may_be_subject: bool,
    /// What to do if it tells the classes apart.
    pub(super) advice: &'static str,
}

const FRAME: &str = "check marks and framing at the borders (SELECT path, image ...); train with 'frame' and 'stretch' in augment, as by default, and 'marks', \
                     or border_crop";

/// All probes, in the order of the documentation.
pub(super) const PROBES: &[Probe] = &[
    Probe { name: "probe: outer 5 %", seen: |thumbnail| frame(thumbnail, 20), may_be_subject: false, advice: FRAME },
    Probe { name: "probe: outer 10 %", seen: |thumbnail| frame(thumbnail, 10), may_be_subject: false, advice: FRAME },
    Probe {
        name: "probe: 8 x 8 pixels",
        seen: |thumbnail| thumbnail.reduced(8),
        may_be_subject: true,
        advice: "the coarse layout tells the classes apart, which may be the subject; train with 'frame' and 'stretch' in augment, as by default",
    },
    Probe {
        name: "probe: spectrum",
        seen: Thumbnail::spectrum,
        may_be_subject: false,
        advice: "train with 'processing' and 'blur' in augment, as by default, and 'resave'; save all images again with the same quality",
    },
];

/// Returns the pixels within a fraction 1 / `part` of the side from a border, at half the resolution.
fn frame(thumbnail: &Thumbnail, part: usize) -> Vec<f32> {
    let side = SIDE / 2;
    let is_outer = |place: usize| !(side / part..side - side / part).contains(&place);
    let pixels = thumbnail.reduced(side).into_iter().enumerate();
    pixels.filter(|(i, _)| is_outer(i % side) || is_outer(i / side)).map(|(_, level)| level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_pixels_near_the_borders_and_no_others() {
        let thumbnail = Thumbnail::new(&[1; SIDE * SIDE]).unwrap();
        for (part, width) in [(20, 2), (10, 4)] {
            assert_eq!(frame(&thumbnail, part).len(), 40 * 40 - (40 - 2 * width) * (40 - 2 * width));
        }
    }
}
