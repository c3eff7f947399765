"""What every network of the zoo costs: writes zoo/data/costs.json, which `zoo list` and `zoo.info` read.

usage: python benchmarks/network_costs.py [NETWORK ...] [--out FILE]

Every network is built, without drawing weights, for the images that it is made for, and counted by `zoo.profile`. The
numbers of groups are those that its configuration accepts. With names, the other lines of the file stay.
"""

import argparse
import json
from pathlib import Path

from options import network

from zoo import list_models
from zoo.costs import image_size, runs
from zoo.registry import variant

FILE = Path(__file__).resolve().parent.parent / "zoo" / "data" / "costs.json"
MOST = 10_000  # groups tried; far above what any family accepts


def parser() -> argparse.ArgumentParser:
    argument_parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    argument_parser.add_argument("networks", nargs="*", type=network, help="their names; all of the zoo's by default")
    argument_parser.add_argument("--out", type=Path, default=FILE, metavar="FILE")
    return argument_parser


def groups_of(name: str) -> tuple[int, ...]:
    """The numbers of groups that the network can have. Raises ValueError where they do not end well below MOST."""
    config, allowed = variant(name), []
    for groups in range(1, MOST + 1):
        try:
            config.with_groups(groups)
        except ValueError:
            continue
        allowed.append(groups)
    if allowed[-1] > MOST // 2:
        raise ValueError(f"{name} accepts {allowed[-1]} groups: MOST={MOST} is too low to see the end of them.")
    return tuple(allowed)


def cost(name: str) -> dict:
    """One network's line."""
    import keras

    import zoo
    from blocks.layers.initializers import without_random_numbers

    size = image_size(name)
    keras.backend.clear_session()
    with without_random_numbers():
        profile = zoo.profile(zoo.create(name, input_shape=(size, size, 3)))
    return {
        "parameters": profile.parameters,
        "macs": profile.macs,
        "activations": profile.activations,
        "size": size,
        "groups": runs(groups_of(name)),
    }


def main() -> None:
    arguments = parser().parse_args()
    rows = json.loads(arguments.out.read_text()) if arguments.networks and arguments.out.exists() else {}
    for name in arguments.networks or list_models():
        rows[name] = cost(name)
        print(f"{name}: {rows[name]}", flush=True)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(rows[name])}" for name in list_models() if name in rows)
    arguments.out.write_text(f"{{\n{lines}\n}}\n")
    print(f"{arguments.out}: {len(rows)} networks")


if __name__ == "__main__":
    main()
