#!/usr/bin/env python3
"""Compares prediction in images per second, from JPEG files: `predict` in SQL, and PyTorch with a DataLoader.

    benches/peers/predict.py FOLDER [--rounds 3] [--bin target/dist]

FOLDER has one folder per class. Both systems use the same files and the same net (`cnn_reference` at 128 pixels). PyTorch decodes with
Pillow in two processes of a DataLoader. It computes with two threads in batches of 64 in channels-last format, in float32 and with
bf16 autocast. Its weights are not trained, which does not change the time. Tusk's seconds are those of a query over the table,
including planning and scheduling. The first pass of each system is left out.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

from environment import BIN, HERE, python_with_torch

SIDE, BATCH, WORKERS = 128, 64, 2


def pytorch(folder, bf16, passes):
    """Seconds of each pass, in a process of its own."""
    import numpy
    import torch
    from PIL import Image
    from reference import CnnReference
    from torch.utils.data import DataLoader, Dataset

    class Files(Dataset):
        def __init__(self):
            self.paths = sorted(path for path in folder.rglob("*") if path.is_file())

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, index):
            image = Image.open(self.paths[index])
            image.draft("L", (SIDE, SIDE))
            image = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            return torch.from_numpy(numpy.array(image)).unsqueeze(0)

    torch.set_num_threads(2)
    files, net = Files(), CnnReference().eval().to(memory_format=torch.channels_last)
    seconds = []
    for _ in range(passes):
        started, positive = time.perf_counter(), 0
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            for pixels in DataLoader(files, batch_size=BATCH, num_workers=WORKERS):
                x = pixels.float().div_(255).sub_(0.5).div_(0.25).contiguous(memory_format=torch.channels_last)
                positive += int((net(x) > 0).sum())
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"images": len(files), "seconds": seconds}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bin", type=pathlib.Path, default=BIN, help="folder of the binaries")
    parser.add_argument("--side", choices=["f32", "bf16"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        pytorch(args.folder, args.side == "bf16", 2)
        return
    python, rates, latencies = python_with_torch(), {}, []
    for round_ in range(args.rounds):
        for precision in ("f32", "bf16"):
            name = {"f32": "float32", "bf16": "bf16"}[precision]
            tusk = [args.bin / "predict", args.folder, "--precision", precision]
            if precision == "f32" and round_ == 0:
                tusk += ["--at-once", 100]
            for side, command in {
                f"PyTorch + DataLoader, {name}": [python, HERE / "predict.py", args.folder, "--side", precision],
                f"Tusk, {name}": tusk,
            }.items():
                done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    sys.exit(f"predict: {side} failed: {done.stderr}")
                answer = json.loads(done.stdout.splitlines()[-1])
                rates.setdefault(side, []).extend(answer["images"] / seconds for seconds in answer["seconds"][1:])
                if answer.get("at_once"):
                    latencies = [answer["alone"], answer["at_once"]]
                print(f"round {round_ + 1}: {side}: {statistics.median(rates[side]):.0f} images/s", file=sys.stderr)
    print("| files to predictions | images/s, median | minimum | maximum | ratio to PyTorch |")
    print("|---|---|---|---|---|")
    for side, values in rates.items():
        peer = statistics.median(rates[side.replace("Tusk", "PyTorch + DataLoader")])
        middle = statistics.median(values)
        print(f"| {side} | {middle:.0f} | {min(values):.0f} | {max(values):.0f} | {middle / peer:.2f} |")
    alone, at_once = (statistics.median(values) for values in latencies)
    print(f"\na query over one image: {alone * 1e3:.0f} ms alone; a hundred at once: {at_once * 1e3:.0f} ms (medians), "
          f"ratio {at_once / alone:.1f}, the slowest {max(latencies[1]) * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
