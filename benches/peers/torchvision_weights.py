#!/usr/bin/env python3
"""Checks that a net that starts from torchvision's weights has the same logits as torchvision's module.

    benches/peers/torchvision_weights.py [--nets resnet18 densenet121 resnet50 efficientnet_b0 vgg16] [--bin target/dist]

torchvision creates each net with random weights and running statistics, writes them as safetensors, and computes the logits of some
images, in colour and in grey with three equal channels. Tusk starts a model with three channels or one from that file (OPTIONS
(weights = ...)), learns nothing (a learning rate of 1e-30 and a frozen backbone) and predicts the same images. The command fails if a
logit differs by more than 1e-4.
"""

import argparse
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

from environment import BIN, python_with

PACKAGES = ["torch==2.13.0", "torchvision==0.28.0", "numpy==2.2.6", "pillow==12.0.0", "safetensors==0.6.2", "packaging==25.0"]
SIDE, PICTURES, TOLERANCE = 64, 12, 1e-4
MEAN, STD = 0.5, 0.25


def make(net, channels, folder):
    """torchvision's part: writes the images and the weights, prints the logits by file name."""
    import numpy
    import torch
    import torchvision
    from PIL import Image
    from safetensors.torch import save_file

    torch.manual_seed(7)
    module = getattr(torchvision.models, net)(num_classes=1)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.running_mean, std=0.1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
    save_file(module.state_dict(), folder / "weights.safetensors")
    random = numpy.random.default_rng(7)
    logits = {}
    with torch.inference_mode():
        for n in range(PICTURES):
            pixels = random.integers(0, 256, (SIDE, SIDE, channels), numpy.uint8)
            path = folder / "images" / "AB"[n % 2] / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(path)
            x = torch.from_numpy(numpy.repeat(pixels, 3 // channels, axis=2)).permute(2, 0, 1)[None].float().div(255).sub(MEAN).div(STD)
            logits[path.name] = module.eval()(x).item()
    print(json.dumps(logits))


def tusk(net, channels, binaries, folder):
    """Tusk's logits, and what it says of the weights."""
    options = f"weights = '{folder}/weights.safetensors', freeze = 'backbone', learning_rate = 1e-30, epochs = 1, channels = {channels}, "
    options += f"image_size = {SIDE}, normalize = '{MEAN},{STD}', augment = 'none', validation_fraction = 0, precision = 'f32'"
    statements = f"CREATE EXTERNAL TABLE x STORED AS IMAGES LOCATION '{folder}/images/';"
    statements += f"CREATE OR REPLACE MODEL m USING {net} OPTIONS ({options}) TRAIN ON x;"
    statements += "SELECT path, ln(predict_proba('m', image, 'B') / predict_proba('m', image, 'A')) AS logit FROM x;"
    command = [binaries / "tusk", "sql", "--store", folder / "store", "--format", "json", "-c", statements]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"torchvision_weights: tusk failed: {done.stderr}")
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    said = next(line for line in done.stderr.splitlines() if line.startswith("starting from"))
    return {pathlib.Path(row["path"]).name: row["logit"] for row in rows if "logit" in row}, said.rsplit(": ", 1)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["resnet18", "densenet121", "resnet50", "efficientnet_b0", "vgg16"])
    parser.add_argument("--bin", type=pathlib.Path, default=BIN, help="folder of the binaries")
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        make(args.make[0], int(args.make[1]), pathlib.Path(args.make[2]))
        return
    python = python_with("torchvision", PACKAGES)
    print("| net | images | weights | largest logit | largest difference |")
    print("|---|---|---|---|---|")
    for net, channels in itertools.product(args.nets, [3, 1]):
        with tempfile.TemporaryDirectory(prefix="tusk-weights-") as folder:
            command = [str(word) for word in [python, __file__, "--make", net, channels, folder]]
            wanted = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
            found, said = tusk(net, channels, args.bin, pathlib.Path(folder))
        size = max(abs(logit) for logit in wanted.values())
        apart = max(abs(found[name] - logit) for name, logit in wanted.items())
        print(f"| {net} | {'grey' if channels == 1 else 'colour'} | {said} | {size:.4f} | {apart:.1e} |", flush=True)
        if apart > TOLERANCE:
            sys.exit(f"torchvision_weights: the logits of {net} on {channels} channels differ by {apart}")


if __name__ == "__main__":
    main()
