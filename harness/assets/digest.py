"""What a checkpoint's weights or a data set's files are, as one number that a report can hold."""

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
# Several times the longest tick of the clocks that file systems stamp with, 10 ms.
_TICK_NS: Final = 50_000_000


def weights_sha256(folder: Path) -> str:
    """SHA-256 over the names and bytes of a folder's safetensors files, in the order of their names.

    A folder with one file called `model.safetensors` gives that file's own sum, the one the Hub shows. Where
    there is none of that name, the index that lists the shards counts too.
    """
    sums = {file.name: file_sha256(file) for file in sorted(folder.glob("*.safetensors"))}
    if WEIGHTS not in sums and (folder / INDEX).is_file():
        sums[INDEX] = file_sha256(folder / INDEX)
    return sums[WEIGHTS] if [*sums] == [WEIGHTS] else _together(sums.items())


def config_sha256(folder: Path) -> str:
    """SHA-256 of a checkpoint's `config.json`."""
    return file_sha256(folder / "config.json")


def tokenizer_sha256(folder: Path) -> str:
    """SHA-256 over the names and bytes of a checkpoint's tokenizer files, those that are there."""
    present = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    return _together((name, file_sha256(folder / name)) for name in present)


def checkpoint_digests(folder: Path) -> CheckpointDigests:
    """The digests of everything in a checkpoint's folder that changes a result."""
    return CheckpointDigests(
        weights=weights_sha256(folder), config=config_sha256(folder), tokenizer=tokenizer_sha256(folder)
    )


def files_sha256(files: Mapping[str, Sequence[str]]) -> str:
    """SHA-256 over the split names and bytes of a data set's files; `files` has the parts of each split."""
    return _together((split, file_sha256(Path(part))) for split in sorted(files) for part in files[split])


def file_sha256(file: Path) -> str:
    """SHA-256 of one file, taken again only when the file is another or was touched since.

    Its inode, size and both of its times tell; the time of change cannot be set back by who writes. The sum
    of a file that changed a moment ago is not remembered: a second change could get the same time.
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
