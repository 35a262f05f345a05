"""One annotated field more on the model of a trial is an axis everywhere, with no other change."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from harness.analysis.naming import axes, labels
from harness.analysis.noise import suite_of
from harness.analysis.parity import function_of
from harness.errors import InvalidInputError
from harness.model.axis import Axis, Needs, axes_of, value_of
from harness.model.frozen import Frozen
from harness.model.trial import Trial
from harness.model.values import _with_options
from harness.output.builders.plan import trial_columns
from harness.running.scheduler import SameError
from harness.suite.matrix import expand
from harness.suite.reading import parse_suite
from harness.suite.schema import suite_schema
from tests.factories import make_result
from tools.reference.axes import axes_page

Compile = Literal["off", "inductor"]


class Wider(Trial):
    """A trial with one axis more."""

    compiling: Annotated[
        Compile,
        Field(exclude_if=lambda given: given == "off"),
        Axis(
            "whether torch.compile runs the model",
            values={"off": "no compilation", "inductor": "compile with inductor"},
            aka=("torch_compile",),
            rules=(
                Needs("inductor", "device", ("cuda",), why="inductor needs CUDA", instead="compiling: off"),
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


TEXT = "name: x\nmatrix: {checkpoint: [a], device: [cuda], compiling: [off, inductor]}\n"


def expanded(text: str = TEXT, *overrides: str) -> tuple[Trial, ...]:
    return expand(parse_suite(text, "suite.yaml", overrides, Wider), ["cuda:0", "cpu"], Wider)


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        expanded(text, *overrides)
    return f"{caught.value.message} {caught.value.hint}"


def test_a_suite_expands_to_trials_with_the_axis() -> None:
    plain, compiled = expanded()
    assert isinstance(compiled, Wider)
    assert (plain.model_dump().get("compiling"), compiled.compiling) == (None, "inductor")
    assert plain.id == Trial.model_validate(plain.model_dump()).id
    assert plain.variant_id != compiled.variant_id
    assert Wider.model_validate_json(compiled.model_dump_json()) == compiled


def test_the_schema_has_its_values_and_meaning() -> None:
    schema = suite_schema(Wider)
    assert schema["$defs"]["compiling"] == {
        "enum": ["off", "inductor"],
        "type": "string",
        "description": "whether torch.compile runs the model",
    }
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"name": "x", "matrix": {"checkpoint": ["a"], "compiling": ["inductor"]}})
    assert not validator.is_valid({"name": "x", "matrix": {"checkpoint": ["a"], "compiling": ["fast"]}})


def test_the_plan_has_its_column_where_it_varies() -> None:
    column = trial_columns(expanded())[-1]
    assert (column.title, column.cells) == ("compiling", ("off", "inductor"))
    assert "compiling" not in [each.title for each in trial_columns(expanded()[:1])]


def test_labels_name_it_and_json_contains_it() -> None:
    plain, compiled = expanded()
    assert list(labels([plain, compiled]).values()) == ["compiling=off", "compiling=inductor"]
    assert axes(compiled)["compiling"] == "inductor"
    assert json.loads(compiled.model_dump_json())["compiling"] == "inductor"


def test_calibration_and_the_proof_of_function_keep_it() -> None:
    suite = parse_suite(TEXT, "suite.yaml", (), Wider)
    for trial in expanded():
        assert expand(suite_of(trial, suite), ["cuda:0"], Wider) == (trial,)
    assert len({function_of(trial).id for trial in expanded()}) == 2


def test_equal_errors_are_counted_on_it() -> None:
    plain, compiled = expanded()
    errors = SameError([plain, compiled], 1)
    errors.add(make_result(compiled, status="failed", examples=1))
    assert "compiling inductor" in (errors.skip_reason(compiled) or "")
    assert errors.skip_reason(plain) is None


def test_its_rules_other_names_and_near_misses_are_known() -> None:
    assert "compiling inductor with device cpu: inductor needs CUDA" in refusal(TEXT, "matrix.device=[cpu]")
    assert "did you mean compiling?" in refusal("name: x\nmatrix: {checkpoint: [a], torch_compile: [off]}")
    assert "did you mean inductor?" in refusal("name: x\nmatrix: {checkpoint: [a], compiling: [inducter]}")


def test_an_override_can_set_it() -> None:
    assert len(expanded(TEXT, "matrix.compiling=[inductor]")) == 1
    assert "did you mean matrix.compiling?" in refusal(TEXT, "matrix.compilin=[off]")


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
    assert "## compiling" in page
    assert "| `inductor` | compile with inductor |" in page
    assert list(axes_of(Wider))[-1] == "compiling"
