#!/usr/bin/env python3
"""Small JPEG, TIFF and PNG files that the `image` crate cannot write, and Pillow's reading of them.

    python3 -m venv /tmp/venv-pillow && /tmp/venv-pillow/bin/pip install pillow numpy
    /tmp/venv-pillow/bin/python pixels/tests/reference/pillow_files.py > pixels/tests/reference/pillow_files.txt

Each line of the output is: name, the file in hex, width, height, channels, and Pillow's pixels in hex (row order,
interleaved, after ImageOps.exif_transpose).
"""

import io

import numpy as np
import PIL
from PIL import Image, ImageOps

WIDTH, HEIGHT = 16, 8


def gradient(channels: int) -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [x * 15, y * 30, 255 - x * 12, 20 + y * 4]
    return np.stack(planes[:channels], axis=-1).astype(np.uint8)


def corners() -> Image.Image:
    """Black but for a white left half of the top: every orientation of it looks different."""
    array = np.zeros((16, 24), dtype=np.uint8)
    array[:8, :8] = 255
    array[:8, 8:16] = 128
    return Image.fromarray(array)


def save(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def oriented(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return save(corners(), "JPEG", quality=95, exif=exif)


def files():
    rgb = Image.fromarray(gradient(3))
    yield "jpeg-grey", save(Image.fromarray(gradient(1)[:, :, 0]), "JPEG", quality=95), "L"
    yield "jpeg-rgb-444", save(rgb, "JPEG", quality=95, subsampling=0), "RGB"
    yield "jpeg-progressive", save(rgb, "JPEG", quality=95, subsampling=0, progressive=True), "RGB"
    yield "jpeg-restart", save(rgb, "JPEG", quality=95, subsampling=0, restart_marker_blocks=1), "RGB"
    yield "jpeg-cmyk", save(Image.fromarray(gradient(4), mode="CMYK"), "JPEG", quality=95), "RGB"
    for value in range(1, 9):
        yield f"jpeg-exif-{value}", oriented(value), "L"
    yield "png-palette", save(rgb.quantize(8), "PNG"), "RGB"
    yield "png-one-bit", save(Image.fromarray(gradient(1)[:, :, 0]).convert("1"), "PNG"), "L"
    yield "tiff-lzw", save(rgb, "TIFF", compression="tiff_lzw"), "RGB"


def main() -> None:
    print(f"# Pillow {PIL.__version__}, written by pillow_files.py")
    for name, data, mode in files():
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert(mode)
        print(name, data.hex(), image.width, image.height, len(mode), image.tobytes().hex())


if __name__ == "__main__":
    main()
