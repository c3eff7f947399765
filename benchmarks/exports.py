"""Exported networks in ONNX Runtime and LiteRT: operators, partitions of the delegate, latency of one image.

usage: python benchmarks/exports.py [--models NAME ...] [--size 96] [--folder DIR] [--against DIR] [--rounds 30]

Writes each network, fused, and keras.applications.MobileNetV2 as it comes, to DIR/NAME.onnx and DIR/NAME.tflite where
they are not there yet, and times all files in alternating rounds, so that a noisy machine slows all alike. `--against`
names the folder of another version of the package; its files are timed in the same rounds, and the ratio is theirs over
ours.
Nodes are those of the file; operators and partitions those of LiteRT behind its XNNPACK delegate.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import options
from machine import busy_share, identity

from zoo.timing import call_seconds

MODELS = (
    "mobilenetv2_100", "mobilenetv3_large_100", "shufflenet_v2_x1_0", "shufflenet_g3_w1", "regnety_008",
    "resnext50_32x4d",
)  # fmt: skip
KERAS = "keras_MobileNetV2"


def write(name: str, size: int, folder: Path) -> None:
    """The two files of a network, where they are not there yet."""
    paths = {folder / f"{name}.onnx": "onnx", folder / f"{name}.tflite": "litert"}
    if all(path.exists() for path in paths):
        return
    import keras
    import numpy as np

    import zoo

    if name == KERAS:
        model = keras.applications.MobileNetV2((size, size, 3), weights=None, classifier_activation=None)
    else:
        model = zoo.fuse(zoo.create(name, 1000, (size, size, 3)))
    model(np.zeros((1, size, size, 3), "float32"))
    for path, file_format in paths.items():
        model.export(path, format=file_format, verbose=False)


def runner(path: Path, threads: int):
    """A function that runs the file on one image, and what is known of it: nodes, or operators and partitions."""
    import numpy as np

    draw = np.random.default_rng(0)
    if path.suffix == ".onnx":
        import onnx
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        source = session.get_inputs()[0]
        images = {source.name: draw.standard_normal((1, *source.shape[1:])).astype("float32")}
        return lambda: session.run(None, images), f"{len(onnx.load(path).graph.node)} nodes"
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    interpreter.set_tensor(source["index"], draw.standard_normal(source["shape"]).astype("float32"))
    # No public method lists the operations, and those that a delegate took over.
    names = [operator["op_name"] for operator in interpreter._get_ops_details()]
    partitions = names.count("DELEGATE")
    return interpreter.invoke, f"{len(names) - partitions} operators, {partitions} partitions"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=options.network, nargs="+", default=list(MODELS))
    parser.add_argument("--size", type=options.positive, default=96, help="pixels")
    parser.add_argument("--threads", type=options.positive, default=1)
    parser.add_argument(
        "--rounds", type=options.positive, default=30, help="how often each file is timed, 5 calls each"
    )
    parser.add_argument("--folder", type=Path, help="where the files are; by default a temporary folder")
    parser.add_argument("--against", type=Path, help="a folder with files of another version")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        names = [*arguments.models, KERAS]
        for name in names:
            write(name, arguments.size, folder)
        print(f"{identity()}, {arguments.threads} threads, {arguments.size} pixels, busy {busy_share():.0%}")
        for suffix in (".onnx", ".tflite"):
            folders = {"": folder} | ({"against": arguments.against} if arguments.against else {})
            paths = {(name, version): place / f"{name}{suffix}" for name in names for version, place in folders.items()}
            runs = {key: runner(path, arguments.threads) for key, path in paths.items() if path.exists()}
            times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
            for _ in range(arguments.rounds):
                for key, (run, _) in runs.items():
                    times[key] += [call_seconds(run) for _ in range(5)]
            for name in names:
                least, middle = min(times[name, ""]) * 1e3, statistics.median(times[name, ""]) * 1e3
                line = f"{name:24} {suffix:8} {runs[name, ''][1]:32} {least:7.2f} ms least {middle:7.2f} median"
                if (name, "against") in runs:
                    other = times[name, "against"]
                    line += f" | against: {runs[name, 'against'][1]}, {min(other) * 1e3:.2f}, "
                    line += f"{statistics.median(other) * 1e3:.2f} ms: {min(other) * 1e3 / least:.2f}x"
                print(line, flush=True)


if __name__ == "__main__":
    main()
