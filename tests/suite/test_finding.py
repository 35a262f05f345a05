"""A suite is a file, or a name: of a file in the current folder, else of a shipped suite."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness.errors import InvalidInputError
from harness.suite.suite_file import load_suite, read_suite
from harness.suite.text import find_suite, shipped_suites

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "harness" / "suites").glob("*.yaml"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(name: str) -> tuple[Path, list[str]]:
    notes: list[str] = []
    return find_suite(name, note=notes.append), notes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_suite_is_found_by_its_name_alone(path: Path, folder: Path) -> None:
    assert found(path.stem) == (path, [])
    assert load_suite(path.stem) == read_suite(path)


def test_the_shipped_suites_are_listed() -> None:
    assert shipped_suites() == {path.stem: path for path in FILES}
    assert {path.resolve() for path in FILES} == set((ROOT / "suites").glob("*.yaml"))


def test_a_file_of_that_name_in_the_current_folder_wins_with_a_note(folder: Path) -> None:
    (folder / "quickstart.yaml").touch()
    path, notes = found("quickstart")
    assert path == Path("quickstart.yaml")
    assert notes == ["suite quickstart: using ./quickstart.yaml, not the shipped suite of that name"]


def test_a_file_without_an_ending_is_taken_as_given_and_a_folder_is_none(folder: Path) -> None:
    (folder / "quickstart").mkdir()
    assert found("quickstart")[0] == ROOT / "harness" / "suites" / "quickstart.yaml"
    (folder / "padding").touch()
    path, notes = found("padding")
    assert path == Path("padding")
    assert notes == ["suite padding: using ./padding, not the shipped suite of that name"]


@pytest.mark.parametrize(
    "name", ["./quickstart", "quickstart.yaml", "a/quickstart", "none", "", "..", "a\0b"]
)
def test_a_path_is_a_path_and_never_a_shipped_suite(name: str, folder: Path) -> None:
    assert found(name) == (Path(name), [])


def test_an_own_suite_needs_no_note(folder: Path) -> None:
    (folder / "mine.yaml").touch()
    assert found("mine") == (Path("mine.yaml"), [])


def test_a_mistyped_name_is_answered_with_the_nearest_and_an_unknown_one_with_all(folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="no such suite file") as error:
        load_suite("quikstart")
    assert error.value.hint == "Did you mean quickstart? It is a shipped suite."
    with pytest.raises(InvalidInputError) as error:
        load_suite("zzz")
    assert error.value.hint is not None
    assert "Shipped suites: adapter, attention," in error.value.hint
    assert "harness init zzz" in error.value.hint


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_editor_finds_the_schema_of_a_shipped_suite(path: Path) -> None:
    (line,) = [line for line in path.read_text().splitlines() if line.startswith("# yaml-language-server:")]
    relative = line.removeprefix("# yaml-language-server: $schema=")
    assert (path.resolve().parent / relative).resolve() == ROOT / "docs" / "schemas" / "suite.json"


def test_the_wheel_has_the_suites_where_an_installed_harness_looks(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = "import harness; print(harness.__file__, len(harness.load_suite('padding').matrix['padding']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "installed",
        env={"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / "installed" / "harness" / "__init__.py"), "4"]
    packed = {path.name: path.read_bytes() for path in (tmp_path / "installed/harness/suites").iterdir()}
    assert packed == {path.name: path.read_bytes() for path in FILES}
