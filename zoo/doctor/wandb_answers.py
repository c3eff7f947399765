"""How a run would be tracked, asked in a process of its own: `python -m zoo.doctor.wandb_answers`."""

from __future__ import annotations

import netrc
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zoo.doctor.asking import answer
from zoo.doctor.rows import shown

SECONDS = 60.0
PARTS = ("tracking",)


def tracking() -> Mapping[str, Any]:
    """The mode that `train.py` would take, and why; where an API key is from, never what it is. Asks no server."""
    from zoo.tracking.config import TrackingConfig
    from zoo.tracking.connection import configured

    connection = configured(TrackingConfig())
    assert connection.settings is not None  # of mode auto, which imports W&B
    parts = urlsplit(connection.settings.base_url)
    address = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "") + parts.path
    return {
        "mode": connection.mode,
        "why": shown(connection.why) or None,
        "key_from": key_source(connection.settings.api_key),
        "base_url": address,
    }


def key_source(key: str | None) -> str | None:
    """Where W&B's client has its API key from; None where it has none."""
    for variable in ("WANDB_IDENTITY_TOKEN_FILE", "WANDB_API_KEY"):
        if os.environ.get(variable):
            return variable
    if not key:
        return None
    files = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for file in files:
        with suppress(OSError, netrc.NetrcParseError):
            if any(password == key for _, _, password in netrc.netrc(str(Path(file).expanduser())).hosts.values()):
                return "netrc"
    return "settings"


if __name__ == "__main__":
    # W&B's client writes logs, which nobody would look for after a report.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["WANDB_CACHE_DIR"] = folder
        answer({"tracking": tracking})
