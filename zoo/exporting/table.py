"""The formats that there are. Imports neither Keras nor TensorFlow."""

from pathlib import Path

from zoo.exporting.formats import Format
from zoo.exporting.litert import LiteRT, LiteRTDynamic, LiteRTFloat16, LiteRTInt8
from zoo.exporting.onnx import Onnx
from zoo.exporting.savedmodel import SavedModel

FORMATS: dict[str, Format] = {
    each.name: each for each in (SavedModel(), Onnx(), LiteRT(), LiteRTFloat16(), LiteRTDynamic(), LiteRTInt8())
}


def format_of(path: Path) -> str:
    """The first format whose files end as `path` does; a path without an ending is the folder of a SavedModel.

    Example:
        >>> import pathlib
        >>> from zoo.exporting.table import format_of
        >>> format_of(pathlib.Path("net.tflite")), format_of(pathlib.Path("net"))
        ('litert', 'savedmodel')
    """
    suffixed = (name for name, each in FORMATS.items() if each.suffix and each.suffix == path.suffix)
    return next(suffixed, "savedmodel")
