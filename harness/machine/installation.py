"""Where harness was installed from, and the command that installs it there with one of its extras.

Installers record the source in `direct_url.json` (PEP 610): a checkout, an archive, or a repository.
"""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def install_command(extra: str | None, needs: Sequence[str], origin: Mapping[str, Any] | None) -> str:
    """A shell command that installs what is missing into the environment of this interpreter.

    Args:
        extra: the extra that is needed, None for harness itself.
        needs: the requirements that are not met, for an `origin` that does not tell where harness came from.
        origin: the content of `direct_url.json`, None without one.
    """
    pip = f"{shlex.quote(sys.executable)} -m pip install"
    wanted = "" if extra is None else f"[{extra}]"
    url = str((origin or {}).get("url", ""))
    folder = _local(url)
    if folder is not None and folder.is_dir():
        editable = "-e " if (origin or {}).get("dir_info", {}).get("editable") else ""
        return f"cd {shlex.quote(str(folder))} && {pip} {editable}{shlex.quote(f'.{wanted}')}"
    if origin is not None and url and (folder is None or folder.is_file()):
        return f"{pip} {shlex.quote(f'harness{wanted} @ {_pinned(url, origin)}')}"
    return f"{pip} {' '.join(map(shlex.quote, needs))}"


def own_origin() -> Mapping[str, Any] | None:
    """The `direct_url.json` of the installed harness; without one, the checkout that this code lies in."""
    try:
        text = importlib.metadata.distribution("harness").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        text = None
    if text is not None:
        return _mapping(text)
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").is_file():
        return {"url": checkout.as_uri(), "dir_info": {"editable": True}}
    return None


def _mapping(text: str) -> Mapping[str, Any] | None:
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _local(url: str) -> Path | None:
    parts = urllib.parse.urlsplit(url)
    return Path(urllib.request.url2pathname(parts.path)) if parts.scheme == "file" else None


def _pinned(url: str, origin: Mapping[str, Any]) -> str:
    """The address as a requirement names it: a repository with its kind and commit."""
    repository = origin.get("vcs_info")
    if repository is not None:
        url = f"{repository['vcs']}+{url}@{repository['commit_id']}"
    subdirectory = origin.get("subdirectory")
    return f"{url}#subdirectory={subdirectory}" if subdirectory else url
