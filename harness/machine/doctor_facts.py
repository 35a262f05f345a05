"""What there is to know of a machine before a run: gathered here, judged in `doctor`. Imports no torch."""

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
from harness.model.trial import Task

HUB_SECONDS: Final = 3.0
# Below Linux's way of saying "without a limit".
_UNLIMITED: Final = 2**62


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that a run writes to, or would make: `error` says why it cannot be written, None where it can.

    `free_bytes` is the space left there, None where the system does not tell. `locks` says whether its file
    system keeps a second process out of a locked file, None where that was not tried.
    """

    path: Path
    error: str | None = None
    free_bytes: int | None = None
    locks: bool | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the doctor judges.

    `gpus` are their names by `cuda:0` and on; `driver` is the NVIDIA driver's version, None without one.
    `hub` is None where it answered, else why it was not asked or did not. `mrpc` is what became of the
    folder that HARNESS_MRPC_DIR names, None where it names none. `limits` are the finite resource limits of
    this process, by name. `damaged` tells which embedded files are not as they were packed, None if all
    are; `fetched` gives the damage of each fetched checkpoint, None for an intact one.
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


def gather(reports: Path, *, offline: bool) -> Facts:
    """Look at this machine; with `offline` the Hub is not asked. Nothing is left on disk."""
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
    """Describe the folder that HARNESS_MRPC_DIR names, or its problems."""
    try:
        return plan_data(Task(), "auto")
    except InvalidInputError as error:
        return f"unavailable: {error.one_line}"


def _limits() -> dict[str, int]:
    """Resource limits that can end a run."""
    kinds = {"CPU seconds": resource.RLIMIT_CPU, "bytes in one file": resource.RLIMIT_FSIZE}
    found = {name: resource.getrlimit(kind)[0] for name, kind in kinds.items()}
    return {name: limit for name, limit in found.items() if 0 <= limit < _UNLIMITED}


def look_at(path: Path, *, try_lock: bool = False) -> Place:
    """Whether a folder can be written to, or made, without making it."""
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
    """Whether a file locked once cannot be locked again; some network file systems only pretend."""
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
    """None where the Hub answers within the time, else why not; it is asked once."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return "not asked: HF_HUB_OFFLINE is set"
    answers: list[str | None] = []
    asking = threading.Thread(target=lambda: answers.append(_answer(endpoint, seconds)), daemon=True)
    asking.start()
    # Finding the address has no time limit of its own.
    asking.join(seconds + 1)
    return answers[0] if answers else f"no answer within {seconds:g} s"


def _answer(endpoint: str, seconds: float) -> str | None:
    try:
        # A password in the address is for whoever downloads; being refused without it is an answer too.
        parts = urllib.parse.urlsplit(endpoint)
        address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        question = urllib.request.Request(address, method="HEAD")  # noqa: S310 -- the user's own endpoint
        with urllib.request.urlopen(question, timeout=seconds):  # noqa: S310 -- as above
            return None
    except urllib.error.HTTPError as error:
        # Whatever it says to this question, it is there; unless it says that it is down.
        return f"it answered HTTP {error.code}" if error.code >= 500 else None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"cannot be reached ({reason})"
