"""`compile` in a suite: a word or a mapping, refused where it cannot run, silent where it is off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.naming import labels
from harness.analysis.parity import function_of
from harness.analysis.training_verdicts import training_of
from harness.errors import InvalidInputError
from harness.model.trial import Trial
from harness.model.values import Compile
from harness.suite.matrix import expand
from harness.suite.suite_file import parse_suite

TEXT = "name: x\nmatrix: {checkpoint: [a], device: [cuda], padding: [static], compile: [off, default]}\n"
MODES = ("default", "reduce-overhead", "max-autotune-no-cudagraphs")


def expanded(*overrides: str) -> tuple[Trial, ...]:
    return expand(parse_suite(TEXT, "suite.yaml", overrides), ["cuda:0", "cpu"])


def refusal(*overrides: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        expanded(*overrides)
    return f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        (
            "matrix.world_size=[2]",
            "compile default with world_size 2: no proof covers ranks that each compile their shapes",
        ),
        (
            "matrix.adapter=[lora]",
            "compile default with adapter lora: compiled adapters are not shown to train as eager ones",
        ),
        (
            "train.gradient_checkpointing=true",
            "compile default with train.gradient_checkpointing true: compiled checkpointing is not shown to",
        ),
    ],
)
def test_a_combination_without_a_proof_is_refused(override: str, reason: str) -> None:
    assert reason in refusal("matrix.engine=[loop]", override)
    assert len(expanded("matrix.engine=[loop]", override, "matrix.compile=[off]")) == 1


def test_words_and_mappings_are_values_from_the_command_line_too() -> None:
    mappings = "{mode: default, dynamic: true}, {mode: default, dynamic: false}"
    trials = expanded(f"matrix.compile=[off, reduce-overhead, {mappings}]")
    assert [str(trial.compile) for trial in trials] == [
        "off",
        "reduce-overhead",
        "default(dynamic=true)",
        "default(dynamic=false)",
    ]
    assert list(labels(list(trials)).values())[2] == "compile=default(dynamic=true)"
    assert len({trial.id for trial in trials}) == 4


@given(st.sampled_from(MODES), st.sampled_from(["auto", True, False]))
def test_a_compiled_trial_survives_json_and_its_proofs_keep_it(mode: str, dynamic: bool | str) -> None:
    compiled = Compile.model_validate({"mode": mode, "dynamic": dynamic})
    trial = Trial(checkpoint="a", padding={"strategy": "static"}, device="cuda:0", compile=compiled)  # type: ignore[arg-type] # as a file gives it
    assert Trial.model_validate_json(trial.model_dump_json()) == trial
    assert function_of(trial).compile == training_of(trial, "bert").compile == compiled


def test_off_leaves_identity_and_files_of_a_trial_as_they_were() -> None:
    plain, compiled = expanded()
    assert "compile" not in plain.model_dump(mode="json")
    assert plain.id == expanded("matrix.compile=[off]")[0].id
    assert compiled.id != plain.id


def test_auto_is_the_default_of_dynamic() -> None:
    assert "'default' again" in refusal("matrix.compile=[default, {mode: default, dynamic: auto}]")
    trials = expanded("matrix.compile=[{mode: default, dynamic: auto}]")
    assert trials[0] == expanded("matrix.compile=[default]")[0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("matrix.compile=[{mode: off, dynamic: true}]", "dynamic belongs to a compiled model, not to off"),
        ("matrix.compile=[defualt]", "did you mean default?"),
        ("matrix.compile=[{mode: default, dynamic: maybe}]", "dynamic must be one of auto, true, false"),
        ("matrix.compile=[{mode: default, fullgraph: true}]", "fullgraph"),
        ("matrix.compile=[true]", "compile must be one of off, default"),
        ("matrix.torch_compile=[default]", "did you mean matrix.compile?"),
        ("matrix.padding=[unpadded]", "depend on the data"),
    ],
)
def test_a_value_or_combination_that_cannot_run_is_refused_with_the_reason(
    override: str, message: str
) -> None:
    assert message in refusal(override)


@pytest.mark.parametrize("mode", MODES)
def test_no_mode_goes_with_captured_passes_of_the_loop_engine(mode: str) -> None:
    given = (f"matrix.compile=[{mode}]", "matrix.engine=[loop]", "matrix.cuda_graphs=[true]")
    assert f"compile {mode} with cuda_graphs true: the loop engine captures eager passes" in refusal(*given)


def test_reduce_overhead_needs_cuda_where_it_would_be_default_by_another_name() -> None:
    assert "this mode replays CUDA graphs" in refusal(
        "matrix.device=[cpu]", "matrix.compile=[reduce-overhead]"
    )
