"""Fetches a file once: over HTTPS, resumable, checked, and safe against a second process.

Neither pooch 1.9 nor keras.utils.get_file goes on with an interrupted download: both ask for the file from its first
byte again, in pooch's own retries too, and keep nothing of what has come. They hold no lock, so that several processes
fetch a file several times, and follow a redirect from https to http. The retries of requests 2.34 end where the answer
begins: a connection that breaks within it is an error, so that the loop below would stay as it is around them.
"""

import contextlib
import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zoo import environment
from zoo.locks import only_process

TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4  # for a connection that fails half-way
PAUSE = 1.0  # seconds before the second attempt; doubles each time
CHUNK = 1 << 20
LARGEST_MEMBER = 4 << 30  # bytes that an archive may unpack to


class DownloadError(OSError):
    """Why a download failed, in one sentence.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.weights.download import DownloadError, download
        >>> try:
        ...     download("http://example.org/net.pth", pathlib.Path(tempfile.mkdtemp()) / "net.pth")
        ... except DownloadError as error:
        ...     print(error)
        http://example.org/net.pth is not fetched: only https addresses are.
    """


class _TransferError(Exception):
    """The connection failed; what has arrived is kept."""


def cache_folder() -> Path:
    """Where downloaded weights are kept.

    Example:
        >>> from zoo.weights.download import cache_folder
        >>> cache_folder().parts[-2:]
        ('grouped-convolution-zoo', 'weights')
    """
    return environment.cache_folder() / "weights"


def download(address: str, path: Path, *, sha256: str = "", sha1: str = "") -> Path:
    """`path`, holding what `address` serves; fetched only where it is not there yet.

    Args:
        address: https only; http where both it and what it redirects to are on this machine.
        path: where the file belongs. Unfinished, it is `path`.part, from which the next call goes on.
        sha256, sha1: the checksum, or its first digits; empty where there is none.

    Raises DownloadError.

    Example:
        >>> import hashlib, pathlib, tempfile
        >>> from zoo.weights.download import download
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.pth"
        >>> path.write_bytes(b"weights")  # a file that is there and has the checksum is not fetched again
        7
        >>> download("https://example.org/net.pth", path, sha256=hashlib.sha256(b"weights").hexdigest()) == path
        True
    """
    if _there(path, sha256, sha1):  # asked without the lock too: the folder may be one that others only read
        return path
    with _alone(path):
        if _there(path, sha256, sha1):
            return path
        _give_up(path)
        part = path.with_name(path.name + ".part")
        resumed = part.exists()
        _complete(address, part)
        if resumed and not _matches(part, sha256, sha1):
            part.unlink()  # the part was of another file, perhaps: once more, from the beginning
            _complete(address, part)
        if not _matches(part, sha256, sha1):
            kind, expected = ("SHA-256", sha256) if sha256 else ("SHA-1", sha1)
            actual = digest(part, kind.replace("-", "").lower())[: max(8, len(expected))]
            part.unlink()
            raise DownloadError(f"{_shown(address)} is not the published file: its {kind} is {actual}, not {expected}.")
        os.replace(part, path)
    return path


def unpack(address: str, path: Path, *, sha1: str = "") -> Path:
    """`path`, the one file of that name in the zip archive that `address` serves, checked against its SHA-1.

    Raises DownloadError as `download` does, or where the archive does not hold the file.

    Example:
        >>> import hashlib, pathlib, tempfile
        >>> from zoo.weights.download import unpack
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.pth"
        >>> path.write_bytes(b"weights")  # unpacked before
        7
        >>> unpack("https://example.org/net.zip", path, sha1=hashlib.sha1(b"weights").hexdigest()) == path
        True
    """
    if _there(path, "", sha1):
        return path
    with _alone(path):
        if _there(path, "", sha1):
            return path
        _give_up(path)
        archive = download(address, path.with_name(path.name + ".zip"))
        part = path.with_name(path.name + ".unpacked")
        try:
            _extract(archive, path.name, part)
            if not _matches(part, "", sha1):
                raise DownloadError(f"{path.name} from {_shown(address)} is not the published file: its SHA-1 differs.")
            os.replace(part, path)
        except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, zlib.error) as error:
            raise DownloadError(f"{_shown(address)} is not the archive that it should be: {error}.") from error
        finally:
            part.unlink(missing_ok=True)
            archive.unlink(missing_ok=True)
    return path


def digest(path: Path, kind: str) -> str:
    """The checksum of a file, in hexadecimal digits.

    Example:
        >>> import pathlib, tempfile
        >>> from zoo.weights.download import digest
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.pth"
        >>> path.write_bytes(b"weights")
        7
        >>> digest(path, "sha256")[:8]
        '9a129038'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _there(path: Path, sha256: str, sha1: str) -> bool:
    return path.exists() and _matches(path, sha256, sha1)


def _give_up(path: Path) -> None:
    if path.exists():
        print(f"{path} does not match its checksum and is fetched again.", file=sys.stderr)
        path.unlink()


def _matches(path: Path, sha256: str, sha1: str) -> bool:
    wanted = {"sha256": sha256, "sha1": sha1}
    return all(digest(path, kind).startswith(value.lower()) for kind, value in wanted.items() if value)


def _extract(archive: Path, name: str, target: Path) -> None:
    """Copy the member `name`, and it alone; its path in the archive decides nothing."""
    with zipfile.ZipFile(archive) as opened:
        members = [member for member in opened.infolist() if member.filename == name]
        if len(members) != 1:
            listed = ", ".join(repr(each) for each in opened.namelist()[:3])
            raise ValueError(f"it should hold one {name!r}, and holds {listed or 'nothing'}")
        size = members[0].file_size
        if size > LARGEST_MEMBER:
            raise ValueError(f"{name} would have {size} bytes, more than the {LARGEST_MEMBER} allowed")
        with opened.open(members[0]) as source, target.open("wb") as file:
            while chunk := source.read(CHUNK):
                file.write(chunk)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds `path` against other processes, and turns what the disk refuses into one sentence."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with only_process(path.with_name(path.name + ".lock"), f"fetches {path.name}"):
            yield
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"{path} cannot be written: {error.strerror or error}.") from error


def _complete(address: str, part: Path) -> None:
    """Bring `part` to the end of the file, in several attempts where the connection breaks."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            return _transfer(address, part)
        except _TransferError as error:
            reason = error
    received = part.stat().st_size if part.exists() else 0
    raise DownloadError(
        f"{_shown(address)} could not be fetched: {reason}; {received} bytes are kept, and the next attempt goes on "
        "there."
    )


def _transfer(address: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "grouped-convolution-zoo", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    _check_scheme(address, address)
    opener = urllib.request.build_opener(_Redirects)
    try:
        with opener.open(urllib.request.Request(address, headers=headers), timeout=TIMEOUT) as response:
            have, total = _span(response, have)
            _copy(response, part, have, total)
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # nothing is missing
        if error.code == 416:
            part.unlink()
            raise _TransferError("the unfinished file was longer than the published one") from error
        if error.code in (408, 429) or error.code >= 500:
            raise _TransferError(f"the server answers {error.code} {error.reason}") from error
        raise DownloadError(f"{_shown(address)} could not be fetched: {error.code} {error.reason}.") from error
    except urllib.error.URLError as error:
        raise DownloadError(f"{_shown(address)} cannot be reached: {error.reason}.") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _TransferError(f"{error or type(error).__name__}") from error


def _span(response: Any, have: int) -> tuple[int, int | None]:
    """From which byte the answer begins, and how many the file has, where the server says so."""
    length = response.headers.get("Content-Length")
    if response.status == 206:
        span = response.headers.get("Content-Range", "").removeprefix("bytes ")
        if span.partition("-")[0] != str(have):
            raise DownloadError(f"{_shown(response.url)} answers with bytes {span!r} where {have}- were asked for.")
        total = span.partition("/")[2]
        return have, int(total) if total.isdigit() else None
    return 0, int(length) if length and length.isdigit() else None


def _copy(response: Any, part: Path, have: int, total: int | None) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    console = Console(stderr=True)
    with (
        part.open("r+b" if have else "wb") as file,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        file.seek(have)
        task = progress.add_task(part.name.removesuffix(".part"), completed=have, total=total)
        while chunk := response.read1(CHUNK):
            have += file.write(chunk)
            progress.update(task, completed=have)
    if total is not None and have < total:
        raise _TransferError(f"the connection ended after {have} of {total} bytes")
    if total is not None and have > total:
        part.unlink()
        raise _TransferError(f"{have} bytes came where {total} were announced")


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, request: urllib.request.Request, file: Any, code: int, message: str, headers: Any, address: str
    ) -> urllib.request.Request | None:
        _check_scheme(request.full_url, address)
        return super().redirect_request(request, file, code, message, headers, address)


def _check_scheme(asked: str, address: str) -> None:
    """Raise DownloadError unless `address`, asked for through `asked`, is https, or http and both on this machine."""
    here = all(urlsplit(each).hostname in ("127.0.0.1", "localhost", "::1") for each in (asked, address))
    scheme = urlsplit(address).scheme
    if scheme != "https" and not (scheme == "http" and here):
        via = f", to which {_shown(asked)} leads," if asked != address else ""
        raise DownloadError(f"{_shown(address)}{via} is not fetched: only https addresses are.")


def _shown(address: str) -> str:
    """An address for a message: without the user, the password and the signature that it may carry."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
