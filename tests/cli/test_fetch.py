from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.assets.packages import PACKAGED, Packaged
from harness.cli.machine_commands.fetch import command
from harness.errors import UnavailableError


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path))
    for variable in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path


@pytest.fixture
def fetched(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a copy of a checkpoint that is small enough for a test."""
    pinned = Packaged("some-package==1", "some/model", "a model", "MIT", {"a.txt": sha256(b"a").hexdigest()})
    monkeypatch.setitem(PACKAGED, "minilm", pinned)
    folder = empty_cache / "checkpoints" / "minilm"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"a")
    return folder


def test_the_list_tells_what_can_be_fetched_and_what_was(fetched: Path) -> None:
    def listed() -> str:
        return CliRunner().invoke(command, ["--list"]).stdout.rstrip()

    assert listed() == "minilm  a model, MIT (fetched)"
    (fetched / "a.txt").write_bytes(b"b")
    assert listed() == "minilm  a model, MIT (damaged: run harness fetch minilm)"
    (fetched / "a.txt").unlink()
    assert listed() == "minilm  a model, MIT (not fetched)"


def test_what_is_there_already_is_named_on_standard_output_alone(fetched: Path) -> None:
    done = CliRunner().invoke(command, ["minilm"])
    assert (done.exit_code, done.stdout) == (0, f"{fetched}\n")
    assert "already" in done.stderr


def test_no_name_is_a_usage_error_that_lists_the_names() -> None:
    done = CliRunner().invoke(command, [])
    assert done.exit_code == 2
    assert "minilm" in done.stderr


def test_a_name_together_with_the_list_is_a_usage_error() -> None:
    done = CliRunner().invoke(command, ["minilm", "--list"])
    assert done.exit_code == 2
    assert "give either NAME or --list" in done.stderr


def test_an_index_out_of_reach_ends_as_unavailable() -> None:
    with pytest.raises(UnavailableError, match="pip could not download it") as error:
        CliRunner().invoke(command, ["minilm"], catch_exceptions=False)
    assert error.value.exit_code == 69
