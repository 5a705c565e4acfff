//! What is drawn once per patient, and what is drawn once per picture.

use super::rng::Rng;
use super::shape::Noise;

/// What stays the same in all pictures of a patient. Lengths are in half-pictures: the picture spans -1 to 1.
pub(super) struct Anatomy {
    /// Half-width of the rib cage at its widest.
    pub(super) cage: f32,
    /// Height of the top of the lungs.
    pub(super) apex: f32,
    /// Height of the diaphragm's dome.
    pub(super) dome: f32,
    /// Thickness of what lies over the ribs.
    pub(super) flesh: f32,
    /// Half-width and half-height of the heart's shadow, and its place beside the midline.
    pub(super) heart: (f32, f32, f32),
    /// Half-width of what lies between the lungs.
    pub(super) mediastinum: f32,
    /// Distance from rib to rib, where the first one lies, how far they bend down, and how well they show.
    pub(super) ribs: (f32, f32, f32, f32),
    /// Half-width of the spine, and how far it bends sideways.
    pub(super) spine: (f32, f32),
    /// Half-width of the neck, and how far the chin reaches into the picture.
    pub(super) neck: (f32, f32),
    /// How steeply the clavicles rise.
    pub(super) clavicle: f32,
    /// How dark the lungs are.
    pub(super) air: f32,
    /// How strongly the vessels show.
    pub(super) vessels: f32,
    /// The lung's own texture, the same in every picture of the patient.
    pub(super) texture: Noise,
    /// What is wrong with the lungs: nothing in a NORMAL patient.
    pub(super) lesions: Vec<Lesion>,
}

/// Air that is lost to fluid.
pub(super) struct Lesion {
    /// Its middle.
    pub(super) centre: (f32, f32),
    /// Its extent.
    pub(super) radii: (f32, f32),
    /// The part of the air that is lost in its middle, 0 to 1.
    pub(super) strength: f32,
    /// 0 for a closed patch (lobar consolidation), 1 for a net of strands (interstitial pattern).
    pub(super) strands: f32,
}

impl Anatomy {
    /// The anatomy of a patient.
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
    /// One of the patterns that radiologists tell apart: a consolidated lobe (bacterial, mostly), several patches, or an
    /// interstitial net in both lungs (viral, mostly).
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

/// What differs between the pictures of a patient: how the child lay, and how the film was exposed.
pub(super) struct Shot {
    /// Sine and cosine of the rotation, at most 8 degrees.
    pub(super) rotation: (f32, f32),
    /// How far the middle is off.
    pub(super) shift: (f32, f32),
    /// Magnification.
    pub(super) zoom: f32,
    /// How far the diaphragm is from its usual place: breathing.
    pub(super) breath: f32,
    /// How steeply the arms hang (positive) or are raised (negative).
    pub(super) arms: f32,
    /// The factor on the lesions' strength: the course of the disease.
    pub(super) course: f32,
    /// The mean brightness that the exposure aims at, 0 to 1. It does not depend on the patient.
    pub(super) brightness: f32,
    /// The factor on all differences.
    pub(super) contrast: f32,
    /// Standard deviation of the grain.
    pub(super) grain: f32,
    /// Uneven illumination, across and down.
    pub(super) slope: (f32, f32),
    /// What the collimator cuts off at the left, right, top and bottom.
    pub(super) frame: [f32; 4],
    /// The marker: which letter, and where its top left corner is.
    pub(super) marker: Option<(Marker, f32, f32)>,
    /// The outline of what is drawn softly.
    pub(super) wobble: Noise,
}

/// The letter that technicians put beside the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// The patient's right.
    R,
    /// The patient's left.
    L,
}

impl Shot {
    /// The circumstances of one picture, and the generator that goes on to draw its grain.
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
