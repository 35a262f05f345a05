"""Gather the facts of a machine that `doctor` judges. Imports no torch."""

from __future__ import annotations

import fcntl
import os
import platform
import resource
import shutil
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.assets.embedded import embedded_damage
from harness.assets.find_data import MRPC_VARIABLE
from harness.assets.hub import default_hub
from harness.assets.packages import PACKAGED, packaged_damage, packaged_folder
from harness.assets.places import hub_cache, wanted_cache_root
from harness.data.checking import plan_data
from harness.errors import InvalidInputError
from harness.machine.facts import available_devices, describe_gpus, installed_torch, nvidia_driver
from harness.machine.requirements import Package, own_requirements, required
from harness.model.environment import Torch
from harness.model.tasks import Task

HUB_SECONDS: Final = 3.0
# Linux reports larger numbers for "no limit".
_UNLIMITED: Final = 2**62


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that a run writes to or would create.

    `error` is the reason why it cannot be written, None if it can. `free_bytes` is the space left, None if
    unknown. `locks` is whether its file system enforces file locks between processes, None if not tested.
    """

    path: Path
    error: str | None = None
    free_bytes: int | None = None
    locks: bool | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Ray cluster: its nodes that can run trials, and why the others cannot.

    `error` is the reason why it cannot be used, and `advice` follows it. `named` is false where no address
    was given, and the cluster of this machine was found.
    """

    address: str
    named: bool
    nodes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    error: str | None = None
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that `doctor` judges.

    `gpus` maps `cuda:0` and so on to names; `driver` is the NVIDIA driver's version, None without one. `hub`
    is None if the Hub answered, else why it was not asked or did not answer. `mrpc` describes the folder in
    HARNESS_MRPC_DIR, None if that is unset. `limits` maps names to the finite resource limits of this
    process. `damaged` describes embedded files that differ from their pinned digests, None if all agree;
    `fetched` describes the damage of each fetched checkpoint, None for an intact one. `cluster` is the Ray
    cluster that was named or runs here, None without one.
    """

    python: str
    packages: tuple[Package, ...]
    training_packages: tuple[Package, ...]
    torch: Torch
    devices: tuple[str, ...]
    gpus: Mapping[str, str]
    driver: str | None
    reports: Place
    cache: Place
    hub_cache: Place
    hub_endpoint: str
    hub: str | None
    mrpc: str | None
    environ: Mapping[str, str] = field(repr=False)
    limits: Mapping[str, int] = field(default_factory=dict)
    damaged: str | None = None
    fetched: Mapping[str, str | None] = field(default_factory=dict)
    cluster: Cluster | None = None


def gather(reports: Path, *, offline: bool) -> Facts:
    """Gather the facts of this machine without leaving files; with `offline` do not ask the Hub."""
    lines, endpoint = own_requirements(), default_hub().endpoint
    return Facts(
        python=platform.python_version(),
        packages=required(lines, None),
        training_packages=required(lines, "train"),
        torch=installed_torch(),
        devices=available_devices(),
        gpus={name: gpu.name for name, gpu in describe_gpus().items()},
        driver=nvidia_driver(),
        reports=look_at(reports, try_lock=True),
        cache=look_at(wanted_cache_root()),
        hub_cache=look_at(hub_cache()),
        hub_endpoint=endpoint,
        hub="not asked: --offline" if offline else ask_hub(endpoint),
        mrpc=_mrpc() if os.environ.get(MRPC_VARIABLE) else None,
        environ=os.environ,
        limits=_limits(),
        damaged=embedded_damage(),
        fetched={name: packaged_damage(name) for name in PACKAGED if packaged_folder(name) is not None},
    )


def _mrpc() -> str:
    """Describe the folder in HARNESS_MRPC_DIR, or its problems."""
    try:
        return plan_data(Task(), "auto")
    except InvalidInputError as error:
        return f"unavailable: {error.one_line}"


def _limits() -> dict[str, int]:
    """Return the resource limits that can end a run."""
    kinds = {"CPU seconds": resource.RLIMIT_CPU, "bytes in one file": resource.RLIMIT_FSIZE}
    found = {name: resource.getrlimit(kind)[0] for name, kind in kinds.items()}
    return {name: limit for name, limit in found.items() if 0 <= limit < _UNLIMITED}


def look_at(path: Path, *, try_lock: bool = False) -> Place:
    """Test whether a folder can be written or created, without creating it."""
    place = path.absolute()
    try:
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        free = shutil.disk_usage(place).free
        with tempfile.NamedTemporaryFile(dir=place, prefix=".harness-doctor-") as file:
            file.write(b"\0" * 4_096)
            file.flush()
            return Place(path, None, free, _keeps_locks(Path(file.name)) if try_lock else None)
    except OSError as error:
        return Place(path, os.strerror(error.errno) if error.errno else str(error))


def _keeps_locks(file: Path) -> bool:
    """Return whether a second lock on a file fails; some network file systems ignore locks."""
    try:
        with file.open("rb") as first, file.open("rb") as second:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    except OSError:
        return False
    return False


def ask_hub(endpoint: str, *, seconds: float = HUB_SECONDS) -> str | None:
    """Return None if the Hub answers one request within the time, else the reason."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return "not asked: HF_HUB_OFFLINE is set"
    answers: list[str | None] = []
    asking = threading.Thread(target=lambda: answers.append(_answer(endpoint, seconds)), daemon=True)
    asking.start()
    # Resolving the host name has no timeout.
    asking.join(seconds + 1)
    return answers[0] if answers else f"no answer within {seconds:g} s"


def _answer(endpoint: str, seconds: float) -> str | None:
    try:
        # The password in the address is for downloads; a refusal without it also shows that the Hub is up.
        parts = urllib.parse.urlsplit(endpoint)
        address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        question = urllib.request.Request(address, method="HEAD")  # noqa: S310 -- the user's own endpoint
        with urllib.request.urlopen(question, timeout=seconds):  # noqa: S310 -- as above
            return None
    except urllib.error.HTTPError as error:
        # Any answer shows that the Hub is up, except a server error.
        return f"it answered HTTP {error.code}" if error.code >= 500 else None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"cannot be reached ({reason})"
