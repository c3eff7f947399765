"""LiteRT files as objects: their metadata, their convolutions, and two of them as one."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorflow.lite.tools import flatbuffer_utils
from tensorflow.lite.tools.flatbuffer_utils import schema_fb

from zoo.exporting.formats import is_grouped

IDENTIFIER = b"TFL3"  # from the fifth byte of a file on


def read(path: Path) -> Any:
    """The file as TensorFlow's ModelT. Raises ValueError for what is no LiteRT file."""
    with path.open("rb") as file:
        if file.read(8)[4:] != IDENTIFIER:
            raise ValueError(f"{path} is not a LiteRT file.")
    return flatbuffer_utils.read_model(path)


def finish(path: Path, texts: Mapping[str, str]) -> list[str]:
    """Add texts to the metadata of a file; the names of its operations that are none of LiteRT's own."""
    file = read(path)
    for name, text in texts.items():
        entry, buffer = schema_fb.MetadataT(), schema_fb.BufferT()
        buffer.data = text.encode("utf-8")
        entry.name, entry.buffer = name, len(file.buffers)
        file.buffers.append(buffer)
        file.metadata = [*(file.metadata or []), entry]
    flatbuffer_utils.write_model(file, path)
    return sorted({code.customCode.decode() for code in file.operatorCodes if code.customCode})


def texts(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Those of these texts that the metadata of a file have."""
    file = read(path)
    entries = {entry.name: file.buffers[entry.buffer].data for entry in file.metadata or []}
    entries = {name.decode() if isinstance(name, bytes) else name: data for name, data in entries.items()}
    return {name: bytes(entries[name]).decode("utf-8") for name in names if name in entries}


def grouped_convolutions(path: Path) -> int:
    """Convolutions of more than one group."""
    file = read(path)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in file.operatorCodes]
    depthwise, plain = schema_fb.BuiltinOperator.DEPTHWISE_CONV_2D, schema_fb.BuiltinOperator.CONV_2D
    count = 0
    for graph in file.subgraphs:
        for operator in graph.operators:
            if codes[operator.opcodeIndex] in (depthwise, plain):
                images, (filters, *window, last) = (list(graph.tensors[index].shape) for index in operator.inputs[:2])
                if codes[operator.opcodeIndex] == depthwise:  # (1, H, W, filters), else (filters, H, W, C / groups)
                    filters, last = last, 1
                count += is_grouped(int(images[-1]), int(last), int(filters), window)
    return count


def join(first: Path, second: Path, path: Path) -> None:
    """Write one file that gives the output of `first`, a single one, to `second` as its only input."""
    whole, rest = read(first), read(second)
    front, back = whole.subgraphs[0], rest.subgraphs[0]
    buffers, codes, tensors = len(whole.buffers), len(whole.operatorCodes), len(front.tensors)

    def moved(indices: Iterable[int]) -> list[int]:
        places = {back.inputs[0]: front.outputs[0], -1: -1}  # -1 is an input that is left out
        return [places.get(index, index + tensors) for index in indices]

    for tensor in back.tensors:
        tensor.buffer += buffers
    for operator in back.operators:
        operator.opcodeIndex += codes
        operator.inputs, operator.outputs = moved(operator.inputs), moved(operator.outputs)
    for entry in rest.metadata or []:
        entry.buffer += buffers
    outputs = rest.signatureDefs[0].outputs
    for output in outputs:
        (output.tensorIndex,) = moved([output.tensorIndex])
    front.tensors += back.tensors
    front.operators += back.operators
    front.outputs = moved(back.outputs)
    whole.buffers += rest.buffers
    whole.operatorCodes += rest.operatorCodes
    whole.signatureDefs[0].outputs = outputs
    whole.metadata = rest.metadata
    flatbuffer_utils.write_model(whole, path)
