"""The formats that there are. Imports neither Keras nor TensorFlow."""

from pathlib import Path

from zoo.exporting.formats import Format
from zoo.exporting.litert import LiteRT, LiteRTDynamic, LiteRTFloat16, LiteRTInt8
from zoo.exporting.onnx import Onnx
from zoo.exporting.openvino import OpenVINO
from zoo.exporting.savedmodel import SavedModel

FORMATS: dict[str, Format] = {
    each.name: each
    for each in (SavedModel(), Onnx(), LiteRT(), LiteRTFloat16(), LiteRTDynamic(), LiteRTInt8(), OpenVINO())
}


def format_of(path: Path) -> str:
    """The first format whose files end as `path` does, or the one whose folder it is; a path without an ending, where
    nothing is yet, is the folder of a SavedModel.

    Example:
        >>> import pathlib
        >>> from zoo.exporting.table import format_of
        >>> format_of(pathlib.Path("net.tflite")), format_of(pathlib.Path("net"))
        ('litert', 'savedmodel')
    """
    for name, each in FORMATS.items():
        if (each.suffix and each.suffix == path.suffix) or (each.main_file and (path / each.main_file).is_file()):
            return name
    return "savedmodel"
