"""Attention by a named kernel: forced, checked to be the one that ran, proved, or unavailable."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import sdpa_kernel
from transformers import PreTrainedModel

from harness.analysis.naming import labels
from harness.analysis.parity import verdict_of
from harness.analysis.training_verdicts import failed_checks, training_of
from harness.errors import InvalidInputError
from harness.model.job import Job, TrialStoppedError
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.suite.matrix import expand
from harness.suite.suite_file import parse_suite
from harness.training.run_trial import run_trial
from harness.training.variants import attention as named
from harness.training.variants.attention import computes_fp32
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy

SHA = "0123456789" * 4


def planned(values: str, further: str = "") -> tuple[Suite, tuple[Trial, ...]]:
    text = f"name: x\nmatrix: {{checkpoint: [a], attention: {values}{further}}}\n"
    suite = parse_suite(text, "suite.yaml")
    return suite, expand(suite, ["cpu"])


def test_a_suite_names_a_kernel_of_torch_or_a_pinned_one_of_the_hub() -> None:
    suite, trials = planned(
        f"[auto, sdpa, {{sdpa: math}}, {{kernel: a/b, revision: '{SHA}'}}, flex_attention]"
    )
    assert list(labels(trials).values()) == [
        "attention=auto",
        "sdpa",
        "sdpa(math)",
        "kernel(a/b@012345678901)",
        "flex_attention",
    ]
    dumped = json.loads(suite.model_dump_json())["matrix"]["attention"]
    assert dumped[2:4] == [{"sdpa": "math"}, {"kernel": "a/b", "revision": SHA}]
    assert Suite.model_validate_json(suite.model_dump_json()) == suite
    assert "attention_backend" not in trials[1].model_dump()
    assert len({trial.id for trial in trials}) == 5


@pytest.mark.parametrize(
    ("values", "further", "what"),
    [
        ("[{sdpa: maths}]", "", "attention is a word, {sdpa: math|efficient|flash|cudnn} or {kernel: REPO"),
        ("[{kernel: a/b}]", "", "attention is a word, {sdpa: math|efficient|flash|cudnn} or {kernel: REPO"),
        ("[{kernel: a/b, revision: main}]", "", "pin its revision, a commit of 40 digits"),
        ("[kernel]", "", "{kernel: OWNER/NAME, revision: SHA}"),
        ("[{name: eager, backend: math}]", "", "eager has no math kernel: write {sdpa: math}"),
        ("[{name: sdpa, kernel: a/b}]", "", "{kernel: OWNER/NAME, revision: SHA}"),
        ("[flash]", "", "attention must be one of auto, eager, sdpa"),
        ("[flash_attention_2]", "", "flash_attention_2 computes in bf16 and fp16"),
        ("[flex_attention]", ", padding: [unpadded]", "no attention function for unpadded batches"),
        ("[flex_attention]", ", last_layer: [cls]", "its masks and kernels take every row"),
    ],
)
def test_what_no_kernel_serves_is_refused_in_the_plan(values: str, further: str, what: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        planned(values, further)
    assert what in str(caught.value)


def prove(job: Job) -> Any:
    return run_trial(job.model_copy(update={"purpose": "prove"}), quietly)


@pytest.mark.parametrize(
    ("engine", "strategy"), [("trainer", "dynamic"), ("loop", "dynamic"), ("loop", "unpadded")]
)
@pytest.mark.parametrize("model", ["bert", "distilbert"])
def test_the_plain_kernel_of_torch_computes_the_plain_function(
    model: str, engine: str, strategy: str, make_job: MakeJob
) -> None:
    result = prove(
        make_job(model, engine=engine, padding=strategy, attention="sdpa", attention_backend="math")
    )
    assert verdict_of(result) == "exact"
    assert result.checkpoint.attention == "sdpa(math)"


@pytest.mark.parametrize("model", ["bert", "distilbert"])
def test_the_plain_kernel_of_torch_trains_as_the_reference(model: str, make_job: MakeJob) -> None:
    job = make_job(model, engine="loop", attention="sdpa", attention_backend="math")
    trial = training_of(job.trial, model)
    result = run_trial(job.model_copy(update={"trial": trial, "purpose": "prove_training"}), quietly)
    assert failed_checks(result) == ()


def without_attention_dropout(job: Job, tmp_path: Path) -> Job:
    """The job on a copy of its checkpoint that drops no weight of attention."""
    folder = tmp_path / "still"
    folder.mkdir()
    for file in Path(job.checkpoint.path).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config |= {"attention_probs_dropout_prob": 0.0, "attention_dropout": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return job.model_copy(update={"checkpoint": job.checkpoint.model_copy(update={"path": str(folder)})})


@pytest.mark.parametrize("model", ["bert", "distilbert"])
def test_the_flash_kernel_of_the_cpu_needs_a_model_without_dropout_of_attention(
    model: str, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(model, attention="sdpa", attention_backend="flash")
    with pytest.raises(TrialStoppedError, match="No available kernel") as caught:
        prove(job)
    assert (caught.value.status, caught.value.hint) == ("unavailable", "use attention: sdpa or eager")
    assert verdict_of(prove(without_attention_dropout(job, tmp_path))) == "exact"


@pytest.mark.cuda
def test_a_kernel_of_cuda_is_proved_without_dropout_of_attention(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(engine="loop", precision="bf16", attention="sdpa", attention_backend="cudnn")
    job = job.model_copy(update={"trial": job.trial.model_copy(update={"device": "cuda:0"})})
    assert verdict_of(prove(without_attention_dropout(job, tmp_path))) in ("exact", "within")


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        ({"attention": "sdpa", "attention_backend": "efficient"}, "No viable backend"),
        ({"attention": "sdpa", "attention_backend": "cudnn"}, "No viable backend"),
        ({"attention": "flex_attention"}, "does not support `dropout`"),
        ({"attention": "flash_attention_2", "precision": "bf16"}, "the package flash-attn is not installed"),
        (
            {"attention": "flash_attention_3", "precision": "bf16"},
            "the package flash-attn-3 is not installed",
        ),
        (
            {"attention": "kernel", "attention_kernel": "a/b", "attention_revision": SHA},
            "the package kernels is not installed",
        ),
    ],
    ids=lambda each: next(iter(each.values())) if isinstance(each, dict) else "",
)
@pytest.mark.parametrize("model", ["bert", "distilbert"])
def test_what_cannot_run_here_is_unavailable_with_the_reason(
    model: str, trial: dict[str, Any], reason: str, make_job: MakeJob
) -> None:
    with pytest.raises(TrialStoppedError) as caught:
        run_trial(make_job(model, **trial), quietly)
    assert caught.value.status == "unavailable"
    assert reason in str(caught.value)


def test_a_package_of_cuda_is_unavailable_on_the_cpu(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: found("json" if name == "flash_attn" else name)
    )
    with pytest.raises(TrialStoppedError, match="it computes on CUDA, not on cpu"):
        run_trial(make_job(attention="flash_attention_2", precision="bf16"), quietly)


def test_an_encoder_without_sdpa_has_none_of_its_kernels(make_job: MakeJob) -> None:
    with pytest.raises(TrialStoppedError, match="no SDPA attention"):
        run_trial(make_job("mpnet", attention="sdpa", attention_backend="math"), quietly)


def test_a_kernel_that_is_not_forced_is_caught(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "sdpa_kernel", lambda _backend: contextlib.nullcontext())
    job = make_job(attention="sdpa", attention_backend="math")
    # Without dropout, torch takes its flash kernel on the CPU.
    with pytest.raises(TrialStoppedError, match=r"sdpa\(math\) computed by torch's flash kernel"):
        run_trial(without_attention_dropout(job, Path(job.cache_dir).parent), quietly)


def test_another_implementation_than_asked_for_is_caught(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PreTrainedModel, "set_attn_implementation", lambda *_args, **_options: None)
    with pytest.raises(TrialStoppedError, match="attention: flex_attention would compute sdpa instead"):
        run_trial(make_job(attention="flex_attention"), quietly)


def test_trying_a_kernel_changes_no_random_number_and_no_gradient(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first losses with torch's plain kernel are those of plain sdpa, which draws the same masks."""
    losses = []
    for backend in (None, "math"):
        job = make_job(attention="sdpa", attention_backend=backend, train={"max_steps": 3})
        losses.append([each.train_loss for each in run_trial(job, quietly).epochs])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


@pytest.mark.parametrize(
    ("trial", "computes"),
    [
        ({"attention": "sdpa", "attention_backend": "flash", "device": "cuda:0", "precision": "bf16"}, False),
        ({"attention": "sdpa", "attention_backend": "flash", "device": "cpu", "precision": "bf16"}, True),
        ({"attention": "flash_attention_2", "device": "cuda:0", "precision": "bf16"}, False),
        ({"attention": "sdpa", "device": "cuda:0", "precision": "bf16"}, True),
    ],
)
def test_only_kernels_for_halves_are_left_out_of_the_comparison_in_fp32(
    trial: dict[str, Any], *, computes: bool, make_job: MakeJob
) -> None:
    assert computes_fp32(make_job().trial.model_copy(update=trial)) == computes


def test_torch_names_its_kernels_as_the_check_expects() -> None:
    query = torch.randn(2, 2, 6, 8, requires_grad=True)
    with named._Operations() as operations, sdpa_kernel(named._BACKENDS["flash"]):
        torch.nn.functional.scaled_dot_product_attention(query, query, query)
    assert any("_scaled_dot_product_flash_attention" in name for name in operations.names)
