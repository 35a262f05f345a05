"""Data of a regression: numbers as targets, STS-B, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.data_problems import InvalidDataError
from harness.errors import InvalidInputError
from harness.model.tasks import Task
from harness.suite.matrix import expand
from harness.suite.suite_file import parse_suite
from tests.data.sets import OWN, labelled, read_rows
from tests.data.test_glue import MATRIX, read, task_of

HEADER = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"


def test_stsb_is_read_from_glues_own_files(tmp_path: Path) -> None:
    for name, scores in (("train", ("5.000", "3.800", "0.000")), ("dev", ("2.5",))):
        rows = [
            f'{at}\tmain\tfile\t2012\t1\tnone\tnone\ta "b {at}\tc\t{score}' for at, score in enumerate(scores)
        ]
        (tmp_path / f"{name}.tsv").write_text("\n".join([f"{HEADER}\tscore", *rows, ""]))
    (tmp_path / "test.tsv").write_text(f"{HEADER}\n0\tmain\tfile\t2012\t1\tnone\tnone\ta\tb\n")
    corpus = read(tmp_path, "stsb")
    assert corpus.train.labels == [5.0, 3.799999952316284, 0.0]
    assert corpus.train.texts[1] == ('a "b 1', "c")
    with pytest.raises(InvalidDataError, match="GLUE's test sets have no labels"):
        read(tmp_path, "stsb", "task.eval_split=test")


def test_numbers_of_one_kind_or_another_are_the_same_targets(tmp_path: Path) -> None:
    whole = read_rows(tmp_path, labelled(1, 3, 5), kind="regression")
    parts = read_rows(tmp_path, labelled(1.0, 3.0, 5.0), kind="regression")
    assert whole == parts
    assert whole.train.labels == [1.0, 3.0, 5.0]


@pytest.mark.parametrize("label", [None, "3.8", "high", True, [1.0], float("1e39")])
def test_a_target_that_is_no_finite_number_is_refused(tmp_path: Path, label: object) -> None:
    with pytest.raises(InvalidDataError, match="regression needs a finite number"):
        read_rows(tmp_path, labelled(1.0, label), kind="regression")


@pytest.mark.parametrize("exponent", range(0, 39, 6))
def test_a_target_may_be_any_number_of_single_precision(tmp_path: Path, exponent: int) -> None:
    large = 3.4 * 10.0**exponent
    found = read_rows(tmp_path, labelled(large, -large, 0), kind="regression").train.labels
    assert found == pytest.approx([large, -large, 0.0], rel=1e-6)
    with pytest.raises(InvalidDataError, match="regression needs a finite number"):
        read_rows(tmp_path, labelled(1.0, 3.41e38), kind="regression")


def test_several_labels_an_example_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="several labels an example are not supported"):
        read_rows(tmp_path, labelled([0, 1], [1]))


def test_classes_that_are_fractions_name_the_kind_to_set(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match=r"for regression set task\.kind: regression"):
        read_rows(tmp_path, labelled(0.5, 1.5))


def test_only_a_regression_is_part_of_the_identity() -> None:
    assert "kind" not in Task().model_dump()
    assert task_of("stsb").kind == "regression"
    assert OWN.model_copy(update={"kind": "regression"}).model_dump()["kind"] == "regression"


def test_label_smoothing_is_refused() -> None:
    suite = parse_suite(
        f"name: x\n{MATRIX}\ntask: glue/stsb\ntrain: {{label_smoothing_factor: 0.1}}", "suite.yaml"
    )
    with pytest.raises(InvalidInputError, match="label_smoothing_factor is for classes"):
        expand(suite, ("cpu",))
