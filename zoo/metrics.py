"""What runs record, by name: what training writes, W&B draws and a comparison ranks. Imports nothing slow."""

from dataclasses import dataclass

# Columns of metrics.csv, a row an epoch; W&B's history has the same keys.
EPOCH = "epoch"  # from 1
SECONDS = "seconds"  # wall time since the run began, validation and compilation included
TRAIN_LOSS, TRAIN_TOP1, TRAIN_TOP5 = "train/loss", "train/top1", "train/top5"
VAL_LOSS, VAL_TOP1, VAL_TOP5 = "val/loss", "val/top1", "val/top5"
TRAIN_IMAGES_PER_SECOND, TRAIN_STEP_SECONDS = "train/images_per_second", "train/step_seconds"
TRAIN_SECONDS = "train/seconds"  # of the epoch's training alone
LEARNING_RATE = "learning_rate"
SKIPPED_STEPS = "train/skipped_steps"  # of the epoch, whose loss or gradients were not finite

# What W&B shows beside the curves, and `evaluation.json` holds for a comparison.
CONFUSION = "evaluation/confusion_matrix"
PER_CLASS = "evaluation/per_class"
MISTAKES = "evaluation/worst_mistakes"
LAYERS = "model/layers"

# Files of a run directory.
RESULT_FILE, METRICS_FILE, EVALUATION_FILE = "result.json", "metrics.csv", "evaluation.json"


@dataclass(frozen=True)
class Metric:
    """One figure of a whole run: a key of `result.json`, of W&B's summary and of a comparison's table.

    Example:
        >>> from zoo.metrics import METRICS
        >>> METRICS["latency_seconds"].title, METRICS["latency_seconds"].higher_is_better
        ('latency of one image', False)
    """

    key: str
    title: str  # in words
    kind: str  # "share" (0 to 1), "count", "bytes", "seconds", "rate" (images a second) or "loss"
    higher_is_better: bool


METRICS = {
    metric.key: metric
    for metric in (
        Metric("val_top1", "validation top-1", "share", True),
        Metric("best_val_top1", "best validation top-1", "share", True),
        Metric("val_top5", "validation top-5", "share", True),
        Metric("test_top1", "test top-1", "share", True),
        Metric("test_top5", "test top-5", "share", True),
        Metric("published_top1", "published top-1, float model", "share", True),
        Metric("train_loss", "training loss", "loss", False),
        Metric("val_loss", "validation loss", "loss", False),
        Metric("test_loss", "test loss", "loss", False),
        Metric("parameters", "parameters", "count", False),
        Metric("macs", "multiply-accumulates of an image", "count", False),
        Metric("activations", "activations of an image", "count", False),
        Metric("peak_memory_bytes", "peak memory", "bytes", False),
        Metric("train_images_per_second", "training images a second", "rate", True),
        Metric("latency_seconds", "latency of one image", "seconds", False),
        Metric("seconds", "duration", "seconds", False),
    )
}
OF_RUNS = tuple(key for key in METRICS if key != "published_top1")  # that a training can have
ACCURACIES = tuple(key for key, metric in METRICS.items() if metric.kind == "share")
COSTS = ("parameters", "macs", "peak_memory_bytes", "train_images_per_second", "latency_seconds")

# What a result follows from beside configuration and seed: keys of `result.json` and of W&B's config.
DATA = "data"  # which data they are, wherever they lie, see `zoo.datasets.identity`
MADE_WITH = (
    *("commit", "dirty", "changes", "versions", "packages", "backend", "kernels", "kernel_level", "processor"),
    *("instructions", "threads", "accelerators", "variables", DATA),
)
