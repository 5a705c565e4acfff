"""PyTorch's side of throughput.py: DistributedDataParallel over processes of one thread each.

    python ddp.py PIXELS.npy LABELS.npy --processes 2 --epochs 3 [--bf16]

PIXELS are u8 `[n, 128, 128]`, LABELS u8 `[n]`; they are in memory before the clock starts, as a decoded shard is. Prints
the wall seconds of each epoch as JSON.
"""

import argparse
import json
import os
import socket
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

BATCH, LEARNING_RATE = 32, 1e-3


class CnnReference(nn.Module):
    """`USING cnn_reference`, layer by layer."""

    def __init__(self):
        super().__init__()
        layers, width = [], 1
        for features in (32, 64, 128, 256):
            conv = nn.Conv2d(width, features, 3, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(features), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
            width = features
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(width, 128)
        self.fc = nn.Linear(128, 1)

    def forward(self, x):
        return self.fc(torch.relu(self.hidden(self.features(x).mean((2, 3)))))


def train(rank, args, port):
    torch.set_num_threads(1)
    torch.manual_seed(42)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=args.processes)
    pixels = torch.from_numpy(np.load(args.pixels)[rank :: args.processes].copy())
    labels = torch.from_numpy(np.load(args.labels)[rank :: args.processes].copy()).float()
    mean, std = pixels.float().mean() / 255, pixels.float().std() / 255
    net = CnnReference().to(memory_format=torch.channels_last)
    net = DistributedDataParallel(net)
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    loss_of = nn.BCEWithLogitsLoss()
    seconds = []
    for _ in range(args.epochs):
        dist.barrier()
        started = time.perf_counter()
        order = torch.randperm(len(pixels))
        loss_sum = torch.zeros(())
        for batch in order.split(BATCH):
            x = pixels[batch].unsqueeze(1).float().div_(255).sub_(mean).div_(std)
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                outputs = net(x)
            loss = loss_of(outputs.float().squeeze(1), labels[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach()
        loss_sum.item()
        dist.barrier()
        seconds.append(time.perf_counter() - started)
    if rank == 0:
        print(json.dumps({"seconds": seconds, "torch": torch.__version__}))
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pixels")
    parser.add_argument("labels")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(train, (args, port), nprocs=args.processes)


if __name__ == "__main__":
    main()
