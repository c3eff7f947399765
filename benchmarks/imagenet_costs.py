"""What a training on ImageNet would cost: hours and price from images/s that were measured. A calculation, no promise.

usage: python benchmarks/imagenet_costs.py [benchmarks/results/gpu-train.csv] [--precision bfloat16] [--devices 1]
                                           [--price 2.50] [--recipe NAME=RECIPE ...]

hours = epochs of the recipe x 1,281,167 training images / (images/s x devices) / 3600, and price = hours x devices x
--price, which is what one device (a GPU, or the machine whose CPU was measured) costs an hour, in whatever currency.
The images/s are those that benchmarks/models.py or benchmarks/gpu.py wrote, of the zoo's training steps. What was
measured at another size than 224 is taken to change as the multiply-accumulates do, with the square of the size.

Not counted: reading and decoding images, where the processor does not keep up (benchmarks/pipeline.py measures it);
validation, 50,000 forward passes an epoch (about 1.3 % where one takes a third of a training step); and what devices
lose in waiting for each other.
"""

import argparse
import csv
import functools
from pathlib import Path

from hydra import compose, initialize_config_dir

ROOT = Path(__file__).resolve().parent.parent
IMAGES = 1_281_167  # of ImageNet's training split (Russakovsky et al. 2015, arXiv:1409.0575, table 2)
SIZE = 224  # pixels, of all these recipes
RECIPES = {  # network -> conf/recipe/, its paper's
    "resnext50_32x4d": "resnext",
    "shufflenet_g3_w1": "shufflenet",
    "shufflenet_v2_x1_0": "shufflenet",
    "mobilenetv2_100": "mobilenet_v2",
    "mobilenetv3_large_100": "mobilenet_v3",
    "regnety_008": "regnet",
}


@functools.cache
def epochs(recipe: str) -> int:
    """Of conf/recipe/RECIPE.yaml."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", [f"recipe={recipe}"]).recipe.epochs


def hours(images_per_s: float, epochs: float, devices: int = 1, images: int = IMAGES) -> float:
    """Of `devices` devices that train side by side, each at `images_per_s`, without loss.

    >>> round(hours(1000, 90), 2)
    32.03
    """
    return epochs * images / (images_per_s * devices) / 3600


def at_224(images_per_s: float, size: int) -> float:
    """The speed at 224 x 224 pixels of what was measured at size x size, by multiply-accumulates."""
    return images_per_s * (size / SIZE) ** 2


def measured(path: Path, precision: str) -> dict[str, dict[str, str]]:
    """network -> the row of the zoo's training step; the first where there are several."""
    with path.open(newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["contender"], row["mode"], row["precision"], row["status"])
            == ("zoo", "train", precision, "measured")
        ]
    return {row["model"]: row for row in reversed(rows)}


def machine(row: dict[str, str]) -> str:
    """What a row was measured on, and with."""
    device = row["gpu"] or f"{row['cores']} cores of {row['cpu']}"
    return (
        f"{device}; {row['versions']}; {row['precision']}, batches of {row['batch']} at {row['size']} x {row['size']}"
    )


def table(rows: dict[str, dict[str, str]], recipes: dict[str, str], devices: int, price: float | None) -> list[str]:
    """Lines of Markdown: a row for each network of `recipes`."""
    priced = price is not None
    lines = [
        f"| network | recipe | epochs | images/s measured | images/s at {SIZE} | hours |" + " price |" * priced,
        "|---|---|---|---|---|---|" + "---|" * priced,
    ]
    for network, recipe in recipes.items():
        count = epochs(recipe)
        if network not in rows:
            lines.append(f"| {network} | {recipe} | {count} | not measured | | |" + " |" * priced)
            continue
        speed = float(rows[network]["images_per_s"])
        here = at_224(speed, int(rows[network]["size"]))
        needed = hours(here, count, devices)
        cells = [network, recipe, str(count), f"{speed:,.1f}", f"{here:,.1f}", f"{needed:,.1f}"]
        lines.append(f"| {' | '.join(cells + ([f'{needed * devices * price:,.0f}'] if priced else []))} |")
    return lines


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = ROOT / "benchmarks" / "results" / "gpu-train.csv"
    argument_parser.add_argument("csv", nargs="?", type=Path, default=default, help="of models.py or gpu.py")
    argument_parser.add_argument("--precision", default="bfloat16")
    argument_parser.add_argument("--devices", type=int, default=1, help="that share the images")
    argument_parser.add_argument("--price", type=float, help="of one device for an hour")
    argument_parser.add_argument("--recipe", action="append", default=[], metavar="NAME=RECIPE")
    return argument_parser


def main() -> None:
    argument_parser = parser()
    arguments = argument_parser.parse_args()
    others = [text.split("=", 1) for text in arguments.recipe]
    known = sorted(path.stem for path in (ROOT / "conf" / "recipe").glob("*.yaml"))
    for text, parts in zip(arguments.recipe, others, strict=True):
        if len(parts) != 2:
            argument_parser.error(f"--recipe takes NAME=RECIPE, for instance regnety_008=rsb_a3, and not {text}")
        if parts[1] not in known:
            argument_parser.error(f"there is no recipe {parts[1]}: use one of {', '.join(known)}")
    recipes = RECIPES | dict(others)
    if arguments.devices < 1 or (arguments.price is not None and arguments.price < 0):
        argument_parser.error("--devices must be at least 1, and --price no less than 0")
    if not arguments.csv.is_file():
        argument_parser.error(f"there is no file {arguments.csv}")
    rows = measured(arguments.csv, arguments.precision)
    if not rows:
        argument_parser.error(f"{arguments.csv} has no training step of the zoo in --precision {arguments.precision}")
    print(*sorted({machine(row) for row in rows.values()}), "", sep="\n")
    print(*table(rows, recipes, arguments.devices, arguments.price), sep="\n")


if __name__ == "__main__":
    main()
