"""Writes optimizers.txt: three steps of PyTorch's optimizers on a quadratic function of three parameters.

    python3 optimizers.py > optimizers.txt

The loss is sum(c * (p - t) ^ 2) / 2 over a weight of two values with weight decay and a bias without. A line has the
optimizer, its weight decay, and the three parameters after each of the three steps.
"""

import torch

LEARNING_RATE, MOMENTUM = 0.1, 0.9
START, TARGET, CURVATURE = [1.0, -2.0, 0.5], [0.25, 1.0, -1.0], [1.0, 2.0, 3.0]


def steps(make, decay):
    p = torch.tensor(START, dtype=torch.float64)
    weight, bias = p[:2].clone().requires_grad_(), p[2:].clone().requires_grad_()
    groups = [{"params": [weight], "weight_decay": decay}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = make(groups)
    c, t = torch.tensor(CURVATURE, dtype=torch.float64), torch.tensor(TARGET, dtype=torch.float64)
    for _ in range(3):
        optimizer.zero_grad()
        (0.5 * (c * (torch.cat([weight, bias]) - t) ** 2).sum()).backward()
        optimizer.step()
        yield from torch.cat([weight, bias]).tolist()


print(f"# python3 optimizers.py > optimizers.txt, with PyTorch {torch.__version__}.")
makers = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=MOMENTUM),
    "adam": lambda groups: torch.optim.Adam(groups, lr=LEARNING_RATE, betas=(MOMENTUM, 0.999)),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(MOMENTUM, 0.999)),
}
for name, make in makers.items():
    for decay in [0.0, 0.2]:
        print(name, decay, *(f"{v:.9e}" for v in steps(make, decay)))
