#!/usr/bin/env python3
"""Splits X-rays by acquisition, and changes the far side as another hospital would have taken, processed and stored its X-rays.

    acquisition.py FROM.parquet NEAR.parquet FAR.parquet

Reads the columns path, image, label and group of `tusk ingest`. NEAR gets the rows to train on. FAR gets the other rows once per
variant, as JPEGs, with the column `variant`:

* as is: unchanged.
* haze, flat, soft, sharp, boost: gains of the frequency bands, as multi-frequency processing of radiography systems applies.
* wide, narrow: as if the original had been 1.2 times wider, or narrower, before it was resized to a square.
* crossed: normal X-rays wide, those of pneumonia narrow. In the originals it is the other way round, so a net that reads the shape
  of the original fails here.
* jpeg: saved at quality 25.
* framed: normal X-rays cut off by a twelfth at each border. In the data they are framed wider, so a net that reads the frame fails.

Needs numpy, pillow and pyarrow.
"""

import hashlib
import io
import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from PIL import Image, ImageFilter

# Standard deviations of the Gaussians between the bands, in pixels of a side of 224.
SCALES = (1.5, 3, 6, 12, 24)
GAINS = {
    "haze": (0.7, 0.7, 0.7, 0.7, 0.8),
    "flat": (1, 1, 0.8, 0.6, 0.5),
    "soft": (0.5, 0.6, 0.8, 1, 1),
    "sharp": (1.6, 1.4, 1.2, 1, 1),
    "boost": (1, 1, 1.2, 1.4, 1.5),
}
STRETCH = 1.2


def is_far(path):
    """Whether an X-ray is on the side that is tested on.

    These are normal X-rays from ranges of file numbers that look unlike the others, and a sixteenth of the patients with pneumonia.
    """
    name = path.rsplit("/", 1)[-1]
    normal = re.match(r"(NORMAL2-)?IM-(\d+)", name)
    if normal:
        number = int(normal[2])
        return number < 200 if not normal[1] else 600 <= number <= 799 or 1200 <= number <= 1299 or number >= 1400
    patient = re.match(r"person\d+", name)
    if not patient:
        sys.exit(f"acquisition: {path} is not named as the chest X-rays of children (Kermany et al. 2018)")
    return hashlib.md5(patient[0].encode()).hexdigest()[0] == "0"


def with_gains(image, gains):
    levels = [np.asarray(image, float)]
    levels += [np.asarray(image.filter(ImageFilter.GaussianBlur(scale)), float) for scale in SCALES]
    changed = levels[-1] + sum(gain * (fine - coarse) for gain, fine, coarse in zip(gains, levels, levels[1:]))
    return Image.fromarray(changed.clip(0, 255).astype(np.uint8))


def middle(image, columns, rows):
    """These fractions of the middle of the image, resized to its size."""
    width, height = image.size
    left, top = width * (1 - columns) / 2, height * (1 - rows) / 2
    return image.resize(image.size, Image.Resampling.BICUBIC, (left, top, width - left, height - top))


def wide(image):
    return middle(image, 1, 1 / STRETCH)


def narrow(image):
    return middle(image, 1 / STRETCH, 1)


# A function of the image and the label.
VARIANTS = {
    "as is": lambda image, _: image,
    **{name: lambda image, _, gains=gains: with_gains(image, gains) for name, gains in GAINS.items()},
    "wide": lambda image, _: wide(image),
    "narrow": lambda image, _: narrow(image),
    "crossed": lambda image, label: wide(image) if label == "NORMAL" else narrow(image),
    "jpeg": lambda image, _: image,
    "framed": lambda image, label: middle(image, 1 / STRETCH, 1 / STRETCH) if label == "NORMAL" else image,
}


def jpeg(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def main():
    source, near, far = sys.argv[1:]
    table = pq.read_table(source, columns=["path", "image", "label", "group"])
    far_rows = pa.array([is_far(path) for path in table["path"].to_pylist()])
    pq.write_table(table.filter(pa.compute.invert(far_rows)), near, row_group_size=1000)
    out = {"image": [], "label": [], "group": [], "variant": []}
    for row in table.filter(far_rows).to_pylist():
        image = Image.open(io.BytesIO(row["image"])).convert("L")
        for name, change in VARIANTS.items():
            out["image"].append(jpeg(change(image, row["label"]), 25 if name == "jpeg" else 97))
            out["label"].append(row["label"])
            out["group"].append(row["group"])
            out["variant"].append(name)
    pq.write_table(pa.table(out), far, row_group_size=1000)


if __name__ == "__main__":
    main()
