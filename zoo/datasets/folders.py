"""What an image folder holds: the classes and the images of its splits, and what is left out of them.

Reads names alone, and imports neither TensorFlow nor TFDS.
"""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.datasets.config import DatasetConfig
from zoo.datasets.holdout import held_out, in_fold
from zoo.pictures import image_suffixes

FOLDER_ALIASES = {"validation": ("validation", "val", "valid")}
LAYOUT = (
    "Expected dataset.data_dir/train/CLASS/*.jpg (or .png, ...) and dataset.data_dir/validation/CLASS/*.jpg, or "
    "dataset.data_dir/CLASS/*.jpg, to be split by class."
)
SPLITS = ("train", "test", *FOLDER_ALIASES["validation"])  # names of folders that hold classes, and are none
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")  # of archives and file servers, hidden as those with a dot
# Why something is left out.
HIDDEN, OTHER, OUTSIDE = "hidden", "no suffix of an image format", "outside of the classes' folders"
EMPTY, LOOP = "folder without images", "link to a folder that it lies in"
SHOWN = 5  # names that a message lists


@dataclass(frozen=True)
class FolderSplit:
    """The images of one split in the order of their names, class by class; `labels` are indices of classes.

    Example:
        >>> from pathlib import Path
        >>> from zoo.datasets.folders import FolderSplit
        >>> split = FolderSplit(Path("pets/train"), paths=("cat/1.jpg", "dog/1.jpg"), labels=(0, 1))
        >>> len(split.paths)
        2
    """

    folder: Path
    paths: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class ImageFolder:
    """An image folder as `dataset` configures it: `root/SPLIT/CLASS/**/*.jpg`, or without splits `root/CLASS/**/*.jpg`.

    A class is a visible folder directly below the split's that holds an image, however deeply; the classes of the
    training split are counted in the order of their names, as torchvision and Keras do. `notes` are sentences on what
    was left out, and on how it was split here.

    Example:
        >>> import pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("train/cat/1.jpg", "train/dog/1.jpg", "val/cat/2.jpg", "val/dog/2.jpg"):
        ...     (root / name).parent.mkdir(parents=True)
        ...     (root / name).touch()
        >>> from zoo.datasets.config import DatasetConfig
        >>> from zoo.datasets.folders import list_folder
        >>> folder = list_folder(DatasetConfig(source="image_folder", data_dir=str(root), train_split="train"))
        >>> [split.folder.name for split in folder.splits], folder.validation.labels
        (['train', 'val'], (0, 1))
    """

    root: Path
    class_names: tuple[str, ...]
    train: FolderSplit
    validation: FolderSplit
    test: FolderSplit | None
    notes: tuple[str, ...]

    @property
    def splits(self) -> tuple[FolderSplit, ...]:
        return tuple(split for split in (self.train, self.validation, self.test) if split)


def list_folder(config: DatasetConfig) -> ImageFolder:
    """The images below `config.data_dir`, of the splits that `config` names.

    Where there are folders of classes in place of splits, `config.validation_share` of each class is held out by
    `zoo.datasets.holdout.held_out`, and the notes say so. With `config.fold`, that part of the training split is the
    validation split.

    Raises:
        ValueError: there is no such folder or split, fewer than two classes, other than `config.num_classes`, or
            classes to evaluate on that have no images to train on.

    Example:
        >>> import pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("train/cat/1.jpg", "train/dog/1.jpg", "val/cat/2.jpg", "val/dog/2.jpg"):
        ...     (root / name).parent.mkdir(parents=True)
        ...     (root / name).touch()
        >>> from zoo.datasets.config import DatasetConfig
        >>> from zoo.datasets.folders import list_folder
        >>> folder = list_folder(DatasetConfig(source="image_folder", data_dir=str(root)))
        >>> folder.class_names, len(folder.train.paths)
        (('cat', 'dog'), 2)
    """
    assert config.data_dir is not None  # `zoo.datasets.config.check` saw to it
    root = Path(config.data_dir).expanduser()
    validation = None if config.fold else config.validation_split
    names = [name for name in (config.train_split, validation, config.test_split) if name]
    inside = _visible_folders(root, config.data_dir)
    if _is_unsplit(config, inside):
        return _split_here(config, root)
    entries = _with_classes(root, inside)
    folders = [_split_folder(root, list(entries), name) for name in names]
    for first, second in itertools.combinations(folders, 2):
        if first.samefile(second):
            raise ValueError(f"{shown(first)} and {shown(second)} are one folder, so two splits would share examples.")
    left_out: list[tuple[str, str]] = []
    images = [_images_by_class(folder, entries[folder.name], left_out) for folder in folders]
    for folder, classes in zip(folders, images, strict=True):
        if not classes:
            raise ValueError(f"{shown(folder)} holds no images; expected {shown(folder)}/CLASS/*.jpg (or .png, ...).")
    class_names = tuple(sorted(images[0]))
    _check_classes(config, folders[0], class_names, images[1:])
    train, *others = (_labelled(folder, classes, class_names) for folder, classes in zip(folders, images, strict=True))
    notes = _notes(root, left_out)
    for folder, classes in zip(folders[1:], images[1:], strict=True):
        absent = sorted(set(class_names) - set(classes))
        if absent:
            notes.append(f"{shown(folder)} has no images of the classes {listed(absent)}.")
    if config.fold:
        train, held = _folded(train, config, class_names)
        others.insert(0, held)
    validation_split, *test = others
    return ImageFolder(root, class_names, train, validation_split, test[0] if test else None, tuple(notes))


def shown(path: str | os.PathLike[str]) -> str:
    """A path with its control characters, and bytes that are no UTF-8, as escapes.

    Example:
        >>> from zoo.datasets.folders import shown
        >>> shown("pets/cats"), shown("pets" + chr(7)).endswith("x07")
        ('pets/cats', True)
    """
    letters = os.fspath(path)
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in letters)


def counted(names: Sequence[str]) -> str:
    """How many, and the first few.

    Example:
        >>> from zoo.datasets.folders import counted
        >>> counted(["a", "b", "c", "d", "e", "f", "g"])
        '7 (a, b, c, d, e, ...)'
    """
    return f"{len(names):,} ({listed(names)})"


def listed(names: Sequence[str]) -> str:
    """The first few names, with their control characters as escapes.

    Example:
        >>> from zoo.datasets.folders import listed
        >>> listed(["cat", "dog"])
        'cat, dog'
    """
    return ", ".join(map(shown, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")


def _visible_folders(root: Path, data_dir: str) -> dict[str, list[os.DirEntry[str]]]:
    """What lies in each visible folder of `root`, by the folder's name."""
    if not root.is_dir():
        state = "a file" if root.exists() else "which does not exist"
        raise ValueError(f"dataset.data_dir={shown(data_dir)} ({state}) is no folder. {LAYOUT}")
    names = sorted(entry.name for entry in _entries(root) if _is_folder(entry) and not _hidden(entry.name))
    if not names:
        raise ValueError(f"{shown(root)} has no folders of splits in it. {LAYOUT}")
    return {name: _entries(root / name) for name in names}


def _is_unsplit(config: DatasetConfig, inside: dict[str, list[os.DirEntry[str]]]) -> bool:
    """Whether the folders are those of classes: two or more hold images themselves, and none is a split.

    A folder called train, in which images lie and no folders, is a class.
    """
    if (config.train_split, config.validation_split, config.test_split) != ("train", "validation", None):
        return False
    if any(name.lower() in SPLITS and any(map(_is_class, entries)) for name, entries in inside.items()):
        return False
    return sum(any(_is_image(entry) for entry in entries) for entries in inside.values()) >= 2


def _is_class(entry: os.DirEntry[str]) -> bool:
    return _is_folder(entry) and not _hidden(entry.name)


def _is_image(entry: os.DirEntry[str]) -> bool:
    return not _hidden(entry.name) and _has_suffix(entry) and not _is_folder(entry)


def _has_suffix(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in image_suffixes()


def _split_here(config: DatasetConfig, root: Path) -> ImageFolder:
    """`root/CLASS/**/*.jpg`, split by class."""
    left_out: list[tuple[str, str]] = []
    images = _images_by_class(root, _entries(root), left_out)
    class_names = tuple(sorted(images))
    _check_classes(config, root, class_names, [])
    if config.fold:
        parts = _folded(_labelled(root, images, class_names), config, class_names)
        return ImageFolder(root, class_names, *parts, None, tuple(_notes(root, left_out)))
    train: dict[str, list[str]] = {}
    validation: dict[str, list[str]] = {}
    start = len(os.fspath(root)) + 1
    for name, paths in images.items():
        chosen = held_out([path[start:] for path in paths], config.validation_share, config.split_seed)
        validation[name] = [path for path in paths if path[start:] in chosen]
        train[name] = [path for path in paths if path[start:] not in chosen]
    count, total = sum(map(len, validation.values())), sum(map(len, images.values()))
    if not count:
        raise ValueError(f"{shown(root)} holds one image of each class, and so none to validate on. {LAYOUT}")
    split = (
        f"{shown(root)} has no folders train and validation: {count:,} of its {total:,} images of {len(images):,} "
        f"classes are for validation (dataset.validation_share={config.validation_share:g}), chosen within each class "
        f"by their names and dataset.split_seed={config.split_seed}."
    )
    alone = [name for name in class_names if not validation[name]]
    notes = [*_notes(root, left_out), split]
    if alone:
        notes.append(f"Of the classes {listed(alone)} there is one image each, to train on.")
    to_train, held = (_labelled(root, each, class_names) for each in (train, validation))
    return ImageFolder(root, class_names, to_train, held, None, tuple(notes))


def _folded(split: FolderSplit, config: DatasetConfig, class_names: Sequence[str]) -> tuple[FolderSplit, FolderSplit]:
    """The images to train on and those of the fold, by their names below the split's folder."""
    start = len(os.fspath(split.folder)) + 1
    held = in_fold(config, [path[start:] for path in split.paths], split.labels, class_names, shown(split.folder))
    pairs = list(zip(split.paths, split.labels, held, strict=True))
    train, validation = (
        FolderSplit(
            split.folder,
            tuple(path for path, _, is_held in pairs if is_held == wanted),
            tuple(label for _, label, is_held in pairs if is_held == wanted),
        )
        for wanted in (False, True)
    )
    return train, validation


def _with_classes(root: Path, inside: dict[str, list[os.DirEntry[str]]]) -> dict[str, list[os.DirEntry[str]]]:
    """Those of the folders that hold folders of classes, as a split does."""
    with_classes = {name: entries for name, entries in inside.items() if any(map(_is_class, entries))}
    if not with_classes:
        raise ValueError(
            f"{shown(root)} has the folders {listed(list(inside))}, but no folders of classes in them. {LAYOUT}"
        )
    return with_classes


def _split_folder(root: Path, with_classes: list[str], split: str) -> Path:
    """The folder meant by `split`, one of `with_classes`; `validation` may be called val or valid."""
    for name in FOLDER_ALIASES.get(split, (split,)):
        if name in with_classes:
            return root / name
    parts = " Parts such as 'train[:90%]' are for TFDS alone." if "[" in split or "+" in split else ""
    if split == "validation" and "train" in with_classes:
        parts = f" dataset.data_dir={shown(root / 'train')} has a share of each class held out for validation."
    raise ValueError(
        f"{shown(root)} has no folder {split!r}, only {listed(with_classes)}, that holds folders of "
        f"classes; name one with dataset.train_split, dataset.validation_split and dataset.test_split.{parts}"
    )


def _images_by_class(
    folder: Path, entries: list[os.DirEntry[str]], left_out: list[tuple[str, str]]
) -> dict[str, list[str]]:
    """The paths of each class that has images. What is passed over is added to `left_out`, with the reason."""
    classes: dict[str, list[str]] = {}
    for entry in entries:
        if _hidden(entry.name):
            left_out.append((HIDDEN, entry.path))
        elif not _is_folder(entry):
            left_out.append((OUTSIDE, entry.path))
        else:
            paths = list(_walk(entry.path, (_identity(folder), _identity(entry.path)), left_out))
            # Composed and decomposed accents are one name, whichever system wrote the folder.
            if paths:
                classes.setdefault(unicodedata.normalize("NFC", entry.name), []).extend(paths)
            else:
                left_out.append((EMPTY, entry.path))
    return classes


def _walk(folder: str, around: tuple[Any, ...], left_out: list[tuple[str, str]]) -> Iterator[str]:
    """The images in and below a folder, through links too; `around` are the folders that it lies in."""
    for entry in _entries(folder):
        if _hidden(entry.name):
            left_out.append((HIDDEN, entry.path))
        elif _is_folder(entry):
            identity = _identity(entry.path)
            if identity in around:
                left_out.append((LOOP, entry.path))
                continue
            empty = True
            for path in _walk(entry.path, (*around, identity), left_out):
                empty = False
                yield path
            if empty:
                left_out.append((EMPTY, entry.path))
        elif _has_suffix(entry):
            yield entry.path
        else:
            left_out.append((OTHER, entry.path))


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"{shown(folder)} cannot be listed: {error.strerror}.") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _labelled(folder: Path, classes: dict[str, list[str]], class_names: tuple[str, ...]) -> FolderSplit:
    pairs = [(path, label) for label, name in enumerate(class_names) for path in classes.get(name, ())]
    return FolderSplit(folder, tuple(path for path, _ in pairs), tuple(label for _, label in pairs))


def _check_classes(
    config: DatasetConfig, train: Path, class_names: tuple[str, ...], others: list[dict[str, list[str]]]
) -> None:
    for classes in others:
        unknown = sorted(set(classes) - set(class_names))
        if unknown:
            raise ValueError(
                f"The classes {listed(unknown)} have images to evaluate on but none to train on; every class needs a "
                "folder of the same name among the training images."
            )
    if len(class_names) < 2:
        raise ValueError(
            f"{shown(train)} holds images of one class alone, {shown(class_names[0])}; classification needs at least 2."
        )
    if config.num_classes not in (None, len(class_names)):
        raise ValueError(
            f"dataset.num_classes={config.num_classes}, but {shown(train)} has {len(class_names)} classes; set null or "
            f"{len(class_names)}."
        )


def _notes(root: Path, left_out: list[tuple[str, str]]) -> list[str]:
    names: dict[str, list[str]] = {}
    for reason, path in left_out:
        names.setdefault(reason, []).append(os.path.relpath(path, root))
    parts = [f"{reason}: {counted(paths)}" for reason, paths in names.items()]
    return [f"Left out of {shown(root)}, {len(left_out):,} in all: {'; '.join(parts)}."] if parts else []
