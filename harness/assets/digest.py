"""SHA-256 digests of checkpoints and data sets, which identify them in a report."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from harness.assets.checkpoint_folder import INDEX, TOKENIZER_FILES, WEIGHTS
from harness.foreign import open_regular
from harness.model.assets import CheckpointDigests

_REMEMBERED: Final = 256
# Several times the coarsest resolution of file system timestamps, 10 ms.
_TICK_NS: Final = 50_000_000


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 over the names and bytes of a folder's safetensors files, sorted by name.

    For a single `model.safetensors` it is the digest of that file, which the Hub shows. For shards, their
    index is included.
    """
    sums = {file.name: file_sha256(file) for file in sorted(folder.glob("*.safetensors"))}
    if WEIGHTS not in sums and (folder / INDEX).is_file():
        sums[INDEX] = file_sha256(folder / INDEX)
    return sums[WEIGHTS] if [*sums] == [WEIGHTS] else _together(sums.items())


def config_sha256(folder: Path) -> str:
    """Return the SHA-256 of a checkpoint's `config.json`."""
    return file_sha256(folder / "config.json")


def tokenizer_sha256(folder: Path) -> str:
    """Return the SHA-256 over the names and bytes of the tokenizer files that a checkpoint has."""
    present = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    return _together((name, file_sha256(folder / name)) for name in present)


def checkpoint_digests(folder: Path) -> CheckpointDigests:
    """Return the digests of all files in a checkpoint's folder that affect a result."""
    return CheckpointDigests(
        weights=weights_sha256(folder), config=config_sha256(folder), tokenizer=tokenizer_sha256(folder)
    )


def files_sha256(files: Mapping[str, Sequence[str]]) -> str:
    """Return the SHA-256 over the split names and bytes of a data set; `files` maps a split to its parts."""
    return _together((split, file_sha256(Path(part))) for split in sorted(files) for part in files[split])


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of one file, from a cache unless the file changed.

    A change shows in the inode, the size, the modification time or the change time; a writer cannot set the
    change time back. The digest of a file that changed within the last 50 ms is not cached: a second change
    could get the same timestamp.
    """
    now = file.stat()
    identity = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    settled = time.time_ns() - now.st_ctime_ns > _TICK_NS
    return (_sum if settled else _sum.__wrapped__)(file.absolute(), identity)


@lru_cache(_REMEMBERED)
def _sum(file: Path, _identity: tuple[int, ...]) -> str:
    with os.fdopen(open_regular(file), "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _together(sums: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256("".join(f"{total}  {name}\n" for name, total in sums).encode()).hexdigest()
