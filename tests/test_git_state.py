"""The commit and the state of a repository, also of one whose configuration names programs to run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.machine.git_state import describe_git
from harness.model.environment import Git
from tests.test_environment import run_git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one committed file, whose time was touched so that git must compare its content."""
    folder = tmp_path / "repository"
    folder.mkdir()
    run_git(folder, "init")
    (folder / "file").write_text("one\n")
    run_git(folder, "add", "file")
    run_git(folder, "commit", "-m", "first")
    os.utime(folder / "file", (1, 1))
    return folder


def _program(folder: Path, name: str) -> Path:
    """A program that leaves a file `ran-NAME` beside the repository, and passes its input on."""
    program = folder.parent / name
    program.write_text(f"#!/bin/sh\ntouch {folder.parent / f'ran-{name}'}\ncat\n")
    program.chmod(0o755)
    return program


def _ran(folder: Path) -> set[str]:
    found = {file.name for file in folder.parent.glob("ran-*")}
    for name in found:
        (folder.parent / name).unlink()
    return found


def _plant(folder: Path) -> None:
    """Everything that a repository's own configuration can have git run for its state."""
    run_git(folder, "config", "core.fsmonitor", str(_program(folder, "fsmonitor")))
    hooks = folder.parent / "hooks"
    hooks.mkdir()
    _program(folder, "hook").rename(hooks / "post-index-change")
    run_git(folder, "config", "core.hooksPath", str(hooks))
    (folder / ".git" / "info" / "attributes").write_text("file filter=evil diff=evil\n")
    included = folder / ".git" / "included"
    included.write_text(f'[filter "evil"]\nclean = {_program(folder, "clean")}\nrequired = true\n')
    run_git(folder, "config", "include.path", str(included))
    run_git(folder, "config", "filter.other.process", str(_program(folder, "process")))
    run_git(folder, "config", "filter.a=b.clean", str(_program(folder, "equals")))
    run_git(folder, "config", "core.sshCommand", str(_program(folder, "ssh")))
    run_git(folder, "config", "core.pager", str(_program(folder, "pager")))
    run_git(folder, "config", "diff.external", str(_program(folder, "diff")))
    run_git(folder, "config", "diff.evil.textconv", str(_program(folder, "textconv")))


def test_no_program_of_the_repositorys_configuration_is_run(repository: Path) -> None:
    clean = describe_git(repository)
    assert clean is not None
    assert not clean.dirty
    _plant(repository)
    # The control: plain git runs them.
    subprocess.run(
        ["git", "-C", str(repository), "status"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert {"ran-fsmonitor", "ran-clean"} <= _ran(repository)
    os.utime(repository / "file", (2, 2))
    assert describe_git(repository) == clean
    assert _ran(repository) == set()
    (repository / "file").write_text("two\n")
    assert describe_git(repository) == Git(commit=clean.commit, dirty=True, committed=clean.committed)
    assert _ran(repository) == set()


@pytest.mark.parametrize("name", ["other", "a=b"])
def test_no_filter_is_run_whatever_its_name_and_kind(repository: Path, name: str) -> None:
    _plant(repository)
    (repository / ".git" / "info" / "attributes").write_text(f"file filter={name}\n")
    os.utime(repository / "file", (2, 2))
    assert describe_git(repository) is not None
    assert _ran(repository) == set()


def test_a_missing_object_is_not_fetched_by_a_program_of_the_repository(repository: Path) -> None:
    program = _program(repository, "transport")
    program.write_text(program.read_text().replace("cat", "exit 1"))
    for key, value in (
        ("remote.origin.url", f"ext::{program}"),
        ("remote.origin.promisor", "true"),
        ("extensions.partialClone", "origin"),
        ("protocol.ext.allow", "always"),
        ("core.repositoryFormatVersion", "1"),
    ):
        run_git(repository, "config", key, value)
    tree = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "HEAD^{tree}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (repository / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    subprocess.run(
        ["git", "-C", str(repository), "status"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert _ran(repository) == {"ran-transport"}
    found = describe_git(repository)
    assert _ran(repository) == set()
    # Its state cannot be determined, so it does not count as clean.
    assert found is not None
    assert found.dirty


def test_a_folder_laid_out_as_a_bare_repository_is_none(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "--bare", "x.git")
    assert describe_git(tmp_path / "x.git") is None


def test_the_environment_does_not_name_another_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repository))
    other = tmp_path / "other"
    other.mkdir()
    assert describe_git(other) is None


def test_a_folder_that_has_vanished_has_no_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = repository / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert describe_git(Path()) is None
