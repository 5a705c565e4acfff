#!/usr/bin/env python3
"""Pillow's answers to the resampling test of tusk_pixels (run once; its output is committed).

    python3 -m venv /tmp/venv-pillow && /tmp/venv-pillow/bin/pip install pillow numpy
    /tmp/venv-pillow/bin/python pixels/tests/reference/pillow_resize.py > pixels/tests/reference/pillow_resize.txt

The source picture is a formula (a gradient under a checkerboard), so the Rust test draws the same one and no image
file is needed. Each line of the output is: channels filter width height, then the pixels in row order.
"""

import numpy as np
import PIL
from PIL import Image

WIDTH, HEIGHT = 32, 24
TARGETS = [(13, 9), (50, 40), (32, 9), (5, 24)]
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def level(x: int, y: int, channel: int) -> int:
    """The grey level of a pixel; the same formula is `drawn_level` in pixels/src/resize.rs."""
    checker = 90 if (x // 3 + y // 2 + channel) % 2 == 0 else 0
    return (x * 5 + y * 3 + channel * 40 + checker) % 256


def picture(channels: int) -> Image.Image:
    levels = [[[level(x, y, c) for c in range(channels)] for x in range(WIDTH)] for y in range(HEIGHT)]
    array = np.array(levels, dtype=np.uint8)
    return Image.fromarray(array[:, :, 0] if channels == 1 else array)


def main() -> None:
    print(f"# Pillow {PIL.__version__}, written by pillow_resize.py")
    for channels in (1, 3):
        source = picture(channels)
        for name, resampling in FILTERS.items():
            for width, height in TARGETS if channels == 1 else TARGETS[:1]:
                resized = np.asarray(source.resize((width, height), resampling)).reshape(-1)
                print(channels, name, width, height, *resized.tolist())


if __name__ == "__main__":
    main()
