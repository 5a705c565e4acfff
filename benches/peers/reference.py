"""`USING cnn_reference` in PyTorch, layer by layer."""

import torch
from torch import nn


class CnnReference(nn.Module):
    """Grey images `[n, 1, side, side]` to logits `[n, 1]`; 0.42 million parameters."""

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
