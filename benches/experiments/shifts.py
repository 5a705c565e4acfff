#!/usr/bin/env python3
"""Writes shifted copies of the test X-rays, as another hospital might have taken them.

    shifts.py FROM.parquet TO.parquet DIGITS

Reads the columns image, label and group. Keeps the groups whose MD5 begins with one of DIGITS. Writes each image once per shift,
as a JPEG, with the column `shift`. Needs numpy, pillow and pyarrow.
"""

import hashlib
import io
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageFilter


def tone(change):
    """A shift that applies `change` to the intensities, as fractions from 0 to 1."""
    def changed(image, _):
        levels = change(np.asarray(image, dtype=np.float64) / 255)
        return Image.fromarray((levels.clip(0, 1) * 255).round().astype(np.uint8))
    return changed


def noisy(image, seed):
    levels = np.asarray(image, dtype=np.float64)
    levels = levels + np.random.default_rng(seed).normal(0, 0.06 * 255, levels.shape)
    return Image.fromarray(levels.clip(0, 255).round().astype(np.uint8))


def cropped(image, _):
    width, height = image.size
    box = (width * 0.075, height * 0.075, width * 0.925, height * 0.925)
    return image.resize((width, height), Image.Resampling.BILINEAR, box)


def turned(degrees):
    return lambda image, _: image.rotate(degrees, Image.Resampling.BILINEAR)


SHIFTS = {
    "none": lambda image, _: image,
    "gamma 0.6": tone(lambda levels: levels**0.6),
    "gamma 1.6": tone(lambda levels: levels**1.6),
    "contrast 0.6": tone(lambda levels: (levels - 0.5) * 0.6 + 0.5),
    "contrast 1.4": tone(lambda levels: (levels - 0.5) * 1.4 + 0.5),
    "brightness +0.15": tone(lambda levels: levels + 0.15),
    "brightness -0.15": tone(lambda levels: levels - 0.15),
    "blur 1.5 px": lambda image, _: image.filter(ImageFilter.GaussianBlur(1.5)),
    "noise 0.06": noisy,
    "crop 85 %": cropped,
    "rotation 12": turned(12),
    "rotation -12": turned(-12),
    "JPEG quality 25": lambda image, _: image,
}


def jpeg(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def main():
    source, target, digits = sys.argv[1:]
    rows = pq.read_table(source, columns=["image", "label", "group"]).to_pylist()
    rows = [row for row in rows if hashlib.md5(row["group"].encode()).hexdigest()[0] in digits]
    out = {"image": [], "label": [], "group": [], "shift": []}
    for seed, row in enumerate(rows):
        image = Image.open(io.BytesIO(row["image"])).convert("L")
        for name, change in SHIFTS.items():
            out["image"].append(jpeg(change(image, seed), 25 if name.startswith("JPEG") else 95))
            out["label"].append(row["label"])
            out["group"].append(row["group"])
            out["shift"].append(name)
    pq.write_table(pa.table(out), target, row_group_size=1000)


if __name__ == "__main__":
    main()
