"""Whether a data set can be obtained at all: a quick answer in place of minutes of retries."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums, resource
from tensorflow_datasets.core.read_only_builder import ReadOnlyBuilder

from zoo.errors import UserError

CONNECT_TIMEOUT = 5.0  # seconds for the hosts, all asked at once; TFDS itself retries for over three minutes


class DataUnavailableError(UserError):
    """A data set is neither prepared nor obtainable; says which, from where, why and what to do."""


def reason_not_obtainable(builder: tfds.core.DatasetBuilder) -> str | None:
    """Why preparing would certainly fail (one clause), None where it may succeed.

    A data set's registered addresses serve all its configs, so one host that answers is enough to try.
    """
    root = Path(builder.data_dir_root)
    if isinstance(builder, ReadOnlyBuilder):
        return "it was opened from its files alone and TFDS has no code that would prepare it"
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        manual = root / "downloads" / "manual"
        if not manual.is_dir() or not any(manual.iterdir()):
            return f"its files must be fetched by hand and {manual} is empty"
        return None
    infos = builder.url_infos or {}
    hosts = sorted({_host(url) for url, info in infos.items() if not _in_hand(root, builder.name, url, info)} - {""})
    failures: dict[str, str | None] = {}
    # Name look-ups obey no timeout of their own, so threads do the asking and slow ones are left behind.
    threads = [threading.Thread(target=_try_host, args=(host, failures), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + CONNECT_TIMEOUT
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    reasons = [failures.get(host, f"no answer within {CONNECT_TIMEOUT:.0f} s") for host in hosts]
    return f"{hosts[0]} cannot be reached ({reasons[0]})" if reasons and all(reasons) else None


def unavailable(builder: tfds.core.DatasetBuilder, why: str, broken: str | None) -> DataUnavailableError:
    """The error for `builder`: names its addresses and the two ways to provide it without them."""
    manual = Path(builder.data_dir_root) / "downloads" / "manual"
    urls = sorted(builder.url_infos or {})
    origin = ", ".join(urls[:4]) + (f" and {len(urls) - 4} more" if len(urls) > 4 else "") if urls else "its homepage"
    state = f"is broken ({broken})" if broken else f"is not prepared in {builder.data_dir_root}"
    how = " ".join((builder.MANUAL_DOWNLOAD_INSTRUCTIONS or "").split())
    files = f"put the files into {manual}: {how}" if how else f"put the downloaded files into {manual} and start again."
    return DataUnavailableError(
        f"The data set {builder.info.full_name} {state} and cannot be obtained from {origin}: {why}. Copy a "
        f"folder that TFDS prepared elsewhere to {builder.data_dir}, or {files}"
    )


def _host(url: str) -> str:
    """Name and port behind an address; empty where it is no address on the network."""
    parts = urlsplit(url)
    port = {"http": 80, "https": 443, "ftp": 21}.get(parts.scheme)
    return f"{parts.hostname}:{parts.port or port}" if port and parts.hostname else ""


def _in_hand(root: Path, name: str, url: str, info: checksums.UrlInfo) -> bool:
    """Whether TFDS would find the file of `url` on disk: put there by hand, or downloaded earlier."""
    downloads = root / "downloads"
    if info.filename and (downloads / "manual" / info.filename).exists():
        return True
    cached = resource.get_dl_fname(url, info.checksum)
    return any((folder / cached).exists() for folder in (downloads, downloads / name))


def _try_host(host: str, failures: dict[str, str | None]) -> None:
    """Stores under `host` (name:port) why no connection opens, to it or its proxy; None where one does."""
    target = host
    proxy = getproxies().get("https") or getproxies().get("http")
    if proxy and not proxy_bypass(host):
        parts = urlsplit(proxy if "://" in proxy else f"//{proxy}")
        target = f"{parts.hostname}:{parts.port or 80}"
    name, _, port = target.rpartition(":")
    try:
        socket.create_connection((name, int(port)), CONNECT_TIMEOUT).close()
        failures[host] = None
    except OSError as error:
        failures[host] = error.strerror or str(error) or type(error).__name__
