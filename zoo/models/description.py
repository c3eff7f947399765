"""How a family describes itself: where it is published, and what its settings mean. `zoo info` shows both."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Citation:
    """A publication that a family follows; `str` of it is a sentence or two.

    Example:
        >>> from zoo.models.description import Citation
        >>> print(Citation("Zhang et al.", 2018, "ShuffleNet", where="table 1", arxiv="1707.01083"))
        Zhang et al. 2018, ShuffleNet, table 1, arXiv:1707.01083.
    """

    authors: str
    year: int
    title: str
    where: str = ""  # the sections, tables or figures that are followed
    arxiv: str = ""  # its identifier there
    subject: str = ""  # the networks of the family that it is about, where not all of them
    remark: str = ""  # sentences on what the family has of it

    def __str__(self) -> str:
        arxiv = self.arxiv and f"arXiv:{self.arxiv}"
        cited = ", ".join(filter(None, (f"{self.authors} {self.year}", self.title, self.where, arxiv)))
        return f"{self.subject and f'{self.subject}: '}{cited}.{self.remark and f' {self.remark}'}"


def meaning(text: str) -> dict[str, str]:
    """The metadata of a dataclass's field that has to be given: `d: int = field(metadata=meaning("depth"))`.

    Example:
        >>> from zoo.models.description import meaning
        >>> meaning("depth")
        {'meaning': 'depth'}
    """
    return {"meaning": text}


def setting(default: T, text: str) -> T:
    """A dataclass's field with a default and a meaning.

    Type checkers see the default; it is no value to compute with.

    Example:
        >>> from dataclasses import dataclass
        >>> from zoo.models.description import setting
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     groups: int = setting(32, "cardinality, C in the paper")
        >>> Config().groups
        32
    """
    return field(default=default, metadata=meaning(text))


def meanings(configuration: type) -> Mapping[str, str]:
    """Field -> what it means, of a family's dataclass.

    Example:
        >>> from zoo.models.alexnet import AlexNet
        >>> from zoo.models.description import meanings
        >>> meanings(AlexNet)["groups"]
        'of the second, fourth and fifth convolution; the third sees both halves'
    """
    return {each.name: each.metadata["meaning"] for each in fields(configuration)}
