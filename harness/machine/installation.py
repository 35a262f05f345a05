"""Determine where harness was installed from, and the command that installs it with one of its extras.

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
    """Return a shell command that installs an extra into the environment of this interpreter.

    Args:
        extra: the required extra, None for harness without extras.
        needs: the unmet requirements, named in the command if `origin` does not identify harness' source.
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
    """Return the `direct_url.json` of the installed harness, or else one for the checkout of this file."""
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
    """Return the address in the form of a requirement: a repository has its kind and commit."""
    repository = origin.get("vcs_info")
    if repository is not None:
        url = f"{repository['vcs']}+{url}@{repository['commit_id']}"
    subdirectory = origin.get("subdirectory")
    return f"{url}#subdirectory={subdirectory}" if subdirectory else url
