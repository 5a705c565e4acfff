"""Writes nets.txt: the outputs and gradients of PyTorch for the nets of Tusk, with weights from a formula.

    pip install torch==2.11.0 torchvision==0.26.0 numpy
    python3 nets.py > nets.txt

Run it again when `core/src/nets/cnn.rs` or `cnn_reference.rs` changes, because this file transcribes their layers.
Values are computed in f64, so that only the rounding of f32 differs.
"""

import numpy as np
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

# The stem of `cnn`: the fold factor (1 for no folding), the number of channels, the kernel, the stride, and whether
# 3 x 3 max pooling with stride 2 follows. `BLOCKS` are pairs of width and stride.
FOLD, STEM, KERNEL, STRIDE, POOL = 4, 32, 3, 1, False
BLOCKS = [(32, 1), (64, 2), (128, 2), (192, 2)]

SIDE, IMAGES = 64, 2

# The weights and running variances of batch normalisation are around 1 and all other vectors around 0. The weights of
# the last normalisation of a bottleneck (bn3) are around 0 too, because fifty layers at full scale would amplify
# rounding errors.
UNITY = ("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight")
UNITY += ("features.1.weight", "features.5.weight", "features.9.weight", "features.13.weight")
UNITY += ("norm0.weight", "norm1.weight", "norm2.weight", "norm.weight", "norm5.weight")

RESIDUAL = ["conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv2.weight", "layer2.0.downsample.0.weight"]


class Cnn(nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(channels * FOLD**2, STEM, KERNEL, STRIDE, KERNEL // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.stages, width = [], STEM
        for place, (features, stride) in enumerate(BLOCKS):
            downsample = None
            if stride != 1 or width != features:
                conv = nn.Conv2d(width, features, 1, stride, bias=False)
                downsample = nn.Sequential(conv, nn.BatchNorm2d(features))
            name = f"layer{place + 1}"
            setattr(self, name, nn.Sequential(BasicBlock(width, features, stride, downsample)))
            self.stages.append(name)
            width = features
        self.fc = nn.Linear(width, outputs)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(nn.functional.pixel_unshuffle(x, FOLD))))
        if POOL:
            x = torch.max_pool2d(x, 3, 2, 1)
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.fc(x.mean((2, 3)))


class CnnReference(nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        layers, width = [], channels
        for features in (32, 64, 128, 256):
            conv = nn.Conv2d(width, features, 3, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(features), nn.ReLU(), nn.MaxPool2d(2)]
            width = features
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(width, 128)
        self.fc = nn.Linear(128, outputs)

    def forward(self, x):
        return self.fc(torch.relu(self.hidden(self.features(x).mean((2, 3)))))


def resnet(of, channels, outputs):
    net = of(num_classes=outputs)
    net.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return net


def vgg16(channels, outputs):
    """Has no dropout, because its random numbers are not reproducible in Tusk."""
    net = torchvision.models.vgg16(num_classes=outputs, init_weights=False, dropout=0)
    net.features[0] = nn.Conv2d(channels, 64, 3, padding=1)
    return net


def densenet121(channels, outputs):
    net = torchvision.models.densenet121(num_classes=outputs)
    net.features.conv0 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return net


def uniform(name, count):
    """Returns pseudorandom numbers in [-1, 1) with 24 bits each, by splitmix64 from the FNV-1a hash of the name."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = (start ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def values(name, shape):
    """Returns the values of a tensor: weights have He's variance, vectors are near their usual initial values."""
    u = uniform(name, int(np.prod(shape)))
    if len(shape) > 1:
        u = u * np.sqrt(6 / np.prod(shape[1:]))
    elif name.endswith(UNITY):
        u = 1 + 0.2 * u
    else:
        u = 0.1 * u
    return torch.from_numpy(u.astype(np.float32).astype(np.float64)).reshape(shape)


def show(net, mode, what, tensor):
    print(net, mode, what, *(f"{v:.9e}" for v in tensor.flatten().tolist()))


def summary(tensor):
    flat = tensor.detach().flatten()
    return torch.cat([flat.sum()[None], flat.square().sum()[None], flat[:4]])


def print_reference(name, net, loss_of, gradients, normalisations, head="fc"):
    net = net.double()
    state = net.state_dict()
    state = {k: v if k.endswith("num_batches_tracked") else values(k, tuple(v.shape)) for k, v in state.items()}
    net.load_state_dict(state)
    print(name, "all", "parameters", sum(p.numel() for p in net.parameters()))
    x = torch.from_numpy(uniform("input", IMAGES * SIDE * SIDE).astype(np.float32).astype(np.float64))
    x = x.reshape(IMAGES, 1, SIDE, SIDE)
    with torch.no_grad():
        show(name, "eval", "outputs", net.eval()(x))
    outputs = net.train()(x)
    loss = loss_of(outputs)
    loss.backward()
    show(name, "train", "outputs", outputs)
    show(name, "train", "loss", loss)
    parameters = dict(net.named_parameters())
    for key in [*gradients, f"{head}.weight", f"{head}.bias"]:
        show(name, "gradient", key, summary(parameters[key].grad))
    for key in (f"{bn}.{part}" for bn in normalisations for part in ("running_mean", "running_var")):
        show(name, "buffer", key, summary(net.state_dict()[key]))


def residual(name, net, loss_of, last):
    gradients = [*RESIDUAL, f"{last}.conv1.weight", f"{last}.bn2.weight"]
    print_reference(name, net, loss_of, gradients, ["bn1", f"{last}.bn2"])


print(f"# python3 nets.py > nets.txt, with PyTorch {torch.__version__}, torchvision {torchvision.__version__}.")
print("# gradient and buffer: sum, sum of squares, the first four values.")
truth = torch.tensor([0, 1])
models = torchvision.models
residual("resnet18", resnet(models.resnet18, 1, 2), lambda y: nn.functional.cross_entropy(y, truth), "layer4.1")


def binary(y):
    return nn.functional.binary_cross_entropy_with_logits(y.squeeze(1), truth.double())


residual("resnet50", resnet(models.resnet50, 1, 1), binary, "layer4.2")
residual("cnn", Cnn(1, 1), binary, f"layer{len(BLOCKS)}.0")
layers = ["features.0.weight", "features.1.weight", "features.1.bias", "features.4.weight", "features.12.weight"]
layers += ["features.13.weight", "hidden.weight", "hidden.bias"]
print_reference("cnn_reference", CnnReference(1, 1), binary, layers, ["features.1", "features.13"])
layers = ["features.0.weight", "features.0.bias", "features.10.weight", "features.28.weight", "classifier.0.weight"]
layers += ["classifier.3.bias"]
print_reference("vgg16", vgg16(1, 1), binary, layers, [], head="classifier.6")
layers = ["features.conv0.weight", "features.norm0.weight", "features.denseblock1.denselayer2.conv1.weight"]
layers += ["features.transition2.norm.weight", "features.transition3.conv.weight", "features.norm5.bias"]
layers += ["features.denseblock4.denselayer16.norm1.weight", "features.denseblock4.denselayer16.conv2.weight"]
normalisations = ["features.norm0", "features.norm5"]
print_reference("densenet121", densenet121(1, 1), binary, layers, normalisations, head="classifier")
