"""Pictures as a file takes them, or its model: by a layer within the file, or before it."""

from typing import Any

import keras

from zoo import transforms
from zoo.data_config import DataConfig


def prepared(pictures: Any, config: DataConfig) -> Any:
    """uint8 (B, H, W, C) -> normalised float32 (B, height, width, C), of NumPy or a tensor.

    Example:
        >>> from zoo.data_config import DataConfig
        >>> from zoo.exporting.pictures import prepared
        >>> prepared(np.zeros((1, 9, 7, 3), "uint8"), DataConfig(size=(2, 4), mean=(0.5,), std=(0.5,))).shape
        (1, 2, 4, 3)
    """
    return transforms.prepare(pictures, config)


def config_of(layer: keras.Layer) -> DataConfig | None:
    """What a layer of `zoo.preprocessing` does, as data; None of another layer.

    Example:
        >>> from zoo.exporting.pictures import config_of
        >>> config_of(zoo.preprocessing("timm/resnext50_32x4d.a1h_in1k")).crop_pct
        0.95
    """
    from zoo.input_pipeline import Preprocessing

    if not isinstance(layer, Preprocessing):
        return None
    return DataConfig(
        size=(layer.size, layer.size),
        mean=layer.mean,
        std=layer.std,
        interpolation=layer.interpolation,
        crop_pct=layer.crop,
        crop_mode=layer.crop_mode,
    )


class Pictures(keras.layers.Layer):
    """uint8 pictures (B, H, W, C) of any size -> normalised float32 images (B, height, width, C), as a DataConfig says.

    Raises ValueError for an interpolation that LiteRT and ONNX cannot compute exactly.

    Source: `zoo.transforms.resize_and_crop`.

    Example:
        >>> from zoo.data_config import DataConfig
        >>> from zoo.exporting.pictures import Pictures
        >>> layer = Pictures(DataConfig(size=(2, 2), mean=(0.5,), std=(0.5,), channels=1))
        >>> layer(np.full((1, 4, 4, 1), 255, "uint8"))[0, 0, :, 0]
        <tf.Tensor: shape=(2,), dtype=float32, numpy=array([1., 1.], dtype=float32)>
    """

    def __init__(self, config: DataConfig, name: str | None = None) -> None:
        super().__init__(name=name, dtype="float32", trainable=False)
        if config.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(
                f"interpolation={config.interpolation!r} cannot be inside a file, for other runtimes lack the float64 "
                "that it computes in: use bilinear or bicubic."
            )
        self.config = config

    def call(self, pictures: Any) -> Any:
        return prepared(pictures, self.config)
