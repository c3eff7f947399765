"""Former module paths of `zoo`, for one version: see `blocks.moved`."""

import sys
import types
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

MOVED = {  # former path -> the modules that have its names now
    "zoo.comparison.panels": "zoo.comparison.wandb.panels",
    "zoo.comparison.publish": "zoo.comparison.wandb.publish",
    "zoo.comparison.report": "zoo.comparison.wandb.report",
    "zoo.comparison.wandb_connection": "zoo.comparison.wandb.connection",
    "zoo.comparison.wandb_runs": "zoo.comparison.wandb.runs",
    "zoo.comparison.workspace": "zoo.comparison.wandb.workspace",
    "zoo.models.rows": "zoo.models.inverted_residual_table",
    "zoo.training.apart": "zoo.training.subprocess_run",
    "zoo.training.augment": "zoo.datasets.augment",
    "zoo.training.availability": "zoo.datasets.availability",
    "zoo.training.data": "zoo.datasets.pipeline",
    "zoo.training.data_config": "zoo.datasets.config",
    "zoo.training.data_identity": "zoo.datasets.identity",
    "zoo.training.digits": "zoo.datasets.digits",
    "zoo.training.environment": "zoo.environment",
    "zoo.training.errors": "zoo.errors",
    "zoo.training.examples": "zoo.datasets.examples",
    "zoo.training.folders": "zoo.datasets.folders",
    "zoo.training.hardware": "zoo.hardware",
    "zoo.training.panels": "zoo.tracking.panels",
    "zoo.training.prepare": "zoo.datasets.prepare",
    "zoo.training.sizes": "zoo.datasets.sizes",
    "zoo.training.splits": "zoo.datasets.splits",
    "zoo.training.tracker": "zoo.tracking.tracker",
    "zoo.training.tracking": "zoo.tracking.run",
    "zoo.training.tracking_config": "zoo.tracking.config",
    "zoo.training.undecodable": "zoo.datasets.undecodable",
    "zoo.training.wandb_server": "zoo.tracking.server",
    "zoo.weights.archive": "zoo.weights.readers.archive",
    "zoo.weights.keras_file": "zoo.weights.readers.keras",
    "zoo.weights.safetensors_file": "zoo.weights.readers.safetensors",
    "zoo.weights.torch_file": "zoo.weights.readers.torch",
}


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in MOVED:
            return None
        from blocks.moved import spec_of  # only now: it imports Keras

        return spec_of(fullname, MOVED[fullname])


def install() -> None:
    """Let the former paths be imported; Python asks here last, where no other finder knows a module."""
    sys.meta_path.append(_Finder())
