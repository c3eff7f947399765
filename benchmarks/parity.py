"""Every network of the zoo against its reference implementation, run under the same weights.

usage: python benchmarks/parity.py [PATTERN ...] [--size 64] [--torch PYTHON]

For each network that matches: the reference writes a checkpoint of random weights, `zoo.create` loads it, and both
compute the logits of the same images. Prints the largest difference over the largest logit, and whether parameters and
multiply-accumulates are equal. Ends with status 1 where a difference exceeds 1e-4 or a count differs. Networks that no
library has are listed at the end.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from contenders import ContenderError, Contenders
from networks import torch_network
from options import add_torch_option, positive

TOLERANCE = 1e-4
SMALLEST = {"cifar10": 32, "alexnet": 224}  # what other sizes the reference does not take


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    argument_parser.add_argument(
        "patterns", nargs="*", default=["*"], help="shell patterns of names; all networks by default"
    )
    argument_parser.add_argument("--size", type=positive, default=64, help="pixels, a multiple of 32")
    add_torch_option(argument_parser)
    return argument_parser


def compare(contenders: Contenders, name: str, size: int, folder: str) -> dict:
    """One network on both contenders."""
    import keras
    from torch_parity import images

    import zoo

    path = str(Path(folder) / "checkpoint.safetensors")
    size = next((fixed for text, fixed in SMALLEST.items() if text in name), size)
    expected = contenders.ask("torch", "reference", model=name, size=size, path=path)
    logits = np.array(expected["logits"])
    keras.backend.clear_session()
    model = zoo.create(name, input_shape=(size, size, 3), weights=path)
    outputs = model(images(size), training=False).numpy()
    profile = zoo.profile(model)
    return {
        "difference": float(np.abs(outputs - logits).max() / np.abs(logits).max()),
        "noise": expected["float32_relative_error"],
        "parameters": profile.parameters - expected["params"],
        "macs": profile.macs - expected["macs"],
    }


def main() -> int:
    import zoo

    arguments = parser().parse_args()
    names = sorted({name for pattern in arguments.patterns for name in zoo.list_models(pattern)})
    if not names:
        raise SystemExit(f"No network matches {' '.join(arguments.patterns)}.")
    without = [name for name in names if torch_network(name) is None]
    names = [name for name in names if name not in without]
    failed = 0
    with Contenders() as contenders, tempfile.TemporaryDirectory() as folder:
        contenders.start_alone("torch", "torch_parity.py", arguments.torch)
        for name in names:
            label = f"{'/'.join(torch_network(name)):44}"
            try:
                row = compare(contenders, name, arguments.size, folder)
            except (ContenderError, ValueError) as error:
                failed += 1
                print(f"{label} failed: {error}", flush=True)
                continue
            good = row["difference"] <= TOLERANCE and not row["parameters"] and not row["macs"]
            failed += not good
            print(
                f"{label} {'equal' if good else 'DIFFERS':8} logits {row['difference']:.1e} (float32 of the reference "
                f"{row['noise']:.1e}), parameters {row['parameters']:+d}, MACs {row['macs']:+d}",
                flush=True,
            )
    print(f"{len(names) - failed} of {len(names)} networks equal their reference.")
    if without:
        print(f"Without a reference: {', '.join(without)}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
