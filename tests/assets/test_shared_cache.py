"""A cache that several users share: entries are readable as the umask allows, and none is in the way."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from harness.assets import places
from harness.assets.embedded import checkpoint_folder
from harness.assets.packages import PACKAGED, Packaged, fetch_packaged, packaged_folder
from harness.assets.places import blocked_part, cache_root
from harness.training.measuring.peaks import kept_peak

NOBODY = 65534
FILES = {"config.json": b"{}", "vocab.txt": b"[PAD]\n"}

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root can become another user"
)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder that every user may write in, as /tmp is; pytest's own folders are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="shared-"))
    folder.chmod(0o755)
    (folder / "cache").mkdir()
    (folder / "cache").chmod(0o1777)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(folder / "cache"))
    sums = {name: sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setitem(PACKAGED, "minilm", Packaged("some-package==1", "p", "a model", "MIT", sums))
    before = os.umask(0o022)
    yield folder / "cache"
    os.umask(before)
    shutil.rmtree(folder)


def as_nobody(work: Callable[[], object]) -> Any:
    """What `work` gives in a process of another user."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            # Another user's process has not inherited the temporary folder that this one may have made.
            places._temporary_root.cache_clear()
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(write, json.dumps(work()).encode())
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as result:
        text = result.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return json.loads(text)


def _download(_requirement: str, folder: Path) -> Path:
    with zipfile.ZipFile(folder / "some.whl", "w") as archive:
        for name, content in FILES.items():
            archive.writestr(f"p/{name}", content)
    return folder / "some.whl"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o002, 0o775), (0o077, 0o700)])
def test_an_entry_is_readable_as_the_umask_allows(shared: Path, umask: int, mode: int) -> None:
    os.umask(umask)
    folder = fetch_packaged("minilm", note=lambda _: None, download=_download)
    assert _mode(folder) == mode
    assert {_mode(file) for file in folder.iterdir()} == {mode & 0o666}


@pytest.mark.heavy
def test_tokens_are_readable_as_the_umask_allows(shared: Path) -> None:
    from harness.training.loading import Corpus, Split  # noqa: PLC0415 - the other tests need no torch
    from harness.training.tokenizing.tokens import tokenize  # noqa: PLC0415 - as above

    split = Split([("the cat sat", "a dog ran on"), ("it was", "not")], [1, 0])
    tokenize(
        Corpus(split, split, ("no", "yes"), "0" * 64), checkpoint_folder("embedded/distilbert"), 64, shared
    )
    assert _mode(shared / "tokens") == 0o755
    assert {_mode(file) for file in (shared / "tokens").iterdir()} == {0o644}


@needs_root
def test_what_one_user_fetched_is_there_for_another(shared: Path) -> None:
    folder = fetch_packaged("minilm", note=lambda _: None, download=_download)
    assert as_nobody(lambda: str(packaged_folder("minilm"))) == str(folder)


@needs_root
def test_what_another_user_cannot_read_is_fetched_into_a_private_folder(shared: Path) -> None:
    os.umask(0o077)
    theirs = fetch_packaged("minilm", note=lambda _: None, download=_download)
    theirs.parent.chmod(0o1777)

    def fetch() -> list[object]:
        said: list[str] = []
        folder = fetch_packaged("minilm", note=said.append, download=_download)
        return [str(folder), said, (folder / "vocab.txt").read_text()]

    folder, said, text = as_nobody(fetch)
    assert Path(str(folder)) != theirs
    assert "checkpoints/minilm cannot be written: using" in str(said)
    assert text == "[PAD]\n"


@needs_root
@pytest.mark.parametrize("part", ["tokens", "peaks"])
def test_a_part_that_is_another_users_gives_a_private_cache_with_a_note(shared: Path, part: str) -> None:
    assert as_nobody(lambda: str(cache_root())) == str(shared)
    (shared / part).mkdir()
    notes: list[str] = []

    def root() -> list[str]:
        return [str(cache_root(notes.append)), *notes]

    found, note = as_nobody(root)
    assert found != str(shared)
    assert str(note).startswith(f"{shared / part} cannot be written: using")
    assert blocked_part(shared) is None


@needs_root
@pytest.mark.heavy
def test_tokens_that_another_user_wrote_for_nobody_else_are_not_used(shared: Path) -> None:
    from harness.training.tokenizing.token_cache import Shape, UnusableEntryError, read_entry  # noqa: PLC0415 - as above

    entry = shared / "tokens" / "0.tokens"
    entry.parent.mkdir()
    entry.write_bytes(b"tokens")
    entry.chmod(0o600)

    def reason() -> str:
        try:
            read_entry(entry, Shape("0" * 32, 2, 2, 64))
        except UnusableEntryError as error:
            return str(error)
        return "it was read"

    assert "Permission denied" in as_nobody(reason)


@needs_root
def test_a_peak_that_cannot_be_kept_is_still_measured(shared: Path) -> None:
    peaks = shared / "peaks"
    kept_peak(peaks, "0" * 12, "copies", lambda: 1.0)
    peaks.chmod(0o1777)
    (file,) = peaks.iterdir()
    file.chmod(0o600)
    assert as_nobody(lambda: kept_peak(peaks, "0" * 12, "copies", lambda: 2.0)) == 2.0
    assert list(peaks.iterdir()) == [file]
