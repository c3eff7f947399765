"""PyTorch's own ONNX export of networks: `python torch_export.py SIZE FOLDER NAME...` writes FOLDER/NAME.torch.onnx.

Run by exports.py with the interpreter that has PyTorch and the reference libraries. A network that has no counterpart
there, or whose library is not installed, is named on standard error and left out.
"""

import sys
from pathlib import Path

import torch
import torch_networks


def main() -> None:
    size, folder, *names = sys.argv[1:]
    image = torch.zeros(1, 3, int(size), int(size))
    for name in names:
        try:
            network = torch_networks.create(name).eval()
        except (ValueError, ImportError, RuntimeError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        path = Path(folder, f"{name}.torch.onnx")
        torch.onnx.export(network, (image,), str(path), dynamo=False, input_names=["images"], output_names=["logits"])


if __name__ == "__main__":
    main()
