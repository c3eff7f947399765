"""The file of `zoo benchmark --output`: what was measured, as rows that `zoo compare` takes for runs."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.comparison.runs import Run, printable
from zoo.comparison.validation import DamagedError, checked_result, shown
from zoo.errors import UserError
from zoo.metrics import ACCURACIES

KIND, VERSION = "zoo benchmark", 1
SUFFIX = ".json"
LARGEST = 2**24  # bytes
FLOAT32 = ("float32", "fused", "stock", "onnx", "litert", "openvino")  # contenders that are as accurate as the model
COPIED = ("model", "family", "groups", "dataset", "seed", *ACCURACIES)  # of the record of what was measured
Say = Callable[[str], None]


def is_benchmark(path: Path) -> bool:
    """Whether a path of the command line is to be read as such a file: a .json that is no record of a run.

    Example:
        >>> from zoo.comparison.benchmark_file import is_benchmark
        >>> import pathlib
        >>> is_benchmark(pathlib.Path("outputs/result.json"))
        False
    """
    return path.suffix == SUFFIX and path.is_file() and path.name != "result.json"


def write(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    records: Mapping[str, Mapping[str, Any]],
    made_with: Mapping[str, Any],
) -> None:
    """Write what was measured, whole or not at all. Raises UserError where that fails.

    Args:
        rows: of `zoo.benchmarking.measuring.benchmark`.
        records: name of a source -> what is known of it.
        made_with: what it was measured with, of `zoo.metrics.MADE_WITH`.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.comparison.benchmark_file import read, write
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "speed.json"
        >>> row = {"name": "net", "mode": "inference", "contender": "fused", "batch": 1, "median_seconds": 0.25}
        >>> write(path, [row | {"status": "measured"}], {"net": {"dataset": "digits"}}, {"processor": "one"})
        >>> read(path, print)[0].result["latency_seconds"]
        0.25
    """
    document = {
        "kind": KIND,
        "version": VERSION,
        "rows": [dict(row) for row in rows],
        "records": {name: dict(record) for name, record in records.items()},
        "made_with": dict(made_with),
    }
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise UserError(
            f"Cannot write {path}: {error.strerror or error}; --output FILE names another place."
        ) from error


def read(path: Path, say: Say) -> list[Run]:
    """A run for each row that was measured; of the others, and of invalid values, a line is said.

    Raises UserError for what is no such file.
    """
    document = _document(path)
    records, made_with = document.get("records"), document.get("made_with")
    if not isinstance(document.get("rows"), list) or not isinstance(records, dict) or not isinstance(made_with, dict):
        raise UserError(printable(f"{path} is damaged: it lacks the rows, records or versions of `zoo benchmark`."))
    runs = []
    for number, row in enumerate(document["rows"], start=1):
        where = f"{path}, row {number}"
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("name", "mode", "contender")):
            say(printable(f"{where}: it holds {shown(row)}, no measurement; left out."))
            continue
        if row.get("status") != "measured":
            say(printable(f"{where}, {row['name']} ({row['contender']}): {row.get('status')}"))
            continue
        record = records.get(row["name"])
        try:
            result = checked_result(
                _result(row, record if isinstance(record, dict) else {}, made_with),
                lambda text, where=where: say(printable(f"{where}: {text}.")),  # type: ignore[misc]
            )
        except DamagedError as error:
            say(printable(f"{where}: {error}; left out."))
            continue
        known = isinstance(record, dict) and any(record.get(key) is not None for key in ACCURACIES)
        if known and row["contender"] not in FLOAT32:
            what = f"{where}, {row['name']} ({row['contender']})"
            say(printable(f"{what}: its accuracy is not measured, so it has none."))
        runs.append(Run(where, str(result.get("name", row["name"])), "finished", result, {}, None))
    return runs


def _result(row: Mapping[str, Any], record: Mapping[str, Any], made_with: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the record of a run.

    Latency is that of one image, so of a batch of one alone; accuracy is the model's, where that is what is computed.
    """
    copied = [key for key in COPIED if key not in ACCURACIES or row["contender"] in FLOAT32]
    settings = {key: row.get(key) for key in ("contender", "mode", "batch", "height", "width", "threads")}
    result = {
        **made_with,
        **{key: record[key] for key in copied if record.get(key) is not None},
        "status": "finished",
        "name": f"{row['name']}, {row['contender']}" + ("" if row["mode"] == "inference" else f", {row['mode']}"),
        "versions": row.get("versions"),
        "config": {"source": row["name"], **settings},
        **{key: row[key] for key in ("parameters", "macs", "peak_memory_bytes") if row.get(key) is not None},
    }
    if row["mode"] == "inference" and row.get("batch") == 1:
        result["latency_seconds"] = row.get("median_seconds")
    if row["mode"] == "training":
        result["train_images_per_second"] = row.get("images_per_second")
    return result


def _document(path: Path) -> dict[str, Any]:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise UserError(printable(f"{path} has {status.st_size:,} bytes, and at most {LARGEST:,} are read."))
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(printable(f"{path} cannot be read: {error.strerror}.")) from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            printable(f"{path} is cut off, or no JSON: `zoo benchmark --output FILE` writes such.")
        ) from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise UserError(printable(f"{path} is no file of `zoo benchmark --output`."))
    if document.get("version") != VERSION:
        raise UserError(printable(f"{path} is of version {shown(document.get('version'))}, and {VERSION} is read."))
    return document
