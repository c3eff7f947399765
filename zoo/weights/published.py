"""The checkpoints that timm, torchvision and pytorchcv publish for the networks of the zoo: what they are, and getting
them.

A tag is the library, a slash and the library's own name of the weights: "timm/resnext50_32x4d.a1h_in1k",
"torchvision/shufflenet_v2_x1_0.IMAGENET1K_V1", "pytorchcv/shufflenet_g1_w1". The facts lie in data/*.json, one line a
tag, written by benchmarks/collect_published.py from the libraries themselves. Imports neither Keras nor TensorFlow.
"""

import functools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from zoo.checks import close_matches
from zoo.data_config import DataConfig
from zoo.weights.download import DownloadError, cache_folder, digest, download, unpack

SOURCES = ("timm", "torchvision", "pytorchcv")


@dataclass(frozen=True)
class Published:
    """One published checkpoint. Sizes are in pixels, accuracies in percent; None is what its publisher does not say.

    Source: the files of timm, torchvision and pytorchcv that describe their weights.

    Example:
        >>> from zoo.weights.published import resolve
        >>> published = resolve("torchvision/shufflenet_v2_x1_0.IMAGENET1K_V1")
        >>> published.source, published.input_size, published.top1
        ('torchvision', 224, 69.362)
    """

    tag: str
    model: str  # the network of the zoo that it fits
    address: str  # of the file; of the repository on the Hugging Face Hub for timm
    file: str  # the name of the file there, in pytorchcv's case inside the archive
    num_classes: int = 1000  # 0: published without a classifier
    input_size: int = 224
    test_size: int | None = None  # the larger images that its publisher tested it on
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # of images scaled to 0..1
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    crop: float = 0.875  # input_size over the shorter side of the resized image
    test_crop: float | None = None  # the same at test_size
    crop_mode: str = "center"  # or "squash" or "border", as in timm
    sha256: str | None = None  # of the whole file
    sha256_prefix: str | None = None  # torchvision publishes the first digits alone
    sha1: str | None = None  # pytorchcv publishes this, of the file in the archive
    licence: str | None = None  # of the weights, as their publisher states it
    top1: float | None = None  # on the validation set of its data, ImageNet-1k where there are 1000 classes
    top5: float | None = None
    top1_size: int | None = None  # the images that top1 was measured on
    top1_crop: float | None = None
    settings: Mapping[str, float] = field(default_factory=dict, hash=False)  # of the network, where not the usual ones

    @property
    def source(self) -> str:
        return self.tag.partition("/")[0]

    @property
    def checksum(self) -> str:
        """What the file is checked against, in words."""
        if self.sha256:
            return f"SHA-256 {self.sha256}"
        if self.sha256_prefix:
            return f"SHA-256 beginning with {self.sha256_prefix}"
        if self.sha1:
            return f"SHA-1 {self.sha1}"
        return "the SHA-256 that the Hub gives for the file" if self.source == "timm" else "none published"

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Of ImageNet-1k, CIFAR-10 and SVHN; None for other data sets, and for weights without a classifier."""
        name = "imagenet1k" if self.num_classes == 1000 else self.tag.rpartition("_")[2]
        return _classes().get(name)

    def data_config(self, test: bool = False) -> DataConfig:
        """What the network expects of its images, as `zoo.preprocessing` computes it; the names of its classes too.

        Args:
            test: the size and the crop that its publisher tested with, where these are others.

        Example:
            >>> from zoo.weights.published import resolve
            >>> config = resolve("timm/resnext50_32x4d.a1h_in1k").data_config()
            >>> config.size, config.interpolation, config.crop_pct, config.license
            ((224, 224), 'bicubic', 0.95, 'apache-2.0')
            >>> config.class_names[207]
            'golden retriever'
        """
        size = (test and self.test_size) or self.input_size
        return DataConfig(
            size=(size, size),
            mean=self.mean,
            std=self.std,
            interpolation=self.interpolation,
            crop_pct=(test and self.test_crop) or self.crop,
            crop_mode=self.crop_mode,
            class_names=self.class_names,
            license=self.licence,
            source=self.tag,
        )


@functools.cache
def _all() -> dict[str, Published]:
    published_by_tag = {}
    for source in SOURCES:
        rows = json.loads((files("zoo.weights") / "data" / f"{source}.json").read_text(encoding="utf-8"))
        for tag, row in rows.items():
            row |= {key: tuple(row[key]) for key in ("mean", "std") if key in row}
            published_by_tag[tag] = Published(tag=tag, **row)
    return published_by_tag


@functools.cache
def _classes() -> dict[str, tuple[str, ...]]:
    """Data set -> the names of its classes; the file says where they are from."""
    values = json.loads((files("zoo.weights") / "data" / "classes.json").read_text(encoding="utf-8"))
    return {name: tuple(names) for name, names in values.items() if isinstance(names, list)}


def tags(model: str | None = None) -> list[str]:
    """Every tag, or those of one network; the best published accuracy comes first.

    Example:
        >>> from zoo.weights.published import tags
        >>> tags("shufflenet_v2_x1_0")
        ['torchvision/shufflenet_v2_x1_0.IMAGENET1K_V1']
    """
    known = [each for each in _all().values() if model in (None, each.model)]
    return [each.tag for each in sorted(known, key=lambda each: (-(each.top1 or 0), each.tag))]


def resolve(tag: str) -> Published:
    """The checkpoint of a tag. Raises ValueError, with the nearest tags, for an unknown one.

    Example:
        >>> from zoo.weights.published import resolve
        >>> resolve("timm/dpn68.mx_in1k").model
        'dpn68'
    """
    known = _all()
    if tag in known:
        return known[tag]
    own = tags(tag)
    if own:
        more = f", and {len(own) - 5} more" if len(own) > 5 else ""
        raise ValueError(f"{tag!r} is a network; its published weights are {', '.join(own[:5])}{more}.")
    if tag.count("/") > 1 or tag.startswith((".", "~")) or "\\" in tag:
        raise ValueError(f"There is no file or folder {tag!r}.")
    suffixed = [each for each in known if each.partition("/")[2] == tag]
    if suffixed:
        raise ValueError(f"There are no published weights {tag!r}: did you mean {', '.join(suffixed)}?")
    listed = close_matches(tag, known)
    if not listed.startswith("did you mean"):  # over three hundred tags are no sentence
        listed = f"a tag begins with {', '.join(f'{source}/' for source in SOURCES)}."
    raise ValueError(f"There are no published weights {tag!r}: {listed} zoo.info(NAME) lists those of a network.")


def fetch(published: Published) -> Path:
    """The file of a checkpoint on this machine, fetched if it is not in the cache, and checked.

    timm's come through huggingface_hub and lie in its cache (HF_HOME); HF_ENDPOINT and HF_HUB_OFFLINE are honoured.
    The others lie in ~/.cache/grouped-convolution-zoo/weights, or under XDG_CACHE_HOME; an interrupted download goes on
    where it ended. Every call checks the file against the published checksum.

    Raises:
        DownloadError: the download failed, or the file is not the published one.
        ImportError: huggingface_hub is needed and not installed.

    Example:
        >>> import hashlib, os, pathlib, tempfile
        >>> from unittest import mock
        >>> from zoo.weights.published import Published, fetch
        >>> cache = pathlib.Path(tempfile.mkdtemp())
        >>> file = cache / "grouped-convolution-zoo" / "weights" / "torchvision" / "net.pth"  # fetched before
        >>> file.parent.mkdir(parents=True)
        >>> file.write_bytes(b"weights")
        7
        >>> settings = {"file": "net.pth", "sha256": hashlib.sha256(b"weights").hexdigest()}
        >>> published = Published("torchvision/net", "net", "https://example.org/net.pth", **settings)
        >>> with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(cache)):
        ...     fetch(published) == file
        True
    """
    if published.source == "timm":
        return _from_hub(published)
    path = cache_folder() / published.source / published.file
    if published.source == "pytorchcv":
        return unpack(published.address, path, sha1=published.sha1 or "")
    return download(published.address, path, sha256=published.sha256 or published.sha256_prefix or "")


def _from_hub(published: Published) -> Path:
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        raise ImportError(
            f"{published.tag} is fetched through huggingface_hub, which is not installed: "
            "pip install 'grouped-convolution-zoo[weights]', or give the path of a file in place of the tag."
        ) from error
    repository = "/".join(published.address.rsplit("/", 2)[1:])
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        path = Path(hf_hub_download(repository, published.file, endpoint=endpoint))
    except errors.LocalEntryNotFoundError as error:
        raise DownloadError(
            f"{published.tag} is not in the cache of the Hugging Face Hub, and the Hub cannot be reached "
            "(no connection, or HF_HUB_OFFLINE is set)."
        ) from error
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{published.tag} is behind a licence that must be accepted at {published.address} first."
        ) from error
    except (errors.RepositoryNotFoundError, errors.EntryNotFoundError) as error:
        raise DownloadError(f"The Hugging Face Hub has no {published.file} in {repository} (any more).") from error
    except Exception as error:  # whatever its HTTP library raises, which differs from version to version
        line = next(iter(str(error).splitlines()), "")
        raise DownloadError(f"{published.tag} could not be fetched: {type(error).__name__}: {line}") from error
    # The cache names a large file by the SHA-256 that the Hub announced; where links are not available it does not.
    blob = path.resolve()
    expected = published.sha256 or (blob.name if re.fullmatch("[0-9a-f]{64}", blob.name) else "")
    if expected and (actual := digest(blob, "sha256")) != expected:
        raise DownloadError(
            f"{blob} is damaged: its SHA-256 begins with {actual[:12]}, not {expected[:12]}; delete it and try again."
        )
    return path
