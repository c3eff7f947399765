"""Whether a data set can be obtained at all: a quick answer in place of minutes of retries, and what to do instead."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums, resource

CONNECT_TIMEOUT = 5.0  # seconds for the hosts, all asked at once; TFDS itself retries for over three minutes


class DataUnavailable(RuntimeError):
    """A data set is neither prepared nor obtainable; the message says which, from where, why and what to do."""


def reason_not_obtainable(builder: tfds.core.DatasetBuilder) -> str | None:
    """Why preparing would certainly fail (one clause), None where it may succeed.

    A data set's registered addresses serve all its configs, so one host that answers is enough to try.
    """
    root = Path(builder.data_dir_root)
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        manual = root / "downloads" / "manual"
        if not manual.is_dir() or not any(manual.iterdir()):
            return f"its files must be fetched by hand and {manual} is empty"
        return None
    infos = builder.url_infos or {}
    hosts = sorted({_host(url) for url, info in infos.items() if not _in_hand(root, builder.name, url, info)} - {""})
    if not hosts:
        return None
    with ThreadPoolExecutor(max_workers=min(16, len(hosts))) as pool:
        failures = list(pool.map(_unreachable, hosts))
    if all(failures):
        return f"{hosts[0]} cannot be reached ({failures[0]})"
    return None


def unavailable(builder: tfds.core.DatasetBuilder, why: str, broken: str | None) -> DataUnavailable:
    """The error for `builder`: names its addresses and the two ways to provide it without them."""
    manual = Path(builder.data_dir_root) / "downloads" / "manual"
    urls = sorted(builder.url_infos or {})
    origin = ", ".join(urls[:4]) + (f" and {len(urls) - 4} more" if len(urls) > 4 else "") if urls else "its homepage"
    state = f"is broken ({broken})" if broken else f"is not prepared in {builder.data_dir_root}"
    how = " ".join((builder.MANUAL_DOWNLOAD_INSTRUCTIONS or "").split())
    files = f"put the files into {manual}: {how}" if how else f"put the downloaded files into {manual} and start again."
    return DataUnavailable(
        f"The data set {builder.info.full_name} {state} and cannot be obtained from {origin}: {why}. "
        f"Copy a folder that TFDS prepared elsewhere to {builder.data_dir}, or {files}")


def _host(url: str) -> str:
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] if parts.scheme in ("http", "https", "ftp") else ""


def _in_hand(root: Path, name: str, url: str, info: checksums.UrlInfo) -> bool:
    """Whether TFDS would find the file of `url` on disk: put there by hand, or downloaded earlier."""
    downloads = root / "downloads"
    if info.filename and (downloads / "manual" / info.filename).exists():
        return True
    cached = resource.get_dl_fname(url, info.checksum)
    return any((folder / cached).exists() for folder in (downloads, downloads / name))


def _unreachable(host: str) -> str | None:
    """Why no connection to `host` (name or name:port), or to the proxy in front of it, can be opened."""
    target = host
    proxy = getproxies().get("https") or getproxies().get("http") or os.environ.get("ALL_PROXY")
    if proxy and not proxy_bypass(host.partition(":")[0]):
        target = urlsplit(proxy if "://" in proxy else f"//{proxy}").netloc.rpartition("@")[2]
    name, _, port = target.partition(":")
    # Name look-ups obey no timeout of their own, so the whole attempt runs under one.
    pool = ThreadPoolExecutor(max_workers=1)
    attempt = pool.submit(socket.create_connection, (name, int(port or 443)), CONNECT_TIMEOUT)
    try:
        attempt.result(timeout=CONNECT_TIMEOUT).close()
    except TimeoutError:
        return f"no answer within {CONNECT_TIMEOUT:.0f} s"
    except OSError as error:
        return error.strerror or str(error)
    finally:
        pool.shutdown(wait=False)
    return None
