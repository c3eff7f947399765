"""What timm, torchvision and pytorchcv publish for the networks of the zoo: writes zoo/weights/data/*.json.

usage: python benchmarks/collect_published.py [NETWORK ...] [--top1 FILE] [--out FOLDER]

Run it with an interpreter that has the three libraries; the facts are those of the installed versions. A network is
listed where `networks.torch_network` names its reference there; torchvision's ResNets as well, because the names and
shapes of their tensors equal timm's, which is checked. Top-1 accuracies of timm, which its package does not carry,
come from rows of results/results-imagenet.csv of its repository, benchmarks/imagenet_top1.csv by default (commit
0173a139a2c66db3a41ebfe1d8ac4fb02483642e); where there is no row the accuracy is left out.
"""

import argparse
import csv
import importlib.metadata
import json
import re
from pathlib import Path

import torch
from networks import torch_network
from torch_networks import make_torchvision_importable

ROOT = Path(__file__).parent.parent
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}  # left out of the files, as are the others:
DEFAULTS = {"num_classes": 1000, "input_size": 224, "interpolation": "bilinear", "crop": 0.875, "crop_mode": "center"}
# pytorchcv's package does not say it; pytorch/datasets/cifar10_cls_dataset.py of its repository, for CIFAR and SVHN.
CIFAR = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.201], "crop": 1.0, "input_size": 32}
HUB = "https://huggingface.co"
# How timm builds a network for its published weights alone, and not for random ones: "if pretrained" in its functions.
PRETRAINED_SETTINGS = {"fbnetc_100": {"epsilon": 1e-3}}  # bn_eps
PYTORCHCV_RELEASES = "https://github.com/osmr/imgclsmob/releases/download"


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    argument_parser.add_argument("networks", nargs="*", help="their names; all of the zoo's by default")
    argument_parser.add_argument(
        "--top1", type=Path, default=Path(__file__).with_name("imagenet_top1.csv"), metavar="FILE"
    )
    argument_parser.add_argument("--out", type=Path, default=ROOT / "zoo" / "weights" / "data", metavar="FOLDER")
    return argument_parser


def timm_rows(names: list[str], top1: Path) -> dict[str, dict]:
    import timm

    with top1.open(newline="") as file:
        measured = {row["model"]: row for row in csv.DictReader(file)}
    rows = {}
    for name in names:
        for tag in timm.list_pretrained(f"{name}.*"):
            config = timm.get_pretrained_cfg(tag)
            # An image tower of CLIP ends in an embedding; some configurations name no file that anyone can fetch.
            embedding = config.tag.startswith("clip_") and "_ft_" not in config.tag
            if embedding or config.hf_hub_id != f"timm/{tag}" or config.hf_hub_filename:
                continue
            rows[f"timm/{tag}"] = {
                "model": name,
                "address": f"{HUB}/{config.hf_hub_id}",
                "file": "model.safetensors",
                "settings": PRETRAINED_SETTINGS.get(name),
                "num_classes": config.num_classes,
                "input_size": square(config.input_size),
                "test_size": config.test_input_size and square(config.test_input_size),
                "mean": list(config.mean),
                "std": list(config.std),
                "interpolation": config.interpolation,
                "crop": config.crop_pct,
                "test_crop": config.test_crop_pct,
                "crop_mode": config.crop_mode,
                "licence": None if config.license == "unknown" else config.license,
            }
            if tag in measured:
                row = measured[tag]
                size, crop = int(row["img_size"]), float(row["crop_pct"])
                rows[f"timm/{tag}"] |= {"top1": float(row["top1"]), "top1_size": size, "top1_crop": crop}
    return rows


def torchvision_rows(names: list[str]) -> dict[str, dict]:
    import torchvision

    rows = {}
    for name in names:
        if not comparable(name):
            continue
        for weights in torchvision.models.get_model_weights(name):
            transform = weights.transforms()
            size, resize = transform.crop_size[0], transform.resize_size[0]
            rows[f"torchvision/{name}.{weights.name}"] = {
                "model": name,
                "address": weights.url,
                "file": weights.url.rsplit("/", 1)[1],
                "sha256_prefix": re.fullmatch(r".*-([0-9a-f]{8,64})\.pth", weights.url)[1],
                "num_classes": len(weights.meta["categories"]),
                "input_size": size,
                "mean": list(transform.mean),
                "std": list(transform.std),
                "interpolation": transform.interpolation.value,
                "crop": round(size / resize, 8),
                "licence": weights.meta.get("license"),
                "top1": weights.meta["_metrics"]["ImageNet-1K"]["acc@1"],
                "top5": weights.meta["_metrics"]["ImageNet-1K"]["acc@5"],
                "top1_size": size,
                "top1_crop": round(size / resize, 8),
            }
    return rows


def comparable(name: str) -> bool:
    """Whether torchvision has this very network: as the zoo's reference, or with the tensors of timm's."""
    import timm
    import torchvision

    if name not in torchvision.models.list_models(module=torchvision.models):
        return False
    if torch_network(name) == ("torchvision", name):
        return True
    if not timm.is_model(name):
        return False
    with torch.device("meta"):
        theirs, timms = torchvision.models.get_model(name, weights=None), timm.create_model(name)
    return shapes(theirs) == shapes(timms)


def shapes(network: torch.nn.Module) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in network.state_dict().items()}


def pytorchcv_rows(names: dict[str, str]) -> dict[str, dict]:
    """Of reference name -> the zoo's name."""
    from pytorchcv.models.common.model_store import get_model_metainfo_dict

    table = importlib.metadata.metadata("pytorchcv").get_payload()  # the README, with the errors of each file
    rows = {}
    for reference, name in names.items():
        _, error, sha1, release = get_model_metainfo_dict().get(reference, (0, "", "", ""))
        if not re.fullmatch("[0-9a-f]{40}", sha1):
            continue  # no weights were published
        member = f"{reference}-{error}-{sha1[:8]}.pth"
        cells = [line.split("|") for line in table.splitlines() if f"/{member}.log" in line]
        errors = [float(cell) for cell in cells[0][2:4] if re.fullmatch(r" *\d+\.\d+ *", cell)] if cells else []
        row = {
            "model": name,
            "address": f"{PYTORCHCV_RELEASES}/{release}/{member}.zip",
            "file": member,
            "sha1": sha1,
            "num_classes": 1000,
            "input_size": 224,
            "crop": 0.875,
            "interpolation": "bilinear",
            **IMAGENET,
        }
        if small := re.search("_(cifar100|cifar10|svhn)$", reference):
            row |= {**CIFAR, "num_classes": 100 if small[1] == "cifar100" else 10}
        for key, value in zip(("top1", "top5"), errors, strict=False):
            row |= {key: round(100 - value, 3), "top1_size": row["input_size"], "top1_crop": row["crop"]}
        rows[f"pytorchcv/{reference}"] = row
    return rows


def square(shape: tuple[int, int, int]) -> int:
    if shape[0] != 3 or shape[1] != shape[2]:
        raise SystemExit(f"An input of {shape} is not a square of three channels.")
    return shape[1]


def write(path: Path, rows: dict[str, dict]) -> None:
    """One line a tag; what is None or the default of `Published` is left out."""
    lines = []
    for tag in sorted(rows):
        skipped = {**DEFAULTS, **IMAGENET}
        row = {key: value for key, value in rows[tag].items() if value is not None and skipped.get(key) != value}
        lines.append(f"{json.dumps(tag)}: {json.dumps(row)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    known = sum("top1" in row for row in rows.values())
    print(
        f"{path.name}: {len(rows)} tags of {len({row['model'] for row in rows.values()})} networks, {known} with top-1"
    )


def main() -> None:
    from zoo import list_models

    arguments = parser().parse_args()
    make_torchvision_importable()
    references = {name: torch_network(name) for name in arguments.networks or list_models() if torch_network(name)}
    timms = [name for name, (library, reference) in references.items() if (library, reference) == ("timm", name)]
    pytorchcvs = {reference: name for name, (library, reference) in references.items() if library == "pytorchcv"}
    arguments.out.mkdir(parents=True, exist_ok=True)
    write(arguments.out / "timm.json", timm_rows(timms, arguments.top1))
    write(arguments.out / "torchvision.json", torchvision_rows(list(references)))
    write(arguments.out / "pytorchcv.json", pytorchcv_rows(pytorchcvs))


if __name__ == "__main__":
    main()
