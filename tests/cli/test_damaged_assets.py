"""A damaged checkpoint or corpus stops its trials with a reason, before anything is computed from it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.assets.packages import PACKAGED
from tests.running.fakes import REPOSITORY, command, environ, write_suite

EMBEDDED = "harness/assets/embedded_files"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, to be damaged as an installation may be."""
    folder = tmp_path_factory.mktemp("installed")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "harness", folder / "harness", ignore=ignored)
    return folder


def harness(*line: str, cwd: Path, packed: Path, **changes: str) -> tuple[int, str]:
    """Exit code and all output of a command line of that copy."""
    changes = {"PYTHONPATH": f"{packed}:{REPOSITORY}", "HARNESS_CACHE_DIR": str(cwd / "cache")} | changes
    surroundings = environ(**changes) | {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    surroundings.pop("HARNESS_MRPC_DIR", None)
    done = subprocess.run(line, cwd=cwd, env=surroundings, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


DAMAGES = [
    ("bert-uncased/vocab.txt", "embedded/bert-uncased", "vocab.txt has SHA-256 "),
    (
        "bert-uncased/adapter_config.json",
        "embedded/bert-uncased",
        "adapter_config.json is an unexpected file",
    ),
    ("pairs/validation.parquet", "embedded/pairs", "validation.parquet has SHA-256 "),
]


@pytest.mark.parametrize(("file", "name", "words"), DAMAGES)
def test_a_damaged_embedded_file_stops_its_trials(
    packed: Path, tmp_path: Path, file: str, name: str, words: str
) -> None:
    damaged = packed / EMBEDDED / file
    before = damaged.read_bytes() if damaged.exists() else None
    damaged.write_bytes((before or b"") + b"\n")
    suite = write_suite(tmp_path)
    try:
        code, output = harness(*command(suite), cwd=tmp_path, packed=packed)
        plan = [sys.executable, "-m", "harness", "plan", "--assets", "embedded", str(suite)]
        planned = harness(*plan, cwd=tmp_path, packed=packed)[1]
        doctor = harness(sys.executable, "-m", "harness", "doctor", cwd=tmp_path, packed=packed)
    finally:
        damaged.unlink() if before is None else damaged.write_bytes(before)
    assert code == 69
    assert f"{name} is damaged: {words}" in output
    assert "Install harness again" in output
    assert f"unavailable: {name} is damaged: {words}" in planned
    assert doctor[0] == 69
    assert words in doctor[1]


def test_a_damaged_fetched_checkpoint_stops_its_trials(packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "checkpoints" / "minilm"
    folder.mkdir(parents=True)
    for name in PACKAGED["minilm"].sha256:
        (folder / name).write_text("x")
    suite = write_suite(tmp_path)
    auto = ["--assets", "auto", "-s", "matrix.checkpoint=[minilm, embedded/distilbert]"]
    code, output = harness(*command(*auto, suite), cwd=tmp_path, packed=packed)
    assert code == 1
    assert "2 unavailable" in output
    assert "2 completed" in output
    digest = PACKAGED["minilm"].sha256["config.json"]
    assert f"expected {digest}" in " ".join(output.split())
    assert "harness fetch minilm" in output
    doctor = harness(sys.executable, "-m", "harness", "doctor", cwd=tmp_path, packed=packed)
    assert doctor[0] == 69
    assert "Run: harness fetch minilm" in doctor[1]
