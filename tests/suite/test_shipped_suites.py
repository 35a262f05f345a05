from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from harness.suite.matrix import expand
from harness.suite.suite_file import read_suite
from harness.suite.suite_schema import suite_schema

SUITES = Path(__file__).parents[2] / "suites"

# name -> trials on a machine with a processor alone, and on one with two GPUs as well
COUNTS = {
    "adapter": (18, 18),
    "attention": (33, 33),
    "checkpoints": (18, 18),
    "compile": (27, 27),
    "cuda": (36, 36),
    "devices": (24, 72),
    "padding": (36, 36),
    "quickstart": (12, 12),
    "reference": (3, 3),
    "tokenization": (20, 20),
}


def test_every_shipped_suite_is_counted() -> None:
    assert {path.stem for path in SUITES.iterdir()} >= set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_a_shipped_suite_has_its_name_and_number_of_trials(name: str) -> None:
    suite = read_suite(SUITES / f"{name}.yaml")
    assert suite.name == name
    assert len(expand(suite, ("cpu",))) == COUNTS[name][0]
    assert len(expand(suite, ("cuda:0", "cuda:1", "cpu"))) == COUNTS[name][1]


@pytest.mark.parametrize("name", COUNTS)
def test_a_shipped_suite_opens_with_the_question_it_answers(name: str) -> None:
    assert (SUITES / f"{name}.yaml").read_text().partition("\n")[0].endswith("?")


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_suite_is_valid_by_the_schema(path: Path) -> None:
    written = YAML(typ="safe", pure=True).load(path)
    assert list(Draft202012Validator(suite_schema()).iter_errors(written)) == []


def test_the_quickstart_shows_every_padding_on_every_family() -> None:
    suite = read_suite(SUITES / "quickstart.yaml")
    assert len(suite.matrix["checkpoint"]) == 3
    assert [str(each) for each in suite.matrix["padding"]] == ["static", "dynamic", "bucketed", "unpadded"]


def test_the_suite_for_cuda_holds_each_of_its_ways_for_every_seed_and_precision() -> None:
    trials = expand(read_suite(SUITES / "cuda.yaml"), ("cpu",))
    assert {trial.device for trial in trials} == {"cuda:0"}
    ways = [
        (trial.engine, trial.padding.strategy, trial.attention, trial.cuda_graphs, trial.last_layer)
        for trial in trials
        if (trial.seed, trial.precision) == (0, "bf16")
    ]
    assert sorted(ways) == [
        ("loop", "dynamic", "auto", False, "all"),
        ("loop", "dynamic", "auto", True, "all"),
        ("loop", "dynamic", "auto", True, "cls"),
        ("loop", "unpadded", "auto", False, "all"),
        ("loop", "unpadded", "jagged", False, "all"),
        ("trainer", "dynamic", "auto", False, "all"),
    ]
