"""Writes pillow_quality.txt: headers of JPEG files that Pillow writes with every tenth quality.

    pip install pillow==12.0.0
    python3 pillow_quality.py > pillow_quality.txt
"""

import io

import PIL
from PIL import Image

print(f"# python3 pillow_quality.py > pillow_quality.txt, with Pillow {PIL.__version__}: quality, bytes")
for quality in (1, 5, *range(10, 100, 10), 95, 100):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (90, 60, 30)).save(buffer, "JPEG", quality=quality)
    print(quality, buffer.getvalue().hex())
