"""The package openvino, imported so that nothing is sent."""

import sys
from types import ModuleType


def openvino() -> ModuleType:
    """The package.

    Each import of it sends an event to a service for usage statistics, without asking. It goes without where
    openvino-telemetry, which does that, cannot be imported.

    Raises ImportError where it is not installed.

    Example:
        >>> from zoo.exporting.openvino_package import openvino
        >>> callable(openvino().Core)
        True
    """
    absent = "openvino_telemetry" not in sys.modules
    if absent:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as Python marks what is not to be found
    try:
        import openvino
    finally:
        if absent:
            del sys.modules["openvino_telemetry"]
    return openvino
