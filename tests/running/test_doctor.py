"""What the doctor says of a machine that is described to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.machine.diagnosis import Finding, diagnose, exit_code
from harness.machine.doctor_facts import Cluster, Facts, Place
from harness.machine.requirements import Package
from harness.model.environment import Torch

CPU_BUILD = Torch(installed=True)
PLENTY = 100_000_000_000
HEALTHY = Facts(
    python="3.11.7",
    packages=(Package("click", "click>=8.2", "8.5.1", satisfied=True),),
    training_packages=(
        Package("torch", "torch>=2.10", "2.13.0+cu128", satisfied=True),
        Package("datasets", "datasets>=5.2", "5.2.0", satisfied=True),
    ),
    torch=Torch(installed=True, cuda="12.8"),
    devices=("cuda:0", "cpu"),
    gpus={"cuda:0": "NVIDIA H100 80GB HBM3"},
    driver="570.86.15",
    reports=Place(Path("reports"), None, PLENTY, True),
    cache=Place(Path("/cache/harness"), None, PLENTY),
    hub_cache=Place(Path("/cache/hub"), None, PLENTY),
    hub_endpoint="https://hub.invalid",
    hub=None,
    mrpc=None,
    environ={},
)


def findings_of(**changes: Any) -> list[Finding]:
    """What is found besides a healthy machine's own findings."""
    healthy = diagnose(HEALTHY)
    return [found for found in diagnose(replace(HEALTHY, **changes)) if found not in healthy]


def test_a_healthy_machine_gets_no_advice_and_exit_code_0() -> None:
    findings = diagnose(HEALTHY)
    assert {found.level for found in findings} == {"ok"}
    assert [found.advice for found in findings if found.advice] == []
    assert exit_code(findings) == 0
    said = "\n".join(found.what for found in findings)
    assert "cuda:0 (NVIDIA H100 80GB HBM3), cpu; torch is built for CUDA 12.8" in said
    assert "100.0 GB free" in said


PROBLEMS: list[tuple[dict[str, Any], str]] = [
    (
        {"training_packages": (Package("transformers", "transformers>=5.3,<6", "4.57", satisfied=False),)},
        "training needs transformers>=5.3,<6, found 4.57",
    ),
    (
        {"training_packages": (Package("torch", "torch>=2.10", None, satisfied=False),)},
        "training needs torch>=2.10, found none",
    ),
    (
        {"packages": (Package("click", "click>=8.2", "8.1", satisfied=False),)},
        "harness itself needs click>=8.2, found 8.1",
    ),
    ({"packages": ()}, "harness is not installed"),
    (
        {"reports": Place(Path("/ro"), "Read-only file system")},
        "/ro, which cannot be written: Read-only file",
    ),
    ({"reports": Place(Path("/full"), None, 1_000_000, True)}, "0.0 GB free, less than a run needs"),
    ({"reports": Place(Path("/nfs"), None, PLENTY, False)}, "file system of /nfs does not enforce locks"),
    ({"damaged": "bert-cased/vocab.txt is missing"}, "are damaged: bert-cased/vocab.txt is missing"),
    (
        {"fetched": {"minilm": "the copy in /cache/minilm is damaged: vocab.txt is missing"}},
        "minilm: the copy in /cache/minilm is damaged: vocab.txt is missing",
    ),
    (
        {"mrpc": "unavailable: glue/mrpc: the folder does not exist"},
        "HARNESS_MRPC_DIR: glue/mrpc: the folder",
    ),
    (
        {"cluster": Cluster("head:1", named=True, error="cannot use the Ray cluster", advice="Start it.")},
        "cannot use the Ray cluster",
    ),
    ({"cluster": Cluster("head:1", named=True)}, "head:1: no node can run a trial"),
]


@pytest.mark.parametrize(("changes", "words"), PROBLEMS)
def test_what_would_stop_a_run_is_a_problem_with_advice_and_exit_code_69(
    changes: dict[str, Any], words: str
) -> None:
    (found,) = [found for found in findings_of(**changes) if found.level != "ok"]
    assert found.level == "problem"
    assert words in found.what
    assert found.advice
    assert exit_code(diagnose(replace(HEALTHY, **changes))) == 69


WARNINGS: list[tuple[dict[str, Any], str]] = [
    (
        {"torch": CPU_BUILD, "gpus": {}, "devices": ("cpu",)},
        "NVIDIA driver 570.86.15, but torch is built for the CPU",
    ),
    ({"gpus": {}, "devices": ("cpu",)}, "built for CUDA 12.8, but there is no GPU"),
    ({"cache": Place(Path("/ro"), "Permission denied")}, "/ro, cannot be written: Permission denied"),
    ({"hub_cache": Place(Path("/small"), None, 1_500_000_000)}, "/small, 1.5 GB free"),
    ({"hub": "cannot be reached (timed out)"}, "https://hub.invalid: cannot be reached (timed out)"),
    ({"environ": {"PYTHONDONTWRITEBYTECODE": "1"}}, "PYTHONDONTWRITEBYTECODE is set"),
    ({"limits": {"CPU seconds": 3600}}, "a limit of 3,600 CPU seconds"),
    (
        {"cluster": Cluster("auto", named=False, error="cannot use the Ray cluster", advice="Start it.")},
        "cannot use the Ray cluster",
    ),
    (
        {
            "cluster": Cluster(
                "head:1", named=True, nodes=("one: 4 CPUs",), problems=("old can run no trial: it has 9",)
            )
        },
        "node old can run no trial: it has 9",
    ),
]


@pytest.mark.parametrize(("changes", "words"), WARNINGS)
def test_what_slows_or_changes_a_run_is_a_warning_with_advice(changes: dict[str, Any], words: str) -> None:
    (found,) = [found for found in findings_of(**changes) if found.level != "ok"]
    assert found.level == "warning"
    assert words in found.what
    assert found.advice
    assert exit_code(diagnose(replace(HEALTHY, **changes))) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hub": "not asked: HF_HUB_OFFLINE is set"}, "the Hub was not asked: HF_HUB_OFFLINE is set"),
        ({"fetched": {"minilm": None}}, "the fetched checkpoint minilm has its pinned digests"),
        ({"torch": Torch(installed=False), "gpus": {}, "devices": ("cpu",)}, "cpu; torch is not installed"),
        ({"mrpc": "folder given by HARNESS_MRPC_DIR, layout glue"}, "MRPC: folder given by HARNESS_MRPC_DIR"),
        ({"torch": CPU_BUILD, "gpus": {}, "devices": ("cpu",), "driver": None}, "built for the CPU only"),
    ],
)
def test_what_is_fine_is_said_too(changes: dict[str, Any], words: str) -> None:
    (found,) = findings_of(**changes)
    assert found.level == "ok"
    assert words in found.what


def test_no_secret_and_no_home_is_in_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    findings = diagnose(
        replace(
            HEALTHY,
            environ={"HF_TOKEN": "canary0123456789"},
            reports=Place(Path("/home/somebody/reports"), "Permission denied"),
            hub_endpoint="https://me:canaryurl0123@hub.invalid",
            hub="cannot be reached (canary0123456789)",
        )
    )
    said = "\n".join(found.model_dump_json() for found in findings)
    assert "somebody" not in said
    assert "canary" not in said
    assert "~/reports" in said


def test_the_nodes_of_a_cluster_are_listed() -> None:
    cluster = Cluster("head:6379", named=True, nodes=("one: 4 CPUs", "two: 9 CPUs, 8 GPUs (H100)"))
    assert [(found.level, found.what) for found in findings_of(cluster=cluster)] == [
        ("ok", "the Ray cluster head:6379: 2 nodes can run trials"),
        ("ok", "node one: 4 CPUs"),
        ("ok", "node two: 9 CPUs, 8 GPUs (H100)"),
    ]
