"""What is known of an exported file."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HEALTHY = 0.9  # share of the images of one class in file and model, below which `Report.warning` says what to try


@dataclass(frozen=True)
class Report:
    """What `zoo.export` has written, and what the file computes in its own runtime; print it for a line each.

    bytes: of the file, or of all files of a folder.
    grouped_convolutions: operators of more than one group in the file; model_grouped_convolutions: convolutions of more
        than one group in the model that was written, fused where that was possible.
    notes: sentences on what is not as one might expect.

    The others are None where nothing was verified:

    seconds: latency, the median of a call with `batch` images on `threads` threads.
    images: how many the file and the model were compared on; drawn: whether these were random numbers.
    difference: the largest one between their outputs, as a share of the largest output of the model.
    cosine: of both outputs, the mean over the images.
    agreement: share of the images whose largest output is the same; None where the output is no vector.
    top1, model_top1: accuracy of the file and of the model on the images, where they have labels.

    Example:
        >>> import pathlib
        >>> from zoo.exporting import Report
        >>> report = Report("onnx", pathlib.Path("net.onnx"), 10_500_000, 16, 16)
        >>> print(report)
        format      onnx
        file        net.onnx, 10.5 MB
        grouped     16 operators of more than one group, 16 in the model
        verified    no
    """

    format: str
    path: Path
    bytes: int
    grouped_convolutions: int | None
    model_grouped_convolutions: int
    notes: tuple[str, ...] = ()
    seconds: float | None = None
    batch: int | None = None
    threads: int | None = None
    images: int | None = None
    drawn: bool | None = None
    difference: float | None = None
    cosine: float | None = None
    agreement: float | None = None
    top1: float | None = None
    model_top1: float | None = None

    @property
    def warning(self) -> str | None:
        """One sentence, with what to try, where the file gives the model's class for too few of the given images.

        Example:
            >>> import pathlib
            >>> from zoo.exporting import Report
            >>> report = Report("litert-fp16", pathlib.Path("a.tflite"), 10, 0, 0, images=40, agreement=0.5)
            >>> report.warning
            'The file gives another class than the model for 50 % of 40 images: train longer, or use format litert.'
        """
        if self.agreement is None or self.drawn or self.agreement >= HEALTHY:
            return None
        calibrated = "calibrate on more pictures (200 are used), " if self.format == "litert-int8" else ""
        others = "litert-dynamic or litert-fp16" if self.format == "litert-int8" else "litert"
        return (
            f"The file gives another class than the model for {100 * (1 - self.agreement):.0f} % of {self.images} "
            f"images: {calibrated}train longer, or use format {others}."
        )

    def plain(self) -> dict[str, Any]:
        """As plain values, for JSON.

        Example:
            >>> import pathlib
            >>> from zoo.exporting import Report
            >>> Report("onnx", pathlib.Path("net.onnx"), 1000, 0, 0).plain()["path"]
            'net.onnx'
        """
        return asdict(self) | {"path": str(self.path), "notes": list(self.notes), "warning": self.warning}

    def fields(self) -> dict[str, str]:
        """Name -> what is to be read.

        Example:
            >>> import pathlib
            >>> from zoo.exporting import Report
            >>> Report("onnx", pathlib.Path("net.onnx"), 2000, 0, 0).fields()["file"]
            'net.onnx, 2.0 kB'
        """
        fields = {"format": self.format, "file": f"{self.path}, {_size(self.bytes)}"}
        operators = "not counted" if self.grouped_convolutions is None else str(self.grouped_convolutions)
        fields["grouped"] = (
            f"{operators} operators of more than one group, {self.model_grouped_convolutions} in the model"
        )
        if self.seconds is None:
            fields["verified"] = "no"
        else:
            what = "drawn at random" if self.drawn else "given"
            fields["verified"] = (
                f"on {self.images} images ({what}): largest difference {self.difference:.2g} of the largest output, "
                f"cosine {self.cosine:.5f}"
            )
            if self.agreement is not None:
                fields["verified"] += f", same class for {100 * self.agreement:.1f} %"
            count = "1 image" if self.batch == 1 else f"{self.batch} images"
            threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
            fields["latency"] = f"{1e3 * self.seconds:.2f} ms for {count} on {threads} (median)"
        if self.top1 is not None and self.model_top1 is not None:
            fields["top-1"] = f"{100 * self.top1:.2f} %, and of the model {100 * self.model_top1:.2f} %"
        if self.notes:
            fields["notes"] = " ".join(self.notes)
        if self.warning:
            fields["warning"] = self.warning
        return fields

    def __str__(self) -> str:
        return "\n".join(f"{name:<12}{text}" for name, text in self.fields().items())


def _size(count: int) -> str:
    """Bytes in decimal units, as disks and phones have them."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if count >= 1000**power:
            return f"{count / 1000**power:.1f} {unit}"
    return f"{count} bytes"
