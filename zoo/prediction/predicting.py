"""Pictures through a network, batch by batch: what can be read is predicted, what cannot is named."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from zoo.data_config import DataConfig
from zoo.errors import UserError
from zoo.prediction import MAX_PIXELS
from zoo.prediction.network import Network, Prediction, ranked
from zoo.prediction.pictures import PictureError, pixel_limit, prepare, read

THREADS = 4  # pictures that are read at once: of MAX_PIXELS each takes 1.6 GB


@dataclass(frozen=True)
class Result:
    """What the network says of one picture; or why it says nothing, in place of predictions.

    Example:
        >>> from zoo.prediction.predicting import Result
        >>> Result("cat.jpg", error="it is empty").predictions
        ()
    """

    path: str
    predictions: tuple[Prediction, ...] = ()
    error: str | None = None


def predict(
    network: Network, config: DataConfig, paths: Sequence[str], top: int, batch: int, largest: int = MAX_PIXELS
) -> Iterator[Result]:
    """A result for each of `paths`, in their order.

    Args:
        top: classes of each, the most probable first.
        batch: pictures that are computed together.
        largest: pixels that a picture may have.

    Raises UserError where the network fails, or has other classes than `config` names.

    Example:
        >>> import pathlib, tempfile
        >>> from PIL import Image
        >>> from zoo.data_config import DataConfig
        >>> from zoo.prediction.network import Network
        >>> from zoo.prediction.predicting import predict
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "blue.png"
        >>> Image.new("RGB", (40, 25), "blue").save(path)
        >>> brightest = Network("brightest", (None, 8, 8, 3), call=lambda images: images.mean((1, 2)))
        >>> config = DataConfig((8, 8), mean=(0.0,), std=(0.1,), class_names=("red", "green", "blue"))
        >>> (result,) = predict(brightest, config, [str(path)], top=1, batch=8)
        >>> config.class_names[result.predictions[0].index]
        'blue'
    """
    with pixel_limit(largest), ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(paths), batch):
            some = paths[start : start + batch]
            images = list(pool.map(lambda path: _prepared(path, network, config), some))
            readable = [image for image in images if isinstance(image, np.ndarray)]
            rows = iter(_outputs(network, config, readable))
            for path, image in zip(some, images, strict=True):
                if isinstance(image, str):
                    yield Result(path, error=image)
                    continue
                try:
                    yield Result(path, tuple(ranked(next(rows), config.classifier_activation, top)))
                except ValueError as error:
                    yield Result(path, error=str(error))


def _prepared(path: str, network: Network, config: DataConfig) -> np.ndarray | str:
    """The input of the network, or why there is none."""
    try:
        image = prepare(read(path, config.channels), config)
    except PictureError as error:
        return str(error)
    height, width = image.shape[:2]
    if any(own not in (None, given) for own, given in zip(network.size, (height, width), strict=True)):
        wanted = " x ".join("any" if own is None else str(own) for own in network.size)
        return f"it has {height} x {width} pixels, and the network resizes none: it takes {wanted} (height, width)"
    return image


def _outputs(network: Network, config: DataConfig, images: list[np.ndarray]) -> Iterator[np.ndarray]:
    """A row of outputs for each image; pictures of several sizes are computed one by one."""
    if not images:
        return
    if len({image.shape for image in images}) == 1:
        rows = network.outputs(np.stack(images))
    else:
        rows = np.concatenate([network.outputs(image[None]) for image in images])
    if config.class_names is not None and len(config.class_names) != rows.shape[1]:
        raise UserError(
            f"{network.name} has {rows.shape[1]} outputs, and {len(config.class_names)} classes are named: give as "
            "many, with --classes FILE."
        )
    yield from rows
