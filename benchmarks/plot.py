"""A picture of the ratios in a CSV file of models.py, layers.py or gpu.py.

usage: python benchmarks/plot.py benchmarks/results/models.csv [--out benchmarks/results/models.svg]

A panel for each mode and type, a line for each network or convolution, a point for each contender: how many times as
fast the zoo is. Needs matplotlib.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from report import read_csv

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito's colours, which the colour-blind tell apart too, and a mark of its own for each contender.
STYLES = {
    "torch": ("#D55E00", "o"),
    "compile": ("#E69F00", "s"),
    "keras": ("#0072B2", "^"),
    "applications": ("#56B4E9", "D"),
    "split": ("#009E73", "v"),
}
NAMES = {
    "torch": "PyTorch",
    "compile": "torch.compile",
    "keras": "Keras layers",
    "applications": "keras.applications",
    "split": "split + concatenate",
}


def label(row: dict[str, str]) -> str:
    """What stands beside a line: the network, or the convolution."""
    if "model" in row:
        return row["model"]
    stride = f"/{row['strides']}" if row["strides"] != "1" else ""
    groups = f", g {row['groups']}" if row["kind"] == "grouped" else ""
    size = f"{row['size']}²x{row['channels']}→{row['filters']}"
    return f"{row['kind']} {row['kernel']}x{row['kernel']}{stride} {size}{groups}"


def draw(rows: Sequence[dict[str, str]], path: str | Path) -> None:
    """Write the picture, in the format that the name ends with. Raises ValueError where no row has a ratio."""
    known = [row for row in rows if row["ratio_to_zoo"] and row["contender"] in STYLES]
    if not known:
        raise ValueError("No row compares another contender with the zoo: there is nothing to draw.")
    modes, precisions, lines, contenders = (
        list(dict.fromkeys(key(row) for row in known))
        for key in (lambda row: row["mode"], lambda row: row["precision"], label, lambda row: row["contender"])
    )
    size = (1.5 + 4 * len(precisions), 1.2 + len(modes) * (0.7 + 0.28 * len(lines)))
    figure, axes = plt.subplots(
        len(modes), len(precisions), figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for mode, panels in zip(modes, axes, strict=True):
        for precision, panel in zip(precisions, panels, strict=True):
            panel.set_title(f"{mode}, {precision}", fontsize=10)
            panel.axvline(1, color="black", linewidth=1)
            for contender in contenders:
                ratios = {
                    label(row): float(row["ratio_to_zoo"])
                    for row in known
                    if (row["mode"], row["precision"], row["contender"]) == (mode, precision, contender)
                }
                color, marker = STYLES[contender]
                places = [lines.index(line) for line in ratios]
                panel.plot(list(ratios.values()), places, marker, color=color, label=NAMES[contender], markersize=6)
            panel.set_xscale("log")
            panel.grid(axis="both", which="major", color="0.9")
            panel.set_axisbelow(True)
            panel.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.set_yticks(range(len(lines)), lines, fontsize=8)
            panel.tick_params(axis="x", labelsize=7)
            panel.set_ylim(len(lines) - 0.5, -0.5)
    figure.supxlabel("the zoo's speed over the other contender's (right of the line: the zoo is faster)", fontsize=9)
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(contenders), fontsize=9, frameon=False)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", help="a file that --csv wrote")
    parser.add_argument("--out", metavar="FILE", help="the picture; by default an SVG beside the CSV file")
    arguments = parser.parse_args()
    target = arguments.out or Path(arguments.csv).with_suffix(".svg")
    try:
        draw(read_csv(arguments.csv), target)
    except ValueError as error:
        parser.error(str(error))
    print(target)


if __name__ == "__main__":
    main()
