"""The worker of PyTorch: networks as they come or through torch.compile, and single convolutions."""

from collections.abc import Callable
from typing import SupportsFloat

from worker import Steps, serve

LEARNING_RATE, MOMENTUM = 0.01, 0.9


def load() -> tuple[dict, dict]:
    """Import PyTorch; the commands of this worker and what it says first."""
    import torch
    from ceilings import torch_ceilings
    from torch_layers import Layers

    steps, layers = Steps(), Layers()
    commands = {
        "network": lambda **request: steps.begin(lambda: network(**request)),
        "take": steps.take,
        "memory": lambda: {**steps.memory(), "device_peak_mb": device_peak_mb()},
        "ceilings": torch_ceilings,
        "layer": layers.prepare,
        "time": layers.time,
        "forget": layers.forget,
    }
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return commands, {"versions": f"torch {torch.__version__}", "gpu": gpu}


def network(contender: str, model: str, mode: str, precision: str, batch: int, size: int):
    """A step of `model` on the GPU where PyTorch sees one, and a function that says what it costs.

    Images are channels last, but for pytorchcv's AlexNet, whose `view` needs them first.

    Args:
        contender: "torch", the modules as they come, "compile", through torch.compile, or "graphs", the same with CUDA
            graphs.
        mode: "train", a step of SGD with momentum, whose loss comes back; "infer", the sum of the logits.
        precision: "float32", or "bfloat16" or "float16" by autocast.
    """
    import torch
    from ceilings import torch_device
    from torch_networks import create

    memory_format = torch.contiguous_format if model == "alexnet_g1" else torch.channels_last
    device = torch_device()
    if device == "cuda":
        torch.backends.cudnn.benchmark = True  # choose kernels by trying them, as XLA does
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True  # JAX's default
    torch.manual_seed(0)
    built = create(model).to(device=device, memory_format=memory_format).train(mode == "train")
    modes = {"compile": "default", "graphs": "reduce-overhead"}
    run = torch.compile(built, mode=modes[contender]) if contender in modes else built
    images = torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=memory_format)
    labels = torch.randint(0, 1000, (batch,), device=device)
    step = training(built, run, images, labels, precision) if mode == "train" else inference(run, images, precision)
    return step, lambda: facts(built)


def autocast(images, precision: str):
    """PyTorch's mixed precision for the device that `images` are on."""
    import torch

    dtype = torch.float16 if precision == "float16" else torch.bfloat16
    return torch.autocast(images.device.type, dtype, enabled=precision != "float32")


def training(model, run, images, labels, precision: str) -> Callable[[], SupportsFloat]:
    """Forward, cross-entropy, backward, update; float16 with a scaled loss."""
    import torch

    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=MOMENTUM)
    scaler = torch.amp.GradScaler(images.device.type, enabled=precision == "float16")

    def step():
        optimizer.zero_grad()
        with autocast(images, precision):
            loss = torch.nn.functional.cross_entropy(run(images).float(), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    return step


def inference(run, images, precision: str) -> Callable[[], SupportsFloat]:
    """The sum of the logits, so that a step ends with one number for every contender."""
    import torch

    def step():
        with torch.no_grad(), autocast(images, precision):
            return run(images).float().sum()

    return step


def device_peak_mb() -> float | None:
    """The most memory that tensors took on the GPU, in MB (10^6 bytes); None where none was used."""
    import torch

    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return peak / 1e6 if peak else None


def facts(model) -> dict:
    """Parameters."""
    return {"parameters": sum(weight.numel() for weight in model.parameters())}


if __name__ == "__main__":
    serve(load)
