"""Spark's part of decode.py: a DataFrame of JPEG files to net inputs, by a pandas UDF or mapInArrow with Pillow.

    python spark.py FOLDER --side 224 --way pandas|arrow

Spark has two local cores. The files are in its memory before the measurement, and a first pass warms up the workers. Prints the number
of images and the seconds of the second pass as JSON.
"""

import argparse
import io
import json
import os
import sys
import time

import pandas
import pyarrow
from PIL import Image
from pyspark.sql import SparkSession, functions


def square(data, side):
    image = Image.open(io.BytesIO(data))
    image.draft("L", (side, side))
    return image.convert("L").resize((side, side), Image.Resampling.BILINEAR).tobytes()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--way", choices=["pandas", "arrow"], default="pandas")
    args = parser.parse_args()
    side = args.side
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.driver.memory", "4g")
    builder = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", 32).config("spark.ui.enabled", "false")
    builder = builder.config("spark.ui.showConsoleProgress", "false")
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(args.folder)
    files = files.select("content").repartition(4).cache()
    images = files.count()

    @functions.pandas_udf("binary")
    def pandas_square(contents: pandas.Series) -> pandas.Series:
        return contents.map(lambda data: square(data, side))

    def arrow_square(batches):
        for batch in batches:
            squares = [square(data.as_py(), side) for data in batch.column(0)]
            yield pyarrow.RecordBatch.from_arrays([pyarrow.array(squares, pyarrow.binary())], ["square"])

    if args.way == "pandas":
        squares = files.select(pandas_square("content").alias("square"))
    else:
        squares = files.mapInArrow(arrow_square, "square binary")
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        pixels = squares.agg(functions.sum(functions.octet_length("square"))).first()[0]
        seconds.append(time.perf_counter() - started)
        assert pixels == images * side * side, (pixels, images)
    print(json.dumps({"images": images, "seconds": seconds[1:]}))
    spark.stop()


if __name__ == "__main__":
    main()
