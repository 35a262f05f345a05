"""The one way a file is written: strict JSON, whole or not at all, and still there after a power loss."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pydantic_core

from harness.errors import InvalidInputError, StorageError
from harness.model.frozen import Frozen
from harness.model.results import Report
from harness.store.migrations import Document

TEMPORARY_NAME: Final = re.compile(r"\.harness-[0-9a-f]{16}\.tmp")

NO_DIGEST: Final = b'"digest": null'
# A newline in the encoder's output is never part of a string, so these meet layout alone.
_FIRST_NUMBER: Final = re.compile(rb"\[\n +(?=[-0-9])")
_NEXT_NUMBER: Final = re.compile(rb"\n +(?=[-0-9])")
_LAST_NUMBER: Final = re.compile(rb"(?<=[0-9])\n +\]")

_DIGEST: Final = re.compile(rb'"digest": "sha256:[0-9a-f]{64}"')
# A report's digest follows its schema version.
_DIGEST_WITHIN_BYTES: Final = 200

WHAT_TO_DO: Final[dict[int, str]] = {
    errno.ENOSPC: "Free some space, then run the same command again: finished trials are kept.",
    errno.EDQUOT: "Free some of the quota, then run the same command again: finished trials are kept.",
    errno.EFBIG: "Raise the limit on file sizes (`ulimit -f`), then run the same command again.",
    errno.EROFS: "Choose a folder on a file system that can be written to.",
    errno.EACCES: "Choose a folder that you may write to, or change its permissions.",
    errno.EPERM: "Choose a folder that you may write to, or change its permissions.",
    errno.EIO: "The disk reports a fault: see the machine's log, then choose another folder.",
}


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o666)


def _fsync(descriptor: int) -> None:
    if hasattr(fcntl, "F_FULLFSYNC"):  # pragma: no cover
        # On macOS fsync stops at the drive's cache.
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def _rename(source: Path, target: Path) -> None:
    source.replace(target)


def _unlink(path: Path) -> None:
    path.unlink()


def _mkdir(path: Path) -> None:
    path.mkdir()


@dataclass(frozen=True)
class Files:
    """The calls by which the store changes a file system, so that a test can fail or crash at each."""

    open: Callable[[Path, int], int] = _open
    write: Callable[[int, bytes], int] = os.write
    fsync: Callable[[int], None] = _fsync
    close: Callable[[int], None] = os.close
    rename: Callable[[Path, Path], None] = _rename
    unlink: Callable[[Path], None] = _unlink
    mkdir: Callable[[Path], None] = _mkdir


OS_FILES: Final = Files()


def to_json(model: Frozen) -> bytes:
    """The model as strict, indented UTF-8 JSON with a newline at the end; a report is sealed by its digest.

    Raises:
        ValueError: The model has NaN, an infinity or a lone surrogate, which JSON cannot represent.
    """
    body = unsealed_json(model)
    if isinstance(model, Report) and model.digest is None:
        return body.replace(NO_DIGEST, b'"digest": "%s"' % digest_of(body).encode(), 1)
    return body


def unsealed_json(model: Frozen | Document) -> bytes:
    """Return the bytes that a report's digest covers: as `to_json`, without filling in the digest."""
    text = _encode(model, indent=2)
    # A list of numbers on one line: one line a number would double a report's size.
    text = _FIRST_NUMBER.sub(b"[", text)
    text = _NEXT_NUMBER.sub(b" ", text)
    return _LAST_NUMBER.sub(b"]", text) + b"\n"


def canonical_json(model: Frozen | Document) -> bytes:
    """Return the bytes that a result's digest covers: without whitespace, fields in their order.

    Raises:
        ValueError: As `to_json` does.
    """
    return _encode(model, indent=None)


def _encode(model: Frozen | Document, indent: int | None) -> bytes:
    try:
        text = pydantic_core.to_json(model, indent=indent)
    except pydantic_core.PydanticSerializationError as error:
        raise ValueError(f"{type(model).__name__} cannot be written as JSON: {error}") from error
    # The words may be part of a string, so parse the rare text that has them.
    if b"NaN" in text or b"Infinity" in text:
        json.loads(text, parse_constant=_refuse_constant)
    return text


def digest_of(data: bytes) -> str:
    """`sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def without_digest(data: bytes) -> bytes:
    """Return the beginning of a report, or all of it, with null in place of its digest, which covers that."""
    head, rest = data[:_DIGEST_WITHIN_BYTES], data[_DIGEST_WITHIN_BYTES:]
    return _DIGEST.sub(NO_DIGEST, head, count=1) + rest


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} cannot be written as JSON")


def write_atomic(path: Path, data: bytes | Iterable[bytes], *, files: Files = OS_FILES) -> None:
    """Write `data` to `path` so that after any crash the file is the old one or the new one, whole.

    A symbolic link at `path` is replaced, not followed. Data in several parts are written one after another.

    Raises:
        StorageError: The operating system refused a step; nothing is left behind, and the old file stays
            unless only the last step, making the new one durable, failed.
    """
    temporary = path.with_name(f".harness-{secrets.token_hex(8)}.tmp")
    try:
        try:
            _write_new(temporary, [data] if isinstance(data, bytes) else data, files)
            files.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                files.unlink(temporary)
            raise
        sync_folder(path.parent, files)
    except OSError as error:
        raise storage_error(error, f"cannot write {path}") from error


def require_writable(path: Path, *, files: Files = OS_FILES) -> None:
    """Check, before the work whose result it gets, that `write_atomic` can write the file.

    Raises:
        InvalidInputError: A folder, a device or a pipe has that name: it would be replaced, or nothing could.
        StorageError: Nothing can be written into its folder.
    """
    temporary = path.parent / f".harness-{secrets.token_hex(8)}.tmp"
    try:
        if path.exists() and not path.is_file():
            raise InvalidInputError(
                f"cannot write {path}: it is a folder, a device or a pipe",
                hint="Name a file, or leave the option out and redirect standard output.",
            )
        files.close(files.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW))
        files.unlink(temporary)
    except OSError as error:
        raise storage_error(error, f"cannot write {path}") from error


def _write_new(path: Path, parts: Iterable[bytes], files: Files) -> None:
    descriptor = files.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
    try:
        for data in parts:
            written = 0
            while written < len(data):
                written += files.write(descriptor, data[written:] if written else data)
        files.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            files.close(descriptor)
        raise
    files.close(descriptor)


def sync_folder(folder: Path, files: Files = OS_FILES) -> None:
    """Make the folder's entries outlive a power loss."""
    descriptor = files.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        files.fsync(descriptor)
    except OSError as error:
        # Some network file systems know no fsync of a folder; their renames are as durable as they get.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        files.close(descriptor)


def storage_error(error: OSError, doing: str) -> StorageError:
    """The error a user sees: what could not be done, the system's own sentence, and what to do."""
    sentence = os.strerror(error.errno) if error.errno is not None else str(error)
    hint = WHAT_TO_DO.get(error.errno or 0, "Fix that, then run the same command again.")
    return StorageError(f"{doing}: {sentence}", hint=hint)
