"""Types that the signatures of the zoo are written with. Imports neither Keras nor TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import Field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

if TYPE_CHECKING:  # importing blocks imports Keras
    from blocks.typing import Shape, Tensor
else:
    Shape = Tensor = Any


class ModelConfig(Protocol):
    """What makes one network of a family: a frozen dataclass whose fields are the family's settings."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str:
        """As `zoo.create` takes it, with the groups in it where they are not the usual ones."""

    @property
    def groups(self) -> int | None:
        """Of the grouped convolutions; None is depthwise."""

    def with_groups(self, groups: int) -> Self:
        """This network with another number of groups. Raises ValueError where it cannot have that many."""


Config = TypeVar("Config", bound=ModelConfig)


class Family(Protocol[Config]):
    """A module of `zoo.models`: networks that one dataclass configures."""

    @property
    def SUMMARY(self) -> str:
        """What the family is, in a sentence."""

    @property
    def PAPERS(self) -> Sequence[object]:
        """What it follows: `zoo.models.description.Citation`, whose `str` is a sentence or two."""

    @property
    def CLASSIFIER(self) -> str:
        """Name of the layer of logits."""

    @property
    def VARIANTS(self) -> Mapping[str, Config]:
        """The named networks."""

    def build(self, config: Config, images: Tensor, small_stem: bool = ...) -> list[Tensor]:
        """The feature maps of images (B, H, W, C), one a resolution, of the highest first."""

    def head(self, config: Config, features: Tensor) -> Tensor:
        """The vector (B, D) that the classifier sees, from the last feature map."""
