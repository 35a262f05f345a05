"""Planted defects of training code: each fits its source, and some of all kinds are proved to be caught."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.running.fakes import REPOSITORY, environ
from tools.defects.catalogue import DEFECTS, Defect
from tools.defects.run import FAST, SURVIVORS, plant


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_every_defect_fits_one_place_and_leaves_source_that_compiles(defect: Defect) -> None:
    path = REPOSITORY / "harness" / "training" / defect.path
    source = path.read_text(encoding="utf-8")
    assert source.count(defect.before) == 1
    compile(source.replace(defect.before, defect.after), path, "exec")
    assert defect.on


def test_names_are_unique_and_there_are_enough() -> None:
    names = [defect.name for defect in DEFECTS]
    assert len(names) == len(set(names)) >= 100
    assert set(names) >= FAST
    assert set(names) >= SURVIVORS.keys()


def test_a_defect_that_fits_nowhere_is_named(tmp_path: Path) -> None:
    lost = Defect("lost", "model", "padding.py", "no such line", "", ("loop",))
    with pytest.raises(ValueError, match=r"lost: 'no such line' occurs 0 times in padding\.py"):
        plant(lost, tmp_path)


@pytest.mark.heavy
def test_some_defects_of_all_kinds_are_caught() -> None:
    command = [sys.executable, "-m", "tools.defects.run", "--fast"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("18 of 18 caught\n")
