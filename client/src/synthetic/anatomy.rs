//! The random parameters of a patient and of each image.

use super::rng::Rng;
use super::shape::Noise;

/// The parameters of a patient, the same in all images. The image spans -1 to 1 in both directions.
pub(super) struct Anatomy {
    /// Half-width of the rib cage at its widest.
    pub(super) cage: f32,
    /// Height of the top of the lungs.
    pub(super) apex: f32,
    /// Height of the diaphragm's dome.
    pub(super) dome: f32,
    /// Thickness of the soft tissue over the ribs.
    pub(super) flesh: f32,
    /// Half-width and half-height of the heart's shadow, and its position relative to the midline.
    pub(super) heart: (f32, f32, f32),
    /// Half-width of the mediastinum.
    pub(super) mediastinum: f32,
    /// Distance between ribs, position of the first rib, how far ribs bend down, and their contrast.
    pub(super) ribs: (f32, f32, f32, f32),
    /// Half-width of the spine, and how far it bends sideways.
    pub(super) spine: (f32, f32),
    /// Half-width of the neck, and how far the chin extends into the image.
    pub(super) neck: (f32, f32),
    /// The slope of the clavicles.
    pub(super) clavicle: f32,
    /// The darkness of the lungs.
    pub(super) air: f32,
    /// The contrast of the vessels.
    pub(super) vessels: f32,
    /// The texture of the lungs, the same in every image of the patient.
    pub(super) texture: Noise,
    /// The opacities of the lungs. A NORMAL patient has none.
    pub(super) lesions: Vec<Lesion>,
}

/// A region where fluid replaces air.
pub(super) struct Lesion {
    /// The centre.
    pub(super) centre: (f32, f32),
    /// The radii.
    pub(super) radii: (f32, f32),
    /// The fraction of air that is replaced in the centre, 0 to 1.
    pub(super) strength: f32,
    /// 0 for a solid patch (lobar consolidation), 1 for a network of strands (interstitial pattern).
    pub(super) strands: f32,
}

impl Anatomy {
    /// Draws the anatomy of a patient.
    pub(super) fn draw(seed: u64, patient: usize, ill: bool) -> Self {
        let mut dice = Rng::new([seed, patient as u64, 0, 1]);
        let cage = dice.between(0.58, 0.76);
        let apex = dice.between(-0.70, -0.56);
        let dome = dice.between(0.36, 0.56);
        let mediastinum = dice.between(0.13, 0.18);
        Self {
            cage,
            apex,
            dome,
            flesh: dice.between(0.06, 0.17),
            heart: (cage * dice.between(0.42, 0.54), dice.between(0.26, 0.35), cage * dice.between(0.12, 0.21)),
            mediastinum,
            ribs: (dice.between(0.135, 0.175), dice.unit(), dice.between(0.35, 0.65), dice.between(0.07, 0.15)),
            spine: (dice.between(0.08, 0.11), dice.between(-0.05, 0.05)),
            neck: (dice.between(0.22, 0.32), dice.between(-0.25, 0.12)),
            clavicle: dice.between(0.05, 0.30),
            air: dice.between(0.30, 0.42),
            vessels: dice.between(0.06, 0.13),
            texture: Noise::new(22, &mut dice),
            lesions: if ill { Lesion::draw(cage, apex, dome, mediastinum, &mut dice) } else { Vec::new() },
        }
    }
}

impl Lesion {
    /// Draws one of three patterns of pneumonia: a consolidated lobe (mostly bacterial), several patches, or an
    /// interstitial network in both lungs (mostly viral).
    fn draw(cage: f32, apex: f32, dome: f32, mediastinum: f32, dice: &mut Rng) -> Vec<Self> {
        let place = |side: f32, dice: &mut Rng| {
            let height = dice.between(0.30, 0.95);
            let across = mediastinum + (cage - mediastinum) * dice.between(0.35, 0.70);
            (side * across, apex + (dome - apex) * height)
        };
        let side = if dice.chance(0.5) { 1.0 } else { -1.0 };
        match dice.below(10) {
            0..4 => vec![Self {
                centre: place(side, dice),
                radii: (dice.between(0.21, 0.34), dice.between(0.23, 0.42)),
                strength: dice.between(0.75, 1.0),
                strands: dice.between(0.0, 0.3),
            }],
            4..7 => (0..2 + dice.below(3))
                .map(|_| {
                    let side = if dice.chance(0.7) { side } else { -side };
                    Self {
                        centre: place(side, dice),
                        radii: (dice.between(0.14, 0.24), dice.between(0.14, 0.24)),
                        strength: dice.between(0.70, 0.95),
                        strands: dice.between(0.1, 0.5),
                    }
                })
                .collect(),
            _ => [-1.0, 1.0]
                .map(|side| Self {
                    centre: (side * dice.between(0.26, 0.36), dice.between(-0.10, 0.15)),
                    radii: (dice.between(0.30, 0.42), dice.between(0.40, 0.60)),
                    strength: dice.between(0.80, 1.0),
                    strands: dice.between(0.7, 1.0),
                })
                .into(),
        }
    }
}

/// The parameters of one image: the position of the patient and the exposure of the film.
pub(super) struct Shot {
    /// Sine and cosine of the rotation, at most 8 degrees.
    pub(super) rotation: (f32, f32),
    /// The offset of the centre.
    pub(super) shift: (f32, f32),
    /// Magnification.
    pub(super) zoom: f32,
    /// The offset of the diaphragm, by breathing.
    pub(super) breath: f32,
    /// The slope of the arms, positive if they hang and negative if they are raised.
    pub(super) arms: f32,
    /// The factor on the strength of the lesions. It models the course of the disease.
    pub(super) course: f32,
    /// The mean brightness of the image, 0 to 1. It does not depend on the patient.
    pub(super) brightness: f32,
    /// The contrast.
    pub(super) contrast: f32,
    /// Standard deviation of the grain.
    pub(super) grain: f32,
    /// Uneven illumination, across and down.
    pub(super) slope: (f32, f32),
    /// The width of the collimator's frame at the left, right, top and bottom.
    pub(super) frame: [f32; 4],
    /// The letter of the marker, and the position of its top left corner.
    pub(super) marker: Option<(Marker, f32, f32)>,
    /// Random deviations of soft outlines.
    pub(super) wobble: Noise,
}

/// The letter on the film that marks a side of the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// The right side.
    R,
    /// The left side.
    L,
}

impl Shot {
    /// Draws the parameters of one image. Also returns the generator, which then draws the grain.
    pub(super) fn draw(seed: u64, patient: usize, shot: usize) -> (Self, Rng) {
        let mut dice = Rng::new([seed, patient as u64, shot as u64, 2]);
        let sine = dice.between(-0.139, 0.139);
        let mut frame = [0.0; 4];
        if dice.chance(0.25) {
            frame = frame.map(|_: f32| if dice.chance(0.5) { dice.between(0.02, 0.10) } else { 0.0 });
        }
        let marker = dice.chance(0.45).then(|| {
            let letter = if dice.chance(0.8) { Marker::R } else { Marker::L };
            let left = dice.between(-0.97, -0.88);
            (letter, if letter == Marker::R { left } else { -left - 0.09 }, dice.between(-0.92, -0.10))
        });
        let shot = Self {
            rotation: (sine, (1.0 - sine * sine).sqrt()),
            shift: (dice.between(-0.08, 0.08), dice.between(-0.08, 0.08)),
            zoom: dice.between(0.92, 1.15),
            breath: dice.between(-0.05, 0.04),
            arms: dice.between(-0.7, 0.8),
            course: dice.between(0.85, 1.05),
            brightness: dice.between(0.36, 0.60),
            contrast: dice.between(0.90, 1.30),
            grain: dice.between(0.005, 0.025),
            slope: (dice.between(-0.06, 0.06), dice.between(-0.06, 0.06)),
            frame,
            marker,
            wobble: Noise::new(10, &mut dice),
        };
        (shot, dice)
    }
}
