"""Elephas's part of endtoend.py: Keras on two Spark workers. `python elephas_files.py TRAIN TEST synchronous|asynchronous SEED`"""

import json
import os
import sys
import time

os.environ.update(PYSPARK_PYTHON=sys.executable, TF_CPP_MIN_LOG_LEVEL="2", CUDA_VISIBLE_DEVICES="")

import keras
import numpy
from elephas.spark_model import SparkModel
from elephas.utils.rdd_utils import to_simple_rdd
from files import BATCH, EPOCHS, LEARNING_RATE, SIDE, listed, pixels, roc_auc
from keras import layers
from pyspark import SparkConf, SparkContext


def net():
    """`USING cnn_reference` in Keras."""
    model = keras.Sequential([layers.Input((SIDE, SIDE, 1))])
    for features in (32, 64, 128, 256):
        model.add(layers.Conv2D(features, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization(momentum=0.9, epsilon=1e-5))
        model.add(layers.ReLU())
        model.add(layers.MaxPooling2D())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(128, activation="relu"))
    model.add(layers.Dense(1, activation="sigmoid"))
    model.compile(keras.optimizers.Adam(LEARNING_RATE), "binary_crossentropy", metrics=["accuracy"])
    return model


def arrays(folder):
    paths, labels = listed(folder)
    x = numpy.stack([pixels(path) for path in paths]).astype(numpy.float32)
    return ((x / 255 - 0.5) / 0.25)[..., None], labels


def main():
    train, test, mode, seed = sys.argv[1:]
    keras.utils.set_random_seed(int(seed))
    conf = SparkConf().setMaster("local[2]").set("spark.driver.memory", "6g").set("spark.ui.enabled", "false")
    context = SparkContext(conf=conf.set("spark.ui.showConsoleProgress", "false"))
    context.setLogLevel("ERROR")
    started = time.perf_counter()
    x, y = arrays(train)
    order = numpy.random.default_rng(int(seed)).permutation(len(y))
    rdd = to_simple_rdd(context, x[order], y[order])
    model = SparkModel(net(), mode=mode, frequency="epoch", num_workers=2)
    model.fit(rdd, epochs=EPOCHS, batch_size=BATCH, verbose=0, validation_split=0.0)
    seconds = time.perf_counter() - started
    x, y = arrays(test)
    scores = model.master_network.predict(x, batch_size=64, verbose=0)[:, 0]
    print(json.dumps({"seconds": seconds, "roc_auc": roc_auc(y, scores)}))
    context.stop()


if __name__ == "__main__":
    main()
