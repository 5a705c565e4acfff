"""PyTorch's part of endtoend.py: a DataLoader over files, float32, channels-last. `python pytorch_files.py TRAIN TEST SEED`"""

import json
import sys
import time

import numpy
import torch
from files import BATCH, EPOCHS, LEARNING_RATE, listed, pixels, roc_auc
from reference import CnnReference
from torch.utils.data import DataLoader, Dataset


class Files(Dataset):
    def __init__(self, folder):
        self.paths, self.labels = listed(folder)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return torch.from_numpy(pixels(self.paths[index])).unsqueeze(0), self.labels[index]


def to_input(x):
    return x.float().div_(255).sub_(0.5).div_(0.25).contiguous(memory_format=torch.channels_last)


def main():
    torch.manual_seed(int(sys.argv[3]))
    torch.set_num_threads(2)
    net = CnnReference().to(memory_format=torch.channels_last)
    optimizer, loss_of = torch.optim.Adam(net.parameters(), LEARNING_RATE), torch.nn.BCEWithLogitsLoss()
    started = time.perf_counter()
    for _ in range(EPOCHS):
        for x, truth in DataLoader(Files(sys.argv[1]), batch_size=BATCH, shuffle=True, num_workers=2):
            loss = loss_of(net(to_input(x)).squeeze(1), truth)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    seconds, scores, truths = time.perf_counter() - started, [], []
    net.eval()
    with torch.inference_mode():
        for x, truth in DataLoader(Files(sys.argv[2]), batch_size=64, num_workers=2):
            scores.append(net(to_input(x)).squeeze(1).numpy())
            truths.append(truth.numpy())
    auc = roc_auc(numpy.concatenate(truths), numpy.concatenate(scores))
    print(json.dumps({"seconds": seconds, "roc_auc": auc}))


if __name__ == "__main__":
    main()
