"""Exported networks in ONNX Runtime and LiteRT beside the fused Keras model and PyTorch's ONNX export: one image.

usage: python benchmarks/exports.py [--models NAME ...] [--size 96] [--folder DIR] [--against DIR] [--rounds 30]
                                    [--threads 1] [--torch PYTHON]

Writes each network by zoo.export, and keras.applications.MobileNetV2 as it comes, to DIR/NAME.onnx and
DIR/NAME.tflite where they are not there yet, and times all contenders in alternating rounds, so that a noisy machine
slows all alike. The table has milliseconds of the fused Keras model (a tf.function), and of the files, the least of all
calls, and each file's time over the Keras model's; with `--torch`, an interpreter that has PyTorch and the reference
libraries, PyTorch's own export of the same network in ONNX Runtime too, and our ONNX file's time over its. `--against`
names the folder of another version of the package, whose files take part in the same rounds.
Nodes are those of the file; operators and partitions those of LiteRT behind its XNNPACK delegate.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import options
from machine import busy_share, identity, warn_if_busy

from zoo.timing import call_seconds

MODELS = (
    "mobilenetv2_100", "mobilenetv3_large_100", "shufflenet_v2_x1_0", "shufflenet_g3_w1", "regnety_008",
    "resnext50_32x4d",
)  # fmt: skip
KERAS = "keras_MobileNetV2"
SUFFIXES = (".onnx", ".tflite")
CALLS = 5  # of a contender in a round


def create(name: str, size: int):
    """The network as it is exported; those of the zoo are fused."""
    import keras
    import numpy as np

    import zoo

    if name == KERAS:
        return keras.applications.MobileNetV2((size, size, 3), weights=None, classifier_activation=None)
    network = zoo.create(name, 1000, (size, size, 3))
    for weight in network.weights:
        if weight.name == "beta":  # as after training: biases of zeros would be optimised away
            weight.assign(np.random.default_rng(0).normal(0, 0.1, weight.shape))
    return zoo.fuse(network)


def write(name: str, model, folder: Path) -> None:
    """The two files of a network, where they are not there yet."""
    import zoo

    for path, format_name in ((folder / f"{name}.onnx", "onnx"), (folder / f"{name}.tflite", "litert")):
        if not path.exists():
            zoo.export(model, path, format_name, fold=name != KERAS, verify=False)


def write_torch(python: str, names: list[str], size: int, folder: Path) -> None:
    """PyTorch's files of these networks, by its interpreter, where they are not there yet."""
    missing = [name for name in names if not (folder / f"{name}.torch.onnx").exists()]
    if missing:
        script = str(Path(__file__).with_name("torch_export.py"))
        subprocess.run([python, script, str(size), str(folder), *missing], check=True)


def keras_runner(model, size: int):
    """A function that runs the model on one image, and its layers."""
    import numpy as np
    import tensorflow as tf

    image = tf.constant(np.random.default_rng(0).standard_normal((1, size, size, 3)), tf.float32)
    function = tf.function(lambda images: model(images, training=False)).get_concrete_function(image)
    return lambda: function(image).numpy(), f"{len(model.layers)} layers"


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


def contenders(name: str, arguments: argparse.Namespace, folder: Path) -> dict[str, tuple[Callable[[], object], str]]:
    """What is timed of a network: by its name a call, and what is known of it."""
    model = create(name, arguments.size)
    write(name, model, folder)
    runs = {"keras": keras_runner(model, arguments.size)}
    folders = {"": folder} | ({" against": arguments.against} if arguments.against else {})
    paths = {
        f"{suffix[1:]}{version}": place / f"{name}{suffix}" for suffix in SUFFIXES for version, place in folders.items()
    }
    paths["torch onnx"] = folder / f"{name}.torch.onnx"
    return runs | {key: runner(path, arguments.threads) for key, path in paths.items() if path.exists()}


def row(name: str, facts: dict[str, str], times: dict[str, list[float]]) -> str:
    """One network as lines of the table."""
    least = {key: 1e3 * min(values) for key, values in times.items()}
    lines = []
    for key, value in least.items():
        median = 1e3 * statistics.median(times[key])
        line = f"{name:24} {key:16} {facts[key]:28} {value:8.2f} ms least {median:8.2f} median"
        if key != "keras":
            line += f"  {value / least['keras']:.2f}x keras"
        if key == "onnx" and "torch onnx" in least:
            line += f"  {value / least['torch onnx']:.2f}x torch"
        if f"{key} against" in least:
            line += f"  {value / least[f'{key} against']:.2f}x against"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=options.network, nargs="+", default=list(MODELS))
    parser.add_argument("--size", type=options.positive, default=96, help="pixels")
    parser.add_argument("--threads", type=options.positive, default=1)
    parser.add_argument(
        "--rounds", type=options.positive, default=30, help=f"how often each contender is timed, {CALLS} calls each"
    )
    parser.add_argument("--folder", type=Path, help="where the files are; by default a temporary folder")
    parser.add_argument("--against", type=Path, help="a folder with files of another version")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter with PyTorch and the reference libraries")
    arguments = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.torch:
            write_torch(arguments.torch, arguments.models, arguments.size, folder)
        runs = {name: contenders(name, arguments, folder) for name in (*arguments.models, KERAS)}
        share = busy_share()
        print(f"{identity()}, {arguments.threads} threads, {arguments.size} pixels, busy {share:.0%}")
        warn_if_busy(share)
        times: dict[str, dict[str, list[float]]] = {name: {key: [] for key in each} for name, each in runs.items()}
        for _ in range(arguments.rounds):
            for name, each in runs.items():
                for key, (call, _) in each.items():
                    times[name][key] += [call_seconds(call) for _ in range(CALLS)]
        for name, each in runs.items():
            print(row(name, {key: fact for key, (_, fact) in each.items()}, times[name]), flush=True)


if __name__ == "__main__":
    main()
