#!/usr/bin/env python3
"""Makes the illustrations of the manual from synthetic X-rays: augmented images, and heat maps.

    benches/experiments/illustrations.py

Writes docs/plots/augmented.png and docs/plots/explained.png. A minute on two processors.
"""

import subprocess

from common import FOLDER, ROOT, sql, tusk
from environment import python_with

SEEDS = 7
TRAINING, OTHERS = FOLDER / "synthetic.parquet", FOLDER / "synthetic_others.parquet"
AUGMENTED = f"""
SELECT label || ', ' || CASE seed WHEN 0 THEN 'original' ELSE 'seed ' || seed END AS title, encode(CASE seed
    WHEN 0 THEN augment_image(image, 'none', seed, 160) ELSE augment_image(image, 'xray', seed, 160) END, 'base64') AS png
FROM (SELECT * FROM others ORDER BY path LIMIT 2 OFFSET 3) CROSS JOIN (VALUES {', '.join(f'({n})' for n in range(SEEDS + 1))}) AS s(seed)
ORDER BY path, seed"""
EXPLAINED = """
SELECT label || ', predicted ' || predict('synthetic', image) AS title, encode(explain('synthetic', image), 'base64') AS png
FROM (SELECT *, row_number() OVER (PARTITION BY label ORDER BY path) AS place FROM others) WHERE place <= 8 ORDER BY label, place"""

SHEET = """
import base64, csv, io, sys
from PIL import Image, ImageDraw
columns, side, path = int(sys.argv[1]), 160, sys.argv[2]
csv.field_size_limit(1 << 30)
rows = list(csv.reader(sys.stdin))
lines = -(-len(rows) // columns)
sheet = Image.new("RGB", (columns * (side + 4), lines * (side + 18)), "white")
draw = ImageDraw.Draw(sheet)
for place, (title, png) in enumerate(rows):
    x, y = place % columns * (side + 4), place // columns * (side + 18)
    image = Image.open(io.BytesIO(base64.b64decode(png + "=" * (-len(png) % 4)))).convert("RGB").resize((side, side))
    sheet.paste(image, (x, y + 16))
    draw.text((x + 2, y + 2), title, fill="black")
sheet.quantize(128).save(path, optimize=True)
"""


def sheet(rows, name):
    path = ROOT / "docs" / "plots" / name
    lines = "".join(f'"{row["title"]}",{row["png"]}\n' for row in rows)
    python = python_with("illustrations", ["pillow==12.0.0"])
    subprocess.run([python, "-c", SHEET, str(SEEDS + 1), path], input=lines, text=True, check=True)
    print(path)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    tusk("draw", TRAINING, "--images", "1600")
    tusk("draw", OTHERS, "--images", "80", "--seed", "7")
    tables = {"xrays": TRAINING, "others": OTHERS}
    sheet(sql(AUGMENTED, tables=tables), "augmented.png")
    sql("CREATE OR REPLACE MODEL synthetic USING cnn OPTIONS (epochs = 8, \"group\" = 'group') TRAIN ON xrays", tables=tables)
    sheet(sql(EXPLAINED, tables=tables), "explained.png")


if __name__ == "__main__":
    main()
