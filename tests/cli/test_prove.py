from __future__ import annotations

import subprocess
from pathlib import Path

from tests.running.fakes import forked

SUITE = """
name: mine
task: glue/mrpc
matrix:
  checkpoint: [bert-base-uncased]
  padding: {paddings}
  device: [cpu]
  seed: [0, 1, 2]
"""


def prove(folder: Path, paddings: str) -> subprocess.CompletedProcess[str]:
    suite = folder / "suite.yaml"
    suite.write_text(SUITE.format(paddings=paddings))
    runner = ("--runner", "tests.running.runners:proving")
    return forked("prove", suite, "--assets", "embedded", *runner, cwd=folder)


def test_variants_that_compute_the_plain_function_end_with_0_and_leave_nothing(tmp_path: Path) -> None:
    done = prove(tmp_path, "[dynamic, unpadded]")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "parity with the plain model: eager attention, padded, fp32, dropout off\n"
        "\n"
        "variant        logit difference         gradient error  flipped  parity\n"
        "───────────────────────────────────────────────────────────────────────\n"
        "dynamic   0.0e+00 (limit 1e-04)  0.0e+00 (limit 1e-03)  0 of 64  exact\n"
        "unpadded  0.0e+00 (limit 1e-04)  0.0e+00 (limit 1e-03)  0 of 64  exact\n"
        "\n"
        "- stand-in: embedded/bert-uncased was used in place of bert-base-uncased; its numbers are not those "
        "of bert-base-uncased\n"
        "- synthetic data: embedded/pairs, a generated corpus, was used in place of glue/mrpc\n"
        "\n"
        "training by each engine, step by step, against a reference that shares no code with it\n"
        "\n"
        "trained   passed  nearest limit  training  failed\n"
        "─────────────────────────────────────────────────\n"
        "dynamic   1 of 1  losses 0%      same      none\n"
        "unpadded  1 of 1  losses 0%      same      none\n"
        "\n"
        "- not proved: other sizes\n"
        "\n"
        "parity: 2 exact\n"
        "training: 2 same\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["suite.yaml"]


def test_one_that_computes_another_function_or_cannot_be_proved_ends_with_1(tmp_path: Path) -> None:
    done = prove(tmp_path, "[dynamic, bucketed, static]")
    assert done.returncode == 1
    assert "1.0e+00 (limit 1e-04)" in done.stdout
    assert "static: it cannot be proved" in done.stdout
    assert "bucketed: losses: largest difference 1.0e+00 (limit 1e-05)" in done.stdout
    assert done.stdout.endswith(
        "parity: 1 exact, 1 differs, 1 unproven\ntraining: 1 same, 1 differs, 1 unproven\n"
    )
