"""PyTorch's part of throughput.py: the reference net in one process, or in several with DistributedDataParallel.

    python training.py PIXELS.npy LABELS.npy --processes 2 --threads 1 --epochs 3 [--bf16] [--apart]

PIXELS are u8 `[n, 128, 128]` and LABELS are u8 `[n]`. Both are in memory before the measurement, as a decoded shard is. Prints the
wall seconds of each epoch as JSON. With --apart, the processes do not exchange weights.
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
from reference import CnnReference
from torch import nn
from torch.nn.parallel import DistributedDataParallel

BATCH, LEARNING_RATE = 32, 1e-3


def train(rank, args, port):
    torch.set_num_threads(args.threads)
    torch.manual_seed(42)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=args.processes)
    pixels = torch.from_numpy(np.load(args.pixels)[rank :: args.processes].copy())
    labels = torch.from_numpy(np.load(args.labels)[rank :: args.processes].copy()).float()
    mean, std = pixels.float().mean() / 255, pixels.float().std() / 255
    net = CnnReference().to(memory_format=torch.channels_last)
    if args.processes > 1 and not args.apart:
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
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--apart", action="store_true")
    args = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(train, (args, port), nprocs=args.processes)


if __name__ == "__main__":
    main()
