"""What timm's optimizers, schedules, averages and losses give: writes tests/goldens/timm_training.json.

    PYTHON_WITH_TIMM benchmarks/training_reference.py

Needs torch and timm, and nothing of this project. Numbers are drawn from a seed, rounded to float32 and stored, so that
the tests need no torch.
"""

import json
from pathlib import Path

import numpy as np
import timm
import torch
from timm.loss import BinaryCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch import nn

FILE = Path(__file__).parent.parent / "tests" / "goldens" / "timm_training.json"
STEPS = 10
# A change at every step: whether the learning rate is inside the momentum shows only then.
RATES = [0.002, 0.004, 0.006, 0.008, 0.01, 0.009, 0.007, 0.005, 0.003, 0.001]
OPTIMIZERS = {
    "sgd": {"opt": "sgd", "weight_decay": 0.05},
    "sgd, no Nesterov": {"opt": "momentum", "weight_decay": 0.05},
    "sgd, no momentum": {"opt": "momentum", "momentum": 0.0, "weight_decay": 0.05},
    "adamw": {"opt": "adamw", "weight_decay": 0.05},
    "adamw, other constants": {"opt": "adamw", "weight_decay": 0.3, "betas": [0.8, 0.95], "eps": 1e-3},
    "lamb": {"opt": "lamb", "weight_decay": 0.02},
    "lamb, no decay": {"opt": "lamb"},
    "lamb, other constants": {
        "opt": "lamb",
        "weight_decay": 0.3,
        "betas": [0.8, 0.95],
        "eps": 1e-3,
        "max_grad_norm": 0.1,
    },
    "rmsprop": {"opt": "rmsproptf", "weight_decay": 0.05},
    "rmsprop, EfficientNet": {"opt": "rmsproptf", "weight_decay": 1e-5, "alpha": 0.9, "eps": 1e-3},
    "rmsprop, no momentum": {"opt": "rmsproptf", "momentum": 0.0, "alpha": 0.99, "eps": 1.0},
}
SCHEDULES = {
    "cosine": {"sched": "cosine", "num_epochs": 10, "warmup_epochs": 2, "warmup_lr": 0.01, "min_lr": 0.02},
    "cosine, prefix": {"sched": "cosine", "num_epochs": 8, "warmup_epochs": 2, "warmup_lr": 0.0, "warmup_prefix": True},
    "cosine, no warm-up": {"sched": "cosine", "num_epochs": 10},
    "steps": {"sched": "step", "num_epochs": 10, "decay_epochs": 2.4, "decay_rate": 0.9, "warmup_epochs": 3},
    "steps, prefix": {"sched": "step", "num_epochs": 8, "decay_epochs": 2, "warmup_epochs": 2, "warmup_prefix": True},
    # Those of timm lower the rate a unit earlier than they say.
    "milestones": {"sched": "multistep", "num_epochs": 10, "decay_milestones": [3, 7], "decay_rate": 0.1},
    "polynomial": {"sched": "poly", "num_epochs": 10, "decay_rate": 2.0, "min_lr": 0.01, "warmup_epochs": 1},
    "linear": {"sched": "poly", "num_epochs": 10, "decay_rate": 1.0},
    "constant": {"sched": "constant", "num_epochs": 10, "warmup_epochs": 2, "warmup_lr": 0.1},
}  # fmt: skip
UPDATES = 5  # of an epoch
PEAK = 0.4


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


class Network(nn.Module):
    """A kernel with ordinary gradients and one with tiny ones, a bias, and the scale of a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(draw(0, 4, 3))
        self.quiet_kernel = nn.Parameter(draw(1, 2, 3))
        self.bias = nn.Parameter(draw(2, 3))
        self.gamma = nn.Parameter(draw(3, 3))


SCALES = {"kernel": 1.0, "quiet_kernel": 1e-4, "bias": 0.3, "gamma": 0.1}


def gradients() -> list[dict[str, torch.Tensor]]:
    shapes = {name: tuple(each.shape) for name, each in Network().named_parameters()}
    return [
        {
            name: scale * draw(100 + 10 * step + place, *shapes[name])
            for place, (name, scale) in enumerate(SCALES.items())
        }
        for step in range(STEPS)
    ]


def optimized(options: dict) -> dict:
    network = Network()
    optimizer = create_optimizer_v2(network, lr=RATES[0], **options)
    for rate, step in zip(RATES, gradients(), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for name, parameter in network.named_parameters():
            parameter.grad = step[name].clone()
        optimizer.step()
    return {"options": options, "weights": plain(dict(network.named_parameters()))}


def scheduled(options: dict, by_update: bool) -> dict:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=PEAK)
    options = {"warmup_lr": 0.0} | options
    asked = dict(options)
    if "decay_milestones" in options:
        unit = 1 / UPDATES if by_update else 1
        asked["decay_milestones"] = [each + unit for each in options["decay_milestones"]]
    scheduler, epochs = create_scheduler_v2(optimizer, **asked, step_on_epochs=not by_update, updates_per_epoch=UPDATES)
    assert epochs == 10
    rates = []
    for update in range(epochs * UPDATES):
        epoch = update // UPDATES
        if by_update:
            scheduler.step_update(update)
        else:
            scheduler.step(epoch)
        rates.append(optimizer.param_groups[0]["lr"])
    return {"options": options, "by_update": by_update, "rates": rates}


def one_cycle(share: float) -> dict:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=PEAK, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK, total_steps=10 * UPDATES, pct_start=share)
    rates = []
    for _ in range(10 * UPDATES):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return {"share": share, "rates": rates}


def averaged(options: dict) -> dict:
    network = nn.BatchNorm1d(3)
    average = ModelEmaV3(network, **options)
    weights, averages = [], []
    for update in range(STEPS):
        for place, each in enumerate(network.state_dict().values()):
            if each.is_floating_point():
                each.copy_(draw(1000 + 10 * update + place, 3))
        average.update(network, step=update + 1)
        weights.append(plain(floats(network)))
        averages.append(plain(floats(average.module)))
    return {"options": options, "weights": weights, "averages": averages}


def floats(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: each for name, each in module.state_dict().items() if each.is_floating_point()}


def binary(smoothing: float, threshold: float | None) -> dict:
    logits, labels = 3 * draw(7, 4, 5), torch.tensor([0, 3, 1, 4])
    soft = torch.softmax(2 * draw(8, 4, 5), dim=-1)
    loss = BinaryCrossEntropy(smoothing=smoothing, target_threshold=threshold)
    return {
        "smoothing": smoothing,
        "threshold": threshold,
        "logits": logits.tolist(),
        "labels": labels.tolist(),
        "soft_labels": soft.tolist(),
        "loss": loss(logits, labels).item(),
        "soft_loss": loss(logits, soft).item(),
    }


def plain(tensors: dict[str, torch.Tensor]) -> dict[str, list]:
    return {name: each.detach().tolist() for name, each in tensors.items()}


def main() -> None:
    torch.manual_seed(0)
    content = {
        "made_with": f"benchmarks/training_reference.py, timm {timm.__version__}, torch {torch.__version__}",
        "optimizers": {
            "rates": RATES,
            "start": plain(dict(Network().named_parameters())),
            "gradients": [plain(each) for each in gradients()],
            "cases": {name: optimized(options) for name, options in OPTIMIZERS.items()},
        },
        "schedules": {
            "peak": PEAK,
            "updates_per_epoch": UPDATES,
            "epochs": 10,
            "cases": {
                f"{name}, by {'update' if by_update else 'epoch'}": scheduled(options, by_update)
                for name, options in SCHEDULES.items()
                for by_update in (False, True)
            },
            "one_cycle": [one_cycle(share) for share in (0.3, 0.5)],
        },
        "averages": [
            averaged(options)
            for options in ({"decay": 0.9}, {"decay": 0.9999, "use_warmup": True}, {"decay": 0.5, "use_warmup": True})
        ],
        "binary_cross_entropy": [binary(0.0, None), binary(0.1, None), binary(0.1, 0.2)],
    }
    FILE.write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
