//! Renders one image as a grid of f32: first the sum of the densities along each ray, then the film.

use super::anatomy::{Anatomy, Lesion, Marker, Shot};
use super::rng::Rng;
use super::shape::{bell, edge, ellipse, off_beat};

/// Renders the image as `size * size` grey values, row by row.
pub(super) fn render(anatomy: &Anatomy, shot: &Shot, dice: &mut Rng, size: u32) -> Vec<u8> {
    let mut film = Vec::with_capacity((size as usize).saturating_mul(size as usize));
    let pixel = 2.0 / size as f32;
    let (sine, cosine) = shot.rotation;
    for row in 0..size {
        let down = (row as f32 + 0.5) * pixel - 1.0;
        for column in 0..size {
            let across = (column as f32 + 0.5) * pixel - 1.0;
            let (dx, dy) = ((across - shot.shift.0) / shot.zoom, (down - shot.shift.1) / shot.zoom);
            let (x, y) = (cosine * dx + sine * dy, cosine * dy - sine * dx);
            let light = 1.0 + shot.slope.0 * across + shot.slope.1 * down;
            let dense = density(anatomy, shot, x, y) * light;
            film.push((0.42 + (dense - 0.42) * shot.contrast).clamp(0.0, 1.0));
        }
    }
    develop(&mut film, shot.brightness);
    for value in &mut film {
        *value += shot.grain * dice.normal();
    }
    frame(&mut film, size, shot);
    film.iter().map(|value| (value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8).collect()
}

/// Applies a curve to the film that gives it the requested mean, so that the mean does not depend on how much of a lung
/// is white.
fn develop(film: &mut [f32], brightness: f32) {
    let count = film.len().max(1) as f32;
    let (sum, squares) = film.iter().fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
    let (mean, spread) = (sum / count, (sum - squares) / count);
    // The mean of v + bend * v * (1 - v) is mean + bend * spread; the curve rises while |bend| < 1.
    let bend = ((brightness - mean) / spread.max(1e-3)).clamp(-0.95, 0.95);
    for value in film {
        *value += bend * *value * (1.0 - *value);
    }
}

/// The density along a ray, about 0 (air beside the patient) to 1.
fn density(anatomy: &Anatomy, shot: &Shot, x: f32, y: f32) -> f32 {
    let cage = cage_at(anatomy, y);
    let side = x.abs();
    let flesh = body(anatomy, shot, x, y);
    if flesh <= 0.0 {
        return 0.02;
    }
    let diaphragm = diaphragm_at(anatomy, shot, x);
    let (bent, wobble) = (x - anatomy.spine.1 * (1.0 - y * y), shot.wobble.at(x, y) - 0.5);
    let heart = heart(anatomy, shot, x, y, wobble);
    let between = between_lungs(anatomy, x, y);

    let air = edge(cage - 0.035 - side + 0.02 * wobble, 0.025)
        * edge(diaphragm - y, 0.022)
        * edge(side - between, 0.05)
        * (1.0 - 0.93 * heart);
    let texture = anatomy.texture.at(x, y);
    let lost = if air > 0.0 { lost(anatomy, x, y, texture, wobble) * shot.course } else { 0.0 };

    let around = (side / (cage + anatomy.flesh + 0.05)).min(1.0);
    let mut dense = flesh * (0.40 + 0.16 * (1.0 - around * around));
    dense += 0.05 * edge(0.16 - side, 0.14) * edge(y - anatomy.apex, 0.3);
    dense += 0.12 * edge(y - diaphragm, 0.03) * edge(cage - side, 0.05);
    dense += 0.06 * heart;
    dense -= air * anatomy.air * (1.0 - lost);
    dense += air * vessels(anatomy, x, y, texture) * (1.0 - 0.6 * lost);
    dense += ribs(anatomy, x, y, cage) * (1.0 - 0.35 * lost);
    dense += spine(anatomy, bent, y);
    dense += flesh * shoulders(anatomy, shot, x, y);
    dense + 0.05 * wobble * flesh
}

/// Half-width of the rib cage at a height: a dome with straight flanks below.
fn cage_at(anatomy: &Anatomy, y: f32) -> f32 {
    let rest = 1.0 - ((y - anatomy.apex + 0.03) / 1.25).clamp(0.0, 1.0);
    anatomy.cage * (0.78 * (1.0 - rest * rest).sqrt() + 0.22 * (1.0 - rest))
}

/// 1 inside the patient, 0 outside.
fn body(anatomy: &Anatomy, shot: &Shot, x: f32, y: f32) -> f32 {
    let side = x.abs();
    let torso = cage_at(anatomy, y + 0.10) + anatomy.flesh - side;
    let flare = (y + 0.95).max(0.0);
    let neck = (anatomy.neck.0 + 0.9 * flare * flare - side).min(-0.35 - y);
    let out = (side - anatomy.neck.0).max(0.0);
    let over = y - (-0.80 + shot.arms * 0.45 * out + 0.10 * out * out);
    let under = -0.12 + shot.arms * 0.9 * (side - anatomy.cage) - y;
    let arm = over.min(under);
    let chin = 0.25 * ellipse(x, y, (0.0, -1.22 + anatomy.neck.1), (0.42, 0.36));
    edge(torso.max(neck).max(arm).max(chin), 0.022)
}

/// Height of the diaphragm at a position. The liver lifts the patient's right half, on the left of the image.
fn diaphragm_at(anatomy: &Anatomy, shot: &Shot, x: f32) -> f32 {
    let lift = if x < 0.0 { -0.03 } else { 0.03 };
    let off = (x.abs() - 0.42 * anatomy.cage) / anatomy.cage;
    anatomy.dome + shot.breath + lift + 0.62 * off * off + if off > 0.0 { 0.75 * off * off * off } else { 0.0 }
}

/// The shadow of the heart, 0 to 1: a tilted ellipse, mostly on the patient's left.
fn heart(anatomy: &Anatomy, shot: &Shot, x: f32, y: f32, wobble: f32) -> f32 {
    let (width, height, beside) = anatomy.heart;
    let (dx, dy) = (x - beside, y - (anatomy.dome + shot.breath - 0.55 * height));
    let (u, v) = (0.80 * dx + 0.60 * dy, 0.80 * dy - 0.60 * dx);
    // It is narrower at the top, where the great vessels leave the heart.
    let taper = (1.0 + 0.35 * dy / height).clamp(0.6, 1.2);
    edge(ellipse(u, v, (0.0, 0.0), (width * taper, height * 0.95)) + 0.15 * wobble, 0.13)
}

/// Half-width of the mediastinum at a height, with the arch of the aorta and the hila.
fn between_lungs(anatomy: &Anatomy, x: f32, y: f32) -> f32 {
    let arch = if x > 0.0 { 0.05 * bell(y + 0.33, 0.10) } else { 0.02 * bell(y + 0.10, 0.20) };
    anatomy.mediastinum * (0.80 + 0.25 * (y - anatomy.apex)) + arch
}

/// The fraction of air that is replaced at a position, 0 to 0.95.
fn lost(anatomy: &Anatomy, x: f32, y: f32, texture: f32, wobble: f32) -> f32 {
    if anatomy.lesions.is_empty() {
        return 0.0;
    }
    // Strands follow the middle level of fine noise, like contour lines on a map.
    let net = bell(anatomy.texture.at(1.8 * y, 1.8 * x) - 0.5, 0.10);
    anatomy.lesions.iter().map(|lesion| filled(lesion, x, y, (texture, net), wobble)).sum::<f32>().min(0.95)
}

/// The fraction of air that a lesion replaces, 0 to 1: an irregular patch, or strands.
fn filled(lesion: &Lesion, x: f32, y: f32, (texture, net): (f32, f32), wobble: f32) -> f32 {
    let inside = ellipse(x, y, lesion.centre, lesion.radii) + 1.3 * wobble;
    if inside < -0.5 {
        return 0.0;
    }
    let patch = 0.80 + 0.9 * (texture - 0.5);
    lesion.strength * edge(inside, 0.45) * (patch * (1.0 - lesion.strands) + (0.28 + 0.55 * net) * lesion.strands)
}

/// The vessels: brightest and densest at the hila, absent at the chest wall.
fn vessels(anatomy: &Anatomy, x: f32, y: f32, texture: f32) -> f32 {
    let hilum = bell(x.abs() - anatomy.mediastinum - 0.04, 0.20) * bell(y - 0.02, 0.42);
    anatomy.vessels * (hilum * (0.35 + 1.1 * bell(texture - 0.5, 0.09)) + 0.5 * (texture - 0.5))
}

/// The ribs: their back parts bend down from the spine to the flank, and their front parts from there to the
/// breastbone.
fn ribs(anatomy: &Anatomy, x: f32, y: f32, cage: f32) -> f32 {
    let (spacing, first, bend, contrast) = anatomy.ribs;
    let u = (x.abs() / cage.max(0.08)).min(1.1);
    let within = edge(cage - x.abs(), 0.02) * edge(y - anatomy.apex + 0.02, 0.08) * edge(0.85 - y, 0.25);
    if within <= 0.0 {
        return 0.0;
    }
    let square = u * u;
    let back = off_beat((y - bend * (square * (0.45 + 0.55 * square) - 0.22 * u)) / spacing + first);
    let front = off_beat((y + 0.55 * u - 0.10 * square) / (spacing * 1.12) + 2.3 * first);
    // A rib is a tube: its two walls are brighter than its inside.
    let tube = edge(0.21 - back, 0.07) * 0.75 + 0.45 * bell(back - 0.20, 0.045);
    let front = edge(0.22 - front, 0.08) * edge(u - 0.55, 0.22) * edge(0.98 - u, 0.06) * 0.55;
    let flank = bell(u - 0.985, 0.035) * (0.45 + 1.4 * edge(0.24 - back, 0.10));
    let back = tube * edge(u - 0.10, 0.10);
    let below = 1.0 - 0.6 * edge(y - anatomy.dome, 0.12);
    contrast * within * below * (back + front + flank)
}

/// The spine: a column of vertebrae with discs between them.
fn spine(anatomy: &Anatomy, x: f32, y: f32) -> f32 {
    let (width, _) = anatomy.spine;
    let disc = off_beat(y / (anatomy.ribs.0 * 0.92) + anatomy.ribs.1);
    let band = edge(width - x.abs(), 0.03);
    if band <= 0.0 {
        return 0.0;
    }
    let walls = bell(x.abs() - width * 0.85, 0.022);
    band * (0.05 + 0.055 * edge(0.36 - disc, 0.12) + 0.04 * walls) * (0.75 + 0.25 * y.clamp(-1.0, 1.0))
}

/// Clavicles, shoulder blades, upper arms and chin.
fn shoulders(anatomy: &Anatomy, shot: &Shot, x: f32, y: f32) -> f32 {
    let side = x.abs();
    let mut dense = 0.0;
    if y < 0.1 {
        let out = (side - 0.08) / 0.6;
        let line = anatomy.apex + 0.10 - anatomy.clavicle * out + 0.10 * out * out;
        let off = (y - line).abs();
        let span = edge(side - 0.07, 0.03) * edge(0.70 - side, 0.05);
        dense += span * (0.10 * edge(0.032 - off, 0.014) + 0.07 * bell(off - 0.028, 0.010));
        let blade = ellipse(x, y, (x.signum() * (anatomy.cage + 0.02), -0.36), (0.16, 0.24));
        dense += 0.05 * edge(blade, 0.25);
        let bone = (y - (-0.50 + shot.arms * 0.65 * (side - 0.72))).abs();
        dense += edge(side - 0.70, 0.05) * (0.14 * edge(0.05 - bone, 0.02) + 0.08 * bell(bone - 0.045, 0.012));
    }
    dense + 0.22 * edge(ellipse(x, y, (0.0, -1.22 + anatomy.neck.1), (0.40, 0.34)), 0.12)
}

/// The collimator's black frame and the marker. They do not move with the patient.
fn frame(film: &mut [f32], size: u32, shot: &Shot) {
    let pixel = 2.0 / size as f32;
    let [left, right, top, bottom] = shot.frame;
    for (index, value) in film.iter_mut().enumerate() {
        let (column, row) = (index % size as usize, index / size as usize);
        let (across, down) = ((column as f32 + 0.5) * pixel - 1.0, (row as f32 + 0.5) * pixel - 1.0);
        let inside = (across + 1.0 - left).min(1.0 - right - across).min(down + 1.0 - top).min(1.0 - bottom - down);
        if inside < 0.0 {
            *value = 0.02;
        }
        if let Some((letter, x, y)) = shot.marker
            && inked(letter, (across - x) / 0.09, (down - y) / 0.126)
        {
            *value = 0.97;
        }
    }
}

/// Whether a position in a letter's box (both coordinates 0 to 1) is part of the letter.
fn inked(letter: Marker, u: f32, v: f32) -> bool {
    const R: [u8; 7] = [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001];
    const L: [u8; 7] = [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111];
    if !(0.0..1.0).contains(&u) || !(0.0..1.0).contains(&v) {
        return false;
    }
    let rows = if letter == Marker::R { R } else { L };
    rows.get((v * 7.0) as usize).is_some_and(|row| row & (0b10000 >> (u * 5.0) as u32) != 0)
}
