"""Archives that files of weights are, or lie in: looked through before anything of them is unpacked."""

import contextlib
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from zoo.weights.checkpoint import damaged

LARGEST_RATIO = 20  # of what an archive unpacks to; weights hardly compress
ARCHIVE_ERRORS = (
    zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, OSError, RuntimeError, ValueError, zlib.error
)  # fmt: skip


def check_size(path: Path, source: str) -> None:
    """Raise ValueError for an archive, as PyTorch's own files are, that claims to unpack to far more than its size.

    Example:
        >>> import pathlib, tempfile, zipfile
        >>> from zoo.weights.readers.archive import check_size
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.zip"
        >>> with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        ...     archive.writestr("zeros", bytes(10**7))
        >>> check_size(path, "net.zip")
        Traceback (most recent call last):
            ...
        ValueError: net.zip cannot be read as a file of weights: it would unpack to over 20 times its size.
    """
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except ARCHIVE_ERRORS as error:
        raise damaged(source, error) from error
    if size > LARGEST_RATIO * path.stat().st_size:
        raise damaged(source, f"it would unpack to over {LARGEST_RATIO} times its size")


@contextlib.contextmanager
def unpacked(path: Path, source: str, choose: Callable[[list[str]], str], name: str) -> Iterator[Path]:
    """One member of an archive as the file `name` in a folder of its own, for as long as it is needed.

    Args:
        choose: takes the names of the members and returns one, or raises ValueError for why there is none.

    Raises ValueError for an archive that is damaged.

    Example:
        >>> import pathlib, tempfile, zipfile
        >>> from zoo.weights.readers.archive import unpacked
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.zip"
        >>> with zipfile.ZipFile(path, "w") as archive:
        ...     archive.writestr("inner/weights", b"1, 2, 3")
        >>> with unpacked(path, "net.zip", choose=lambda members: members[0], name="net.pth") as file:
        ...     file.name, file.read_bytes()
        ('net.pth', b'1, 2, 3')
    """
    check_size(path, source)
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / name
        try:
            with zipfile.ZipFile(path) as archive:
                member = choose([each for each in archive.namelist() if not each.endswith("/")])
                with archive.open(member) as packed, inner.open("wb") as file:
                    shutil.copyfileobj(packed, file)
        except ARCHIVE_ERRORS as error:
            raise damaged(source, error) from error
        yield inner
