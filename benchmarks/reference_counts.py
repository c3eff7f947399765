"""Parameters and multiply-accumulates of every network, as the reference implementations have them.

usage: python benchmarks/reference_counts.py > tests/goldens/counts.json     (with an interpreter that has PyTorch)

Nothing is computed: the references are built and called without memory for their tensors (PyTorch's "meta" device).
"""

import json
import sys

import torch
from networks import torch_network
from options import some_of  # noqa: F401  (finds the zoo of this copy)
from torch_networks import create, make_torchvision_importable
from torch_parity import count

from zoo import list_models
from zoo.costs import image_size


def main() -> None:
    make_torchvision_importable()
    counts, without = {}, []
    for name in list_models():
        if torch_network(name) is None:
            without.append(name)
            continue
        size = image_size(name)
        with torch.device("meta"), torch.no_grad():
            network = create(name).eval()
            macs = count(network, torch.empty(1, 3, size, size))
        parameters = sum(each.numel() for each in network.parameters() if each.requires_grad)
        counts[name] = {"parameters": parameters, "macs": macs, "size": size}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in counts.items())
    print(f"{{\n{lines}\n}}")
    print(f"{len(counts)} networks; without a reference: {', '.join(without) or 'none'}", file=sys.stderr)


if __name__ == "__main__":
    main()
