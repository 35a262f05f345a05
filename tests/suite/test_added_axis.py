"""One annotated field more on the model of a trial is an axis everywhere, with no other change."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from harness.analysis.naming import axes, labels
from harness.analysis.over_time.noise import suite_of
from harness.analysis.parity import function_of
from harness.errors import InvalidInputError
from harness.model.axis import Axis, Needs, axes_of, value_of
from harness.model.frozen import Frozen
from harness.model.trial import Trial
from harness.model.values import _with_options
from harness.output.builders.planned_trials import trial_columns
from harness.running.scheduler import SameError
from harness.suite.matrix import expand
from harness.suite.suite_file import parse_suite
from harness.suite.suite_schema import suite_schema
from tests.factories import make_result
from tools.reference.axes import axes_page

Kernels = Literal["off", "fused"]


class Wider(Trial):
    """A trial with one axis more."""

    kernels: Annotated[
        Kernels,
        Field(exclude_if=lambda given: given == "off"),
        Axis(
            "whether fused kernels run the model",
            values={"off": "plain kernels", "fused": "fused kernels"},
            aka=("fused_kernels",),
            rules=(
                Needs("fused", "device", ("cuda",), why="fused kernels need CUDA", instead="kernels: off"),
            ),
        ),
    ] = "off"


class Kernel(Frozen):
    """A value with options, which a suite writes as one word or as a mapping."""

    name: Literal["plain", "fused"]
    tiles: int | Literal["auto"] = "auto"
    checked: bool = False

    def __str__(self) -> str:
        return _with_options(self)


class WithKernel(Trial):
    """A trial with an axis of structured values more."""

    kernel: Annotated[
        Kernel,
        Field(exclude_if=lambda given: given.name == "plain"),
        Axis("the kernel", values={"plain": "torch's", "fused": "ours"}, short="name"),
    ] = Kernel(name="plain")


TEXT = "name: x\nmatrix: {checkpoint: [a], device: [cuda], kernels: [off, fused]}\n"


def expanded(text: str = TEXT, *overrides: str) -> tuple[Trial, ...]:
    return expand(parse_suite(text, "suite.yaml", overrides, Wider), ["cuda:0", "cpu"], Wider)


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        expanded(text, *overrides)
    return f"{caught.value.message} {caught.value.hint}"


def test_a_suite_expands_to_trials_with_the_axis() -> None:
    plain, compiled = expanded()
    assert isinstance(compiled, Wider)
    assert (plain.model_dump().get("kernels"), compiled.kernels) == (None, "fused")
    assert plain.id == Trial.model_validate(plain.model_dump()).id
    assert plain.variant_id != compiled.variant_id
    assert Wider.model_validate_json(compiled.model_dump_json()) == compiled


def test_the_schema_has_its_values_and_meaning() -> None:
    schema = suite_schema(Wider)
    assert schema["$defs"]["kernels"] == {
        "enum": ["off", "fused"],
        "type": "string",
        "description": "whether fused kernels run the model",
    }
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"name": "x", "matrix": {"checkpoint": ["a"], "kernels": ["fused"]}})
    assert not validator.is_valid({"name": "x", "matrix": {"checkpoint": ["a"], "kernels": ["fast"]}})


def test_the_plan_has_its_column_where_it_varies() -> None:
    column = trial_columns(expanded())[-1]
    assert (column.title, column.cells) == ("kernels", ("off", "fused"))
    assert "kernels" not in [each.title for each in trial_columns(expanded()[:1])]


def test_labels_name_it_and_json_contains_it() -> None:
    plain, compiled = expanded()
    assert list(labels([plain, compiled]).values()) == ["kernels=off", "kernels=fused"]
    assert axes(compiled)["kernels"] == "fused"
    assert json.loads(compiled.model_dump_json())["kernels"] == "fused"


def test_calibration_and_the_proof_of_function_keep_it() -> None:
    suite = parse_suite(TEXT, "suite.yaml", (), Wider)
    for trial in expanded():
        assert expand(suite_of(trial, suite), ["cuda:0"], Wider) == (trial,)
    assert len({function_of(trial).id for trial in expanded()}) == 2


def test_equal_errors_are_counted_on_it() -> None:
    plain, compiled = expanded()
    errors = SameError([plain, compiled], 1)
    errors.add(make_result(compiled, status="failed", examples=1))
    assert "kernels fused" in (errors.skip_reason(compiled) or "")
    assert errors.skip_reason(plain) is None


def test_its_rules_other_names_and_near_misses_are_known() -> None:
    assert "kernels fused with device cpu: fused kernels need CUDA" in refusal(TEXT, "matrix.device=[cpu]")
    assert "did you mean kernels?" in refusal("name: x\nmatrix: {checkpoint: [a], fused_kernels: [off]}")
    assert "did you mean fused?" in refusal("name: x\nmatrix: {checkpoint: [a], kernels: [fusd]}")


def test_an_override_can_set_it() -> None:
    assert len(expanded(TEXT, "matrix.kernels=[fused]")) == 1
    assert "did you mean matrix.kernels?" in refusal(TEXT, "matrix.kernls=[off]")


def test_a_value_with_options_is_a_word_or_a_mapping_everywhere() -> None:
    text = "name: x\nmatrix: {checkpoint: [a], kernel: [plain, {name: fused, tiles: 4, checked: true}]}\n"
    given = "matrix.kernel=[fused, {name: fused, checked: true}]"
    suite = parse_suite(text, "suite.yaml", [given], WithKernel)
    short, checked = expand(suite, ["cpu"], WithKernel)
    assert list(labels([short, checked]).values()) == ["kernel=fused", "kernel=fused(checked=true)"]
    assert json.loads(suite.model_dump_json())["matrix"]["kernel"] == [
        "fused",
        {"name": "fused", "checked": True},
    ]
    auto = parse_suite(text, "suite.yaml", ["matrix.kernel=[{name: fused, tiles: auto}]"], WithKernel)
    assert expand(auto, ["cpu"], WithKernel) == (short,)
    plain, tiled = expand(parse_suite(text, "suite.yaml", (), WithKernel), ["cpu"], WithKernel)
    assert str(value_of(tiled, axes_of(WithKernel)["kernel"])) == "fused(tiles=4, checked=true)"
    assert "kernel" not in plain.model_dump()
    assert plain.id == Trial.model_validate(plain.model_dump()).id
    assert "- Default: `plain`" in axes_page(WithKernel)
    with pytest.raises(InvalidInputError, match="did you mean fused"):
        parse_suite(text, "suite.yaml", ["matrix.kernel=[fusd]"], WithKernel)


def test_the_reference_page_has_its_section() -> None:
    page = axes_page(Wider)
    assert "## kernels" in page
    assert "| `fused` | fused kernels |" in page
    assert list(axes_of(Wider))[-1] == "kernels"
