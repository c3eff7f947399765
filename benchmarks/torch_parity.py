"""The worker that runs a reference implementation under weights that follow from the names of its tensors."""

import sys
import zlib
from pathlib import Path

import numpy as np
from worker import serve

GAINS = (1.0, 0.7, 1.4, 0.5, 2.0)  # scales of the random kernels; 1 is He's
NOISE = 1e-5  # error of float32, relative to the largest logit, above which another scale is tried


def load() -> tuple[dict, dict]:
    """Import PyTorch; the commands of this worker and what it says first."""
    import torch

    return {"reference": reference, "gradients": gradients}, {"versions": f"torch {torch.__version__}"}


def reference(model: str, size: int, path: str) -> dict:
    """Fill the network called `model`, write its checkpoint to `path` (safetensors) and say what it computes.

    The scale of the random kernels is the first that leaves float32 exact enough to compare with.

    The answer holds the logits of two fixed images in float64 (and how far float32 is from them), its trainable
    parameters, and the multiply-accumulates of its convolutions and dense layers for one such image.
    """
    import torch
    from safetensors.torch import save_file
    from torch_networks import create

    batch = torch.from_numpy(images(size)).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        for gain in GAINS:
            network = create(model).eval()
            filled = refill(network, gain)
            narrow = network(batch)
            macs = count(network, batch[:1])
            logits = network.double()(batch.double())
            largest = float(logits.abs().max())
            noise = float((narrow - logits).abs().max()) / largest
            if noise <= NOISE:
                break
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file(filled, path)
    return {
        "logits": logits.tolist(),
        "float32_relative_error": noise,
        "params": sum(each.numel() for each in network.parameters() if each.requires_grad),
        "macs": macs,
    }


def gradients(model: str, size: int, batch: int, folder: str) -> dict:
    """Write a checkpoint of the network called `model`, `weights.safetensors`, and the gradients of its loss.

    Its weights are those that a training begins with: those of `refill` let gradients grow from layer to layer, until
    nothing of them is left in bfloat16.

    Those of one batch in training mode: `float64.safetensors`, `float32.safetensors` and `bfloat16.safetensors`, by
    autocast. They have the form of the checkpoint, each gradient in the place of its tensor.
    """
    import torch
    from safetensors.torch import save_file
    from torch_networks import create

    pictures = torch.from_numpy(images(size, batch)).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    wanted = torch.from_numpy(labels(batch))
    losses = {}
    for precision in ("float64", "float32", "bfloat16"):
        torch.manual_seed(0)
        network = without_dropout(create(model).train()).to(memory_format=torch.channels_last)
        filled = {
            name: value.clone(memory_format=torch.contiguous_format)
            for name, value in network.state_dict().items()
            if value.is_floating_point()
        }
        dtype = torch.float64 if precision == "float64" else torch.float32
        network.to(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(pictures.to(dtype))
        loss = torch.nn.functional.cross_entropy(logits.double(), wanted)
        loss.backward()
        losses[precision] = float(loss)
        found = {name: weight.grad.float() for name, weight in network.named_parameters() if weight.grad is not None}
        save_file(
            {name: found.get(name, value).contiguous() for name, value in filled.items()},
            Path(folder, f"{precision}.safetensors"),
        )
    save_file(filled, Path(folder, "weights.safetensors"))  # every time the same
    return {"losses": losses}


def without_dropout(network):
    """Set every rate of dropout and of stochastic depth in `network` to 0; returns it. timm's GhostNet has 0.2."""
    for module in network.modules():
        for rate in ("p", "drop_rate", "drop_prob"):
            if isinstance(getattr(module, rate, None), float):
                setattr(module, rate, 0.0)
    return network


def refill(network, gain: float) -> dict:
    """Give every tensor of `network` the value that follows from its name; returns them."""
    import torch

    filled = {
        name: torch.from_numpy(np.asarray(fill(name, tuple(value.shape), gain)))
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    network.load_state_dict(filled, strict=False)
    return filled


def fill(name: str, shape: tuple[int, ...], gain: float) -> np.ndarray:
    """As the fixtures of the tests are filled."""
    draw = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith(".index"):
        return draw.permutation(shape[0])
    noise = draw.standard_normal(shape)
    if name.endswith("running_var"):
        value = 0.6 + 0.2 * np.abs(noise)
    elif len(shape) >= 2:
        value = noise * gain * np.sqrt(2.0 / np.prod(shape[1:]))
    elif name.endswith(("weight", "gamma")):
        value = 1.0 + 0.1 * noise
    else:
        value = 0.02 * noise
    return value.astype("float32")


def images(size: int, batch: int = 2) -> np.ndarray:
    """Images (batch, size, size, 3); size is a multiple of 4."""
    draw = np.random.RandomState(0)
    coarse = draw.standard_normal((batch, 4, 4, 3)).repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    return (coarse + 0.5 * draw.standard_normal((batch, size, size, 3))).astype("float32")


def labels(batch: int) -> np.ndarray:
    """Classes (batch,) out of 1000."""
    return np.random.RandomState(1).randint(0, 1000, batch)


def count(network, batch) -> int:
    """Multiply-accumulates of the convolutions and dense layers of a forward pass."""
    import torch

    total = 0

    def add(module, _, output) -> None:
        nonlocal total
        positions = output.numel() // output.shape[1] if output.ndim > 2 and hasattr(module, "groups") else 0
        per_output = module.weight.numel() if positions else module.weight.shape[1]
        total += per_output * (positions or output.numel())

    counted = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Linear)
    hooks = [module.register_forward_hook(add) for module in network.modules() if isinstance(module, counted)]
    network(batch)
    for hook in hooks:
        hook.remove()
    return total


if __name__ == "__main__":
    sys.setrecursionlimit(10000)
    serve(load)
