"""Gates as they are typed and as they stand in a file."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.gates.rules import bound_rules, drop_rule
from harness.errors import InvalidInputError
from harness.model.suite import Gate
from harness.suite.gate_files import parse_gate, read_gates


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("eval_f1>=0.86", Gate(metric="eval_f1", min=0.86)),
        (" eval_f1 >= 8.6e-1 ", Gate(metric="eval_f1", min=0.86)),
        ("eval_loss<=0.5", Gate(metric="eval_loss", max=0.5)),
        ("eval_accuracy drop<=0.02", Gate(metric="eval_accuracy", max_drop=0.02)),
        ("eval_accuracy drop <= .02", Gate(metric="eval_accuracy", max_drop=0.02)),
        ("train_seconds drop<=10%", Gate(metric="train_seconds", max_drop="10%")),
        ("eval_mcc>=-0.1", Gate(metric="eval_mcc", min=-0.1)),
    ],
)
def test_a_gate_can_be_typed(text: str, gate: Gate) -> None:
    assert parse_gate(text) == gate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected METRIC>=NUMBER"),
        ("eval_f1", "expected METRIC>=NUMBER"),
        ("eval_f1>=", "expected METRIC>=NUMBER"),
        ("0.86<=eval_f1", "there is no metric '0.86'"),
        ("eval_f>=0.86", "did you mean eval_f1?"),
        ("eval_f1>0.86", "> is not a relation of a gate; use >= or <="),
        ("eval_f1==0.86", "== is not a relation"),
        ("eval_f1>=86%", "a percentage is of the baseline"),
        ("eval_f1>=86", "beyond 1"),
        ("eval_f1>=nan", "'nan' is not a number"),
        ("eval_f1>=inf", "'inf' is not a number"),
        ("eval_loss<=1e999", "finite"),
        ("eval_f1>=0,86", "is not a number"),
        ("eval_f1>=\u0661", "is not a number"),
        ("eval_f1 drop>=0.1", "drop<="),
        ("eval_f1 drop<=-0.1", "greater than or equal to 0"),
        ("eval_f1 drop<=-1%", "'-1%' is no percentage from 0% to 100%"),
        ("eval_f1 drop<=.5%", "such as 0.5%"),
        ("eval_f1 drop<=1e1%", "without an exponent"),
        ("eval_f1 drop<=1.5", "beyond 1"),
        ("eval_f1 drop<=150%", "at most 100%"),
        ("model_flops drop<=1%", "no direction"),
        ("eval_f1>=0.8\x1b[31m", "is not a number"),
    ],
)
def test_what_is_no_gate_is_refused_with_examples(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_gate(text)
    assert message in caught.value.message
    assert caught.value.hint is not None
    assert "eval_f1>=0.86" in caught.value.hint
    assert str(caught.value).replace("\n", "").isprintable()


@given(limit=st.floats(0, 1).map(lambda value: round(value, 5)))
def test_a_gate_in_words_can_be_typed_again(limit: float) -> None:
    (rule, _, _), *_ = bound_rules(Gate(metric="eval_f1", min=limit))
    assert parse_gate(rule) == Gate(metric="eval_f1", min=limit)
    drop = Gate(metric="eval_f1", max_drop=limit)
    assert parse_gate(drop_rule(drop)) == drop


@given(text=st.text(max_size=60))
def test_any_text_is_a_gate_or_refused_in_our_own_words(text: str) -> None:
    with contextlib.suppress(InvalidInputError):
        assert isinstance(parse_gate(text), Gate)


@pytest.mark.parametrize(
    "text",
    [
        "- {metric: eval_f1, min: 0.86}\n- {metric: train_seconds, max_drop: 10%}\n",
        "gates: [{metric: eval_f1, min: 0.86}, {metric: train_seconds, max_drop: 10%}]\n",
    ],
)
def test_a_file_holds_gates_as_a_suite_does(tmp_path: Path, text: str) -> None:
    file = tmp_path / "gates.yaml"
    file.write_text(text)
    assert read_gates(file) == (
        Gate(metric="eval_f1", min=0.86),
        Gate(metric="train_seconds", max_drop="10%"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no gate in it"),
        ("# none\n", "there is no gate in it"),
        ("[]\n", "there is no gate in it"),
        ("gates: []\n", "there is no gate in it"),
        ("just text\n", "gates.yaml:1:1: expected a list of gates"),
        ("- eval_f1>=0.86\n", "gates.yaml:1:3:"),
        ("- {metric: eval_f1, min: 0.86}\n- {metric: eval_f, min: 0.5}\n", "gates.yaml:2:12:"),
        ("- {metric: eval_f1, mini: 0.86}\n", "did you mean min?"),
        ("- {metric: eval_f1, min: 0.86, min: 0.5}\n", "gates.yaml:1:32:"),
        ("- {metric: eval_f1, min: -.inf}\n", "gates.yaml:1:26:"),
        ("- {metric: eval_f1, max_drop: -0.1}\n", "gates.yaml:1:31:"),
        ("gate: []\n", "gates.yaml:1:1:"),
        ("- !!python/object:os.system x\n", "gates.yaml:1:3:"),
        ("- [\n", "gates.yaml:"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "gates.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInputError) as caught:
        read_gates(file)
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no such"):
        read_gates(tmp_path / "gates.yaml")
