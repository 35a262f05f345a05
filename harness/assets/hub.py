"""Download a repository's files from the Hub, and tell a missing, a gated and an unreachable one apart."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from harness.assets.hub_cache import RepoKind, Snapshot
from harness.errors import HarnessError, StorageError, UnavailableError

DEFAULT_ENDPOINT: Final = "https://huggingface.co"
ANSWER_TIMEOUT_SECONDS: Final = 5.0
_OF_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO})

Choose = Callable[[Sequence[str]], Sequence[str]]


class HubUnreachableError(UnavailableError):
    """The Hub did not answer, or answered that it is down: the repository may still exist."""


@dataclass
class Hub:
    """One endpoint. After it could not be reached, later requests fail at once instead of waiting again."""

    endpoint: str
    unreachable: str | None = field(default=None)

    def fetch(
        self, kind: RepoKind, name: str, revision: str | None, choose: Choose, folder: Path
    ) -> Snapshot:
        """Download the files that `choose` picks from a repository's list into the cache `folder`.

        The files of one commit are taken together, and `refs/<revision>` is written only when the last of
        them is there. `snapshot_download` writes it first, so that a download that was cut short could pass
        for a whole one, and returns an older snapshot where the Hub does not answer.

        Raises:
            HubUnreachableError: offline, no answer in time, or an answer of 429 or 5xx.
            UnavailableError: no such repository or revision, gated, an error of `choose`, or the Hub's
                library is not installed.
            StorageError: the files cannot be written.
        """
        self._refuse_if_unreachable(name)
        _require_library(name)
        try:
            commit, files = self._listing(kind, name, revision)
            folders = [self._download(kind, name, commit, file, folder) for file in choose(files)]
            snapshot = folders[0]
            _remember(snapshot.parent.parent, revision or "main", commit)
        except HarnessError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and _is_of_disk(error):
                raise StorageError(
                    f"{name}: cannot be kept in {folder}: {error.strerror}",
                    hint="Free some space, or set HF_HOME to a folder with space that can be written.",
                ) from error
            raise self._explained(error, name, revision) from error
        return Snapshot(snapshot, commit)

    def _listing(self, kind: RepoKind, name: str, revision: str | None) -> tuple[str, list[str]]:
        from huggingface_hub import HfApi  # noqa: PLC0415 - takes 0.2 s, which cached names need not wait for

        api = HfApi(endpoint=self.endpoint)
        ask = api.model_info if kind == "model" else api.dataset_info
        info = ask(name, revision=revision, timeout=ANSWER_TIMEOUT_SECONDS)
        if info.sha is None:
            raise UnavailableError(f"{name}: the Hub did not return a commit for it")
        return info.sha, [sibling.rfilename for sibling in info.siblings or ()]

    def _download(self, kind: RepoKind, name: str, commit: str, file: str, folder: Path) -> Path:
        """Download one file and return the folder of its snapshot."""
        from huggingface_hub import hf_hub_download  # noqa: PLC0415 - as above

        local = hf_hub_download(
            name,
            file,
            repo_type=kind,
            revision=commit,
            cache_dir=folder,
            endpoint=self.endpoint,
            etag_timeout=ANSWER_TIMEOUT_SECONDS,
        )
        return Path(local.removesuffix(file))

    def _refuse_if_unreachable(self, name: str) -> None:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
            raise HubUnreachableError(f"{name}: HF_HUB_OFFLINE forbids asking the Hub")
        if self.unreachable is not None:
            raise HubUnreachableError(f"{name}: {self.unreachable}")

    def _explained(self, error: Exception, name: str, revision: str | None) -> HarnessError:
        from huggingface_hub import errors  # noqa: PLC0415 - as above

        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, errors.GatedRepoError):
            return UnavailableError(
                f"{name}: gated; its owner requires that you accept terms before downloading it",
                hint=f"Accept them at {self.endpoint}/{name}, then set HF_TOKEN to your token.",
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return UnavailableError(f"{name}: the Hub has no revision {revision or 'main'} of it")
        if isinstance(error, errors.RepositoryNotFoundError):
            return UnavailableError(
                f"{name}: the Hub has no such repository, or it is private (HTTP {status})",
                hint="Check the spelling; for a private one set HF_TOKEN.",
            )
        if status in {401, 403}:
            return UnavailableError(
                f"{name}: the Hub refused access (HTTP {status})", hint="Check the token in HF_TOKEN."
            )
        if status is not None and status < 500 and status != 429:
            return UnavailableError(f"{name}: the Hub answered HTTP {status}")
        self.unreachable = _why_unreachable(self.endpoint, error, status)
        return HubUnreachableError(f"{name}: {self.unreachable}")


@cache
def hub_at(endpoint: str) -> Hub:
    """Return this process's `Hub` for an endpoint; equal endpoints share one object."""
    return Hub(endpoint)


def default_hub() -> Hub:
    """Return the Hub of `$HF_ENDPOINT`, or the public one."""
    return hub_at((os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/"))


def _require_library(name: str) -> None:
    """Make sure that the Hub's library, which comes with the extra `train`, can be imported."""
    try:
        import huggingface_hub  # noqa: F401, PLC0415 - as above
    except ImportError as error:
        raise UnavailableError(
            f"{name}: not on this machine, and huggingface-hub, which downloads it, is not installed",
            hint="Install harness with its extra `train`, or name a folder.",
        ) from error


def _is_of_disk(error: OSError) -> bool:
    """Return whether a file could not be written; the Hub's and the network's errors are OSErrors too."""
    return error.errno in _OF_DISK or (error.errno is not None and error.filename is not None)


def _why_unreachable(endpoint: str, error: Exception, status: int | None) -> str:
    if status is not None:
        return f"the Hub at {endpoint} answered HTTP {status}"
    return (
        f"the Hub at {endpoint} cannot be reached ({type(error).__name__}: {str(error)[:200] or 'no detail'})"
    )


def _remember(repo: Path, revision: str, commit: str) -> None:
    """Write `refs/<revision>`, as the Hub's library does, so that the name resolves offline later."""
    if revision == commit:
        return
    ref = repo / "refs" / revision
    ref.parent.mkdir(parents=True, exist_ok=True)
    fresh = ref.with_name(f".{ref.name}.{os.getpid()}")
    fresh.write_text(commit, encoding="ascii")
    fresh.replace(ref)
