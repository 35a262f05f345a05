"""One file for the token arrays of a data set: written whole, read whole, used only if every byte is intact.

An entry is a line of text and a safetensors payload. The line names the format, the entry's key and the
payload's SHA-256, so that a damaged entry and an entry of another key are both found out. The arrays are read
into memory, not mapped: a mapped file could still change after it was checked.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from harness.errors import StorageError
from harness.store.folders import make_folder
from harness.store.writing import write_atomic

FORMAT: Final = "harness tokens 2"
SPLITS: Final = ("train", "evaluation")
_OVERHEAD_BYTES: Final = 2**16
_BYTES_A_TOKEN: Final = 5
_BYTES_AN_OFFSET: Final = 8


class TokenArrays(NamedTuple):
    """One split without labels: example i is `input_ids[offsets[i]:offsets[i + 1]]`, N examples, T tokens.

    Shapes: `input_ids` and `token_type_ids` (T,), `offsets` (N + 1,).
    """

    input_ids: npt.NDArray[np.int32]
    token_type_ids: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]


_DTYPES: Final = {"input_ids": np.int32, "token_type_ids": np.uint8, "offsets": np.int64}


@dataclass(frozen=True, slots=True)
class Entry:
    """A cache entry: the arrays of both splits, and the number of examples that were truncated."""

    train: TokenArrays
    evaluation: TokenArrays
    pad_token_id: int
    truncated: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What a reader expects of an entry: its key, the examples of each split, the tokens of one at most."""

    key: str
    train: int
    evaluation: int
    max_length: int

    @property
    def most_bytes(self) -> int:
        """The size that no entry of this shape exceeds."""
        examples = self.train + self.evaluation
        return examples * (self.max_length * _BYTES_A_TOKEN + _BYTES_AN_OFFSET) + _OVERHEAD_BYTES


class UnusableEntryError(Exception):
    """An entry that must not be used; the message is the reason, without a path."""


def write_entry(file: Path, key: str, entry: Entry) -> str | None:
    """Write an entry durably, in place of whatever file has its name; return why that was not possible.

    Several processes may write the same entry at the same time: each replaces the file as a whole.
    """
    arrays = {
        f"{split}.{name}": np.ascontiguousarray(array)
        for split in SPLITS
        for name, array in getattr(entry, split)._asdict().items()
    }
    numbers = np.array([entry.pad_token_id, entry.truncated], dtype=np.int64)
    payload = save(arrays | {"numbers": numbers})
    try:
        make_folder(file.parent)
        write_atomic(file, [_first_line(key, payload), payload])
    except (OSError, StorageError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        return getattr(cause, "strerror", None) or type(cause).__name__
    return None


def read_entry(file: Path, shape: Shape) -> Entry | None:
    """Read an entry; None if there is no file of that name.

    Raises:
        UnusableEntryError: it is damaged, of another key or shape, no regular file, or cannot be read.
    """
    data = _read(file, shape.most_bytes)
    if data is None:
        return None
    at = data.find(b"\n") + 1
    payload = data[at:]
    if data[:at] != _first_line(shape.key, payload):
        raise UnusableEntryError("its SHA-256 is not the one it was written with")
    try:
        arrays = load(payload)
        train, evaluation = (
            TokenArrays(*(arrays[f"{split}.{name}"] for name in TokenArrays._fields)) for split in SPLITS
        )
        pad_token_id, truncated = arrays["numbers"].tolist()
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UnusableEntryError(f"it has no token arrays ({type(error).__name__})") from error
    _check_split(train, "train", shape.train, shape.max_length)
    _check_split(evaluation, "evaluation", shape.evaluation, shape.max_length)
    if pad_token_id < 0 or not 0 <= truncated <= shape.train + shape.evaluation:
        raise UnusableEntryError("its counts are impossible")
    return Entry(train, evaluation, pad_token_id, truncated)


def _first_line(key: str, payload: bytes) -> bytes:
    return f"{FORMAT} {key} {hashlib.sha256(payload).hexdigest()}\n".encode()


def _read(file: Path, most_bytes: int) -> bytes | None:
    """The bytes of a regular file; a link is not followed, and a pipe or device is not waited for."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnusableEntryError(error.strerror or type(error).__name__) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnusableEntryError("it is not a regular file")
        if found.st_size > most_bytes:
            raise UnusableEntryError(f"it is larger than the {most_bytes:,} bytes its examples can take")
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            return opened.read(found.st_size)
    except OSError as error:
        raise UnusableEntryError(error.strerror or type(error).__name__) from error
    finally:
        os.close(descriptor)


def _check_split(split: TokenArrays, name: str, examples: int, max_length: int) -> None:
    """Make sure that the arrays fit together, and the examples they were made of."""
    for field, dtype in _DTYPES.items():
        array: npt.NDArray[np.generic] = getattr(split, field)
        if array.dtype != dtype or array.ndim != 1:
            raise UnusableEntryError(f"{name}.{field} is {array.dtype} of {array.ndim} dimensions")
    if len(split.offsets) != examples + 1:
        raise UnusableEntryError(f"{name} has {len(split.offsets) - 1:,} examples instead of {examples:,}")
    lengths = np.diff(split.offsets)
    ends = int(split.offsets[0]), int(split.offsets[-1])
    if ends != (0, len(split.input_ids)) or ((lengths < 0) | (lengths > max_length)).any():
        raise UnusableEntryError(f"{name}.offsets do not divide its tokens into examples")
    if len(split.token_type_ids) != len(split.input_ids) or (split.input_ids < 0).any():
        raise UnusableEntryError(f"{name} has a token type or a token id that belongs to no token")
