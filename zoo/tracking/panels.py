"""What W&B shows of a run beside its curves: tables, charts and images, made with W&B's own types.

Whatever is in a text, the name of a class for instance, W&B shows as text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo import metrics

if TYPE_CHECKING:
    import wandb

    from zoo.complexity import LayerCost
    from zoo.tracking.evaluation import Evaluation, Mistake

CHART_CLASSES = 99  # a chart of more cannot be read, nor has W&B's table room for its cells
TABLE_ROWS = 10_000  # W&B's limit


def evaluation_panels(evaluation: Evaluation) -> dict[str, Any]:
    """What was confused with what, the accuracy of each class, and the worst mistakes with their images.

    Of more than `CHART_CLASSES` classes there are tables under the names that the charts' tables have, KEY_table: of
    the confusion matrix then only the cells that are not zero, the largest first.
    """
    import wandb

    names = [printable(name) for name in evaluation.classes]
    classes = wandb.Table(
        columns=["class", "accuracy", "recognised", "images"],
        data=[
            [name, right / images if images else None, right, images]
            for name, (_, images, right) in zip(names, evaluation.per_class(), strict=True)
        ],
    )
    worst = {metrics.MISTAKES: _mistakes(evaluation.mistakes, names)}
    if len(names) > CHART_CLASSES:
        most = evaluation.confusion.most_common(TABLE_ROWS)
        cells = [[names[true], names[predicted], images] for (true, predicted), images in most]
        table = wandb.Table(columns=["Actual", "Predicted", "nPredictions"], data=cells)
        return {f"{metrics.CONFUSION}_table": table, f"{metrics.PER_CLASS}_table": classes, **worst}
    pairs = list(evaluation.confusion.elements())
    matrix = wandb.plot.confusion_matrix(
        y_true=[true for true, _ in pairs],
        preds=[predicted for _, predicted in pairs],
        class_names=names,
        title=f"Confusion matrix, {evaluation.split}",
    )
    bars = wandb.plot.bar(classes, "class", "accuracy", title=f"Accuracy by class, {evaluation.split}")
    return {metrics.CONFUSION: matrix, metrics.PER_CLASS: bars, **worst}


def layer_panels(rows: Sequence[LayerCost]) -> dict[str, wandb.Table]:
    """The table of a network's layers: what `zoo.profile` adds up."""
    import wandb

    columns: list[str | int] = ["layer", "kind", "output", "groups", "parameters", "macs", "activations"]
    data = [
        [
            row.layer.name,
            row.kind,
            " x ".join(map(str, row.outputs[1:])),
            _groups(row.groups),
            row.cost.parameters,
            row.cost.macs,
            row.cost.activations,
        ]
        for row in rows
    ]
    return {metrics.LAYERS: wandb.Table(columns=columns, data=data[:TABLE_ROWS])}


def _mistakes(mistakes: Sequence[Mistake], names: Sequence[str]) -> wandb.Table:
    import wandb

    columns: list[str | int] = [
        "image",
        "true",
        "predicted",
        "probability of predicted",
        "probability of true",
        "loss",
        "position",
    ]
    data = [
        [
            wandb.Image(mistake.pixels, mode="L" if mistake.pixels.ndim == 2 else "RGB"),
            names[mistake.true],
            names[mistake.predicted],
            _finite(mistake.predicted_probability),
            _finite(mistake.true_probability),
            _finite(mistake.loss),
            mistake.position,
        ]
        for mistake in mistakes
    ]
    return wandb.Table(columns=columns, data=data)


def printable(name: str) -> str:
    """`name` without the halves of letters that folders on disk may have and that no server takes."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _groups(groups: int | tuple[int, ...] | None) -> str | None:
    """As text, since uneven groups are several numbers and a column of W&B has one type."""
    if groups is None or isinstance(groups, int):
        return None if groups is None else str(groups)
    return "+".join(map(str, groups))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
