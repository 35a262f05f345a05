"""What a checkpoint's weights are, as one number that a report can hold."""

from __future__ import annotations

import hashlib
from pathlib import Path


def weights_sha256(folder: Path) -> str:
    """SHA-256 over the names and bytes of a folder's safetensors files, in the order of their names.

    A folder with one file called `model.safetensors` gives that file's own sum, the one the Hub shows.
    """
    files = sorted(folder.glob("*.safetensors"))
    sums = [(file.name, file_sha256(file)) for file in files]
    if len(sums) == 1 and sums[0][0] == "model.safetensors":
        return sums[0][1]
    return hashlib.sha256("".join(f"{total}  {name}\n" for name, total in sums).encode()).hexdigest()


def file_sha256(file: Path) -> str:
    """SHA-256 of one file, read in pieces."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
