"""Whether a trial reads the files that its run resolved: on this machine later, or on another node.

A file's digest is remembered by inode, size, modification and change time, so that a second look costs a
`stat` a file. An edit that sets the modification time back is found, since the change time cannot be set. Not
found are: writes through a memory map on a file system that does not update the times for them (tmpfs), a
network file system that serves old attributes, and a file that is changed and changed back between two looks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, TypeVar

from harness.assets.digest import checkpoint_digests, files_sha256
from harness.foreign import ForeignFileError, name_of_file
from harness.model.job import Job, TrialStoppedError

T = TypeVar("T")

_PARTS: Final = {"weights": "the weights", "config": "config.json", "tokenizer": "the tokenizer files"}
_DIGITS: Final = 12
_HINT: Final = (
    "restore the file, or run the suite again, so that every trial uses the new one; on a cluster, "
    "give every node the same files"
)


def verify_inputs(job: Job) -> None:
    """Compare the checkpoint's and the data set's files with the digests in the job.

    Raises:
        TrialStoppedError: `failed`, naming what differs.
    """
    verify_checkpoint(job)
    if job.data.files_sha256 is not None:
        what = f"data set {job.data.name}"
        found = _digest(lambda: files_sha256(job.data.files), what)
        _compare(f"the files of {what}", job.data.files_sha256, found)


def verify_checkpoint(job: Job, parts: Collection[str] = tuple(_PARTS)) -> None:
    """Compare these parts of the checkpoint with the digests in the job: `weights`, `config`, `tokenizer`.

    Raises:
        TrialStoppedError: `failed`, naming the part that differs.
    """
    if job.checkpoint.digests is None:
        return
    what = f"checkpoint {job.checkpoint.name}"
    found = _digest(lambda: checkpoint_digests(Path(job.checkpoint.path)), what)
    for part in parts:
        _compare(f"{_PARTS[part]} of {what}", getattr(job.checkpoint.digests, part), getattr(found, part))


def _digest(take: Callable[[], T], what: str) -> T:
    try:
        return take()
    except OSError as error:
        why = f"cannot be read any more: {error.strerror}"
        if isinstance(error, ForeignFileError):
            why = f"cannot be read any more: it {error}"
        raise TrialStoppedError("failed", f"{name_of_file(error)} of {what} {why}", hint=_HINT) from error


def _compare(what: str, then: str, now: str) -> None:
    if then != now:
        raise TrialStoppedError(
            "failed",
            f"{what} changed since the run started (sha256 was {then[:_DIGITS]}, is {now[:_DIGITS]})",
            hint=_HINT,
        )
