"""Check a safetensors file by its header: https://huggingface.co/docs/safetensors describes the format.

Eight bytes give the length of the header, little-endian; the header is JSON; the tensors follow and fill the
file to its last byte. The check detects a truncated download before a trial starts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from harness.errors import UnavailableError
from harness.foreign import ForeignFileError, open_regular

# The limit of the safetensors library.
LARGEST_HEADER_BYTES: Final = 100_000_000
_PREFIX: Final = 8
_NEXT: Final = "Download the checkpoint again, or write it again with save_pretrained."


def check_safetensors(name: str, file: Path) -> None:
    """Refuse a file that the library could not load, without reading its tensors.

    Args:
        name: the checkpoint, for the message.
        file: one of its safetensors files.

    Raises:
        UnavailableError: not a regular file, an invalid header, or a size that differs from the header's.
    """
    try:
        with os.fdopen(open_regular(file), "rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            length = int.from_bytes(opened.read(_PREFIX), "little")
            if size < _PREFIX or length > min(size - _PREFIX, LARGEST_HEADER_BYTES):
                raise ForeignFileError(f"has no safetensors header ({size:,} bytes)")
            expected = _PREFIX + length + _data_bytes(opened.read(length))
    except OSError as error:
        raise UnavailableError(f"{name}: {file.name} {unreadable(error)}", hint=_NEXT) from error
    if size != expected:
        raise UnavailableError(
            f"{name}: {file.name} has {size:,} bytes, its header describes {expected:,}", hint=_NEXT
        )


def unreadable(error: OSError) -> str:
    """Return why a file cannot be read, to follow its name in a sentence."""
    return str(error) if isinstance(error, ForeignFileError) else f"cannot be read: {error.strerror or error}"


def _data_bytes(header: bytes) -> int:
    """Return how many bytes of tensors a header describes."""
    try:
        tensors: dict[str, Any] = json.loads(header)
        ends = [tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"]
        return int(max(ends, default=0))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ForeignFileError("has no valid safetensors header") from error
