"""Pictures of blocks, as SVG: the graph of a block's layers, and which channels a layer connects."""

from dataclasses import dataclass, field
from html import escape
from typing import Any

import keras

from blocks.ops.keras_internals import nodes_of, source_of

FONT = "font-family='sans-serif' font-size='12' text-anchor='middle'"
LINE, GAP, ROW, CHARACTER = 16, 18, 30, 7  # pixels: of a line of text, between boxes of a row, between rows
COLOURS = ("#3f51b5", "#c0392b", "#1e8449", "#b9770e", "#7d3c98", "#117a8b")
FILLS = {"convolution": "#dde3f7", "other": "#f2f2f2", "end": "#ffffff"}


@dataclass(eq=False)
class Box:
    """A layer, or several that are drawn as one; without lines a point through which an edge passes."""

    lines: list[str]
    kind: str = "other"
    parents: list["Box"] = field(default_factory=list)
    row: int = 0
    x: float = 0.0
    y: float = 0.0
    passed: float = 0.0  # of a point, the height of the row that its edge passes

    @property
    def width(self) -> float:
        return max((CHARACTER * len(line) + 16 for line in self.lines), default=12)

    @property
    def height(self) -> float:
        return LINE * len(self.lines) + 8 if self.lines else 0


def _size(kernel_size: tuple[int, ...]) -> str:
    return "x".join(map(str, kernel_size))


def _text_of_groups(layer: Any, channels: int) -> list[str]:
    groups = layer.groups
    if isinstance(groups, tuple):
        return [f"groups {', '.join(map(str, groups))}"]
    if groups == channels and channels > 1:
        return ["depthwise"]
    return [f"{groups} groups"] if groups > 1 else []


def lines_of(operation: Any, channels: int) -> tuple[list[str], str]:
    """What a box says of a layer or operation whose input has `channels`, and the kind of box."""
    kind = type(operation).__name__
    if hasattr(operation, "kernel_size") and hasattr(operation, "groups"):
        name = f"{_size(operation.kernel_size)}, {operation.filters}" if hasattr(operation, "filters") else kind
        if kind.startswith(("Depthwise", "Separable")):
            name = f"{kind} {_size(operation.kernel_size)}"
            return [name], "convolution"
        strides = max(operation.strides if isinstance(operation.strides, tuple) else (operation.strides,))
        dilation = max(operation.dilation_rate)
        extras = [*([f"stride {strides}"] if strides > 1 else []), *([f"dilation {dilation}"] if dilation > 1 else [])]
        lines = [", ".join([name, *extras]), *_text_of_groups(operation, channels)]
        return [*lines, *_activation(operation)], "convolution"
    if kind in ("BatchNormalization", "LayerNormalization"):
        return ["batch norm" if kind[0] == "B" else "layer norm", *_activation(operation)], "other"
    if kind == "Dense":
        return [f"dense, {operation.units}", *_activation(operation)], "convolution"
    words = {
        "Add": "+",
        "Multiply": "x",
        "Concatenate": "concatenate",
        "ChannelShuffle": f"shuffle, {getattr(operation, 'groups', '')} groups",
        "ChannelSelection": "select channels",
        "ChannelGate": "x gate",
        "ImageMean": "mean over H, W",
        "SoftmaxSum": "softmax sum",
        "DualPathMerge": "add and append",
        "GlobalAveragePooling2D": "mean over H, W",
        "PaddedPooling2D": f"{getattr(operation, 'mode', '')} pool {_size(getattr(operation, 'pool_size', ()))}",
        "AveragePooling2D": f"average pool {_size(getattr(operation, 'pool_size', ()))}",
        "ReLU": "relu",
        "LayerScale": "x gamma",
    }
    if kind == "Activation":
        return _activation(operation), "other"
    return [words.get(kind, kind)], "other"


def _activation(layer: Any) -> list[str]:
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", None) or type(activation).__name__
    return [] if activation is None or name == "linear" else [name]


def _shape(tensor: Any) -> str:
    return " x ".join("?" if size is None else str(size) for size in tensor.shape[1:])


def boxes_of(model: keras.Model) -> list[Box]:
    """The boxes of a functional model, each after its parents; a normalisation is drawn with its convolution."""
    boxes: list[Box] = []
    by_operation: dict[int, Box] = {}
    consumers: dict[int, int] = {}
    nodes = nodes_of(model)
    for node in nodes:
        for tensor in node.input_tensors:
            operation = id(source_of(tensor)[0])
            consumers[operation] = consumers.get(operation, 0) + 1
    for node in nodes:
        operation = node.operation
        if node.is_input:
            box = Box([f"x: {_shape(node.outputs[0])}"], "end")
        else:
            sources = [source_of(tensor)[0] for tensor in node.input_tensors]
            parents = list(dict.fromkeys(by_operation[id(source)] for source in sources))
            lines, kind = lines_of(operation, node.input_tensors[0].shape[-1])
            normalises = type(operation).__name__ == "BatchNormalization"
            summed = ["+"] if len(sources) > 1 and normalises else []
            first = parents[0]
            if normalises and first.kind == "convolution" and consumers[id(sources[0])] == 1:
                first.lines += [lines[0], *summed, *lines[1:]]
                first.parents += [parent for parent in parents[1:] if parent not in first.parents]
                boxes.remove(first)  # its new parents may come behind it
                boxes.append(first)
                by_operation[id(operation)] = first
                continue
            box = Box([lines[0], *summed, *lines[1:]] if summed else lines, kind, parents)
        by_operation[id(operation)] = box
        boxes.append(box)
    for number, tensor in enumerate(model.outputs):
        name = "y" if len(model.outputs) == 1 else f"y{number + 1}"
        boxes.append(Box([f"{name}: {_shape(tensor)}"], "end", [by_operation[id(source_of(tensor)[0])]]))
    return boxes


def _rows(boxes: list[Box]) -> tuple[list[list[Box]], list[tuple[list[Box], Box]]]:
    """The boxes by row, with points for edges that pass a row; the edges, as paths from parent to child."""
    for box in boxes:
        box.row = max((parent.row + 1 for parent in box.parents), default=0)
    last = max(box.row for box in boxes)
    for box in boxes:
        if box.kind == "end" and box.parents:
            box.row = last
    rows: list[list[Box]] = [[] for _ in range(last + 1)]
    for box in boxes:
        rows[box.row].append(box)
    paths = []
    for box in boxes:
        for parent in box.parents:
            path = [parent]
            for row in range(parent.row + 1, box.row):
                path.append(Box([], "point", [path[-1]], row))
                rows[row].append(path[-1])
            paths.append((path, box))
    return rows, paths


def graph(model: keras.Model, title: str) -> str:
    """The picture of a functional model's layers, from top to bottom."""
    rows, paths = _rows(boxes_of(model))
    entering = {id(child): [] for _, child in paths}
    for path, child in paths:
        entering[id(child)].append(path[-1])
    y = 8.0
    for number, row in enumerate(rows):
        if number:
            row.sort(key=lambda box: sum(p.x for p in entering.get(id(box), box.parents)) / max(len(box.parents), 1))
        position = -(sum(box.width for box in row) + GAP * (len(row) - 1)) / 2
        height = max(box.height for box in row)
        for box in row:
            box.x, box.y = position + box.width / 2, y + (height - box.height) / 2
            if not box.lines:
                box.y, box.passed = y, height
            position += box.width + GAP
        y += height + ROW
    everything = [box for row in rows for box in row]
    left = min(box.x - box.width / 2 for box in everything) - 8
    width = max(box.x + box.width / 2 for box in everything) + 8 - left
    parts = []
    for path, child in paths:
        points = [(path[0].x, path[0].y + path[0].height)]
        points += [(box.x, end) for box in path[1:] for end in (box.y, box.y + box.passed)]
        points.append((child.x, child.y))
        text = " ".join(f"{x - left:.0f},{y:.0f}" for x, y in points)
        parts.append(f"<polyline points='{text}' fill='none' stroke='#555' marker-end='url(#arrow)'/>")
    for box in everything:
        if box.lines:
            parts.append(_box(box, left))
    return _svg(width, y - ROW + 8, title, parts)


def _box(box: Box, left: float) -> str:
    x = box.x - left
    rectangle = (
        f"<rect x='{x - box.width / 2:.0f}' y='{box.y:.0f}' width='{box.width:.0f}' height='{box.height:.0f}' rx='4' "
        f"fill='{FILLS[box.kind]}' stroke='{'none' if box.kind == 'end' else '#555'}'/>"
    )
    texts = [
        f"<text x='{x:.0f}' y='{box.y + LINE * (number + 1):.0f}'>{escape(line)}</text>"
        for number, line in enumerate(box.lines)
    ]
    return rectangle + "".join(texts)


def _svg(width: float, height: float, title: str, parts: list[str]) -> str:
    arrow = (
        "<marker id='arrow' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        "<path d='M0,0 L8,4 L0,8 z' fill='#555'/></marker>"
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' "
        f"viewBox='0 0 {width:.0f} {height:.0f}' role='img' {FONT}>\n<title>{escape(title)}</title>\n"
        f"<defs>{arrow}</defs>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def channels(panels: list[tuple[str, int, list[tuple[int, int, int]]]], title: str) -> str:
    """Channels of inputs, above, and of outputs, below, with lines between those that are connected.

    Args:
        panels: a caption, the number of channels on each side, and (input, output, number of its colour) for each line.
    """
    step, left, parts = 22, 20.0, []
    for caption, count, lines in panels:
        width = max(step * (count - 1), CHARACTER * len(caption))
        first = left + (width - step * (count - 1)) / 2
        for start, end, colour in lines:
            shade = COLOURS[colour % len(COLOURS)]
            parts.append(
                f"<line x1='{first + step * start}' y1='30' x2='{first + step * end}' y2='100' stroke='{shade}'/>"
            )
        for y, side in ((30, 0), (100, 1)):
            for number in range(count):
                shade = next((COLOURS[line[2] % len(COLOURS)] for line in lines if line[side] == number), "#bbb")
                parts.append(f"<circle cx='{first + step * number}' cy='{y}' r='6' fill='{shade}'/>")
        parts.append(f"<text x='{left + width / 2}' y='128'>{escape(caption)}</text>")
        left += width + 50
    return _svg(left - 30, 140, title, parts)
