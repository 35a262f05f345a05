"""Diagnose a machine: problems that would stop a run, warnings that would slow or change it, and advice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from harness.assets.find_data import MRPC_VARIABLE
from harness.errors import ExitCode
from harness.machine.doctor_facts import Facts, Place
from harness.machine.redaction import redact, secrets_in
from harness.machine.requirements import Package, install_hint
from harness.model.frozen import Frozen
from harness.model.suite import Measure
from harness.words import count

Level = Literal["ok", "warning", "problem"]

# The files of a run: a plan, logs of a few megabytes per trial, and a report.
_LEAST_BYTES: Final = 50_000_000
# The size of a BERT checkpoint and its tokenized data in the caches.
_CACHE_BYTES: Final = 2_000_000_000


class Finding(Frozen):
    """One line of a diagnosis: its severity, the fact, and advice unless the severity is `ok`."""

    level: Level
    what: str
    advice: str | None = None


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Judge a machine; the findings contain no secrets and no home folder."""
    secrets = secrets_in(facts.environ)
    checks = (_versions, _devices, _cluster, _reports, _caches, _hub, _assets, _surroundings)
    return tuple(
        Finding(
            level=found.level,
            what=redact(found.what, secrets),
            advice=None if found.advice is None else redact(found.advice, secrets),
        )
        for check in checks
        for found in check(facts)
    )


def exit_code(findings: tuple[Finding, ...]) -> int:
    """Return 0 if no finding would stop a run, else 69."""
    stopped = any(found.level == "problem" for found in findings)
    return ExitCode.UNAVAILABLE if stopped else ExitCode.SUCCESS


def _versions(facts: Facts) -> Iterator[Finding]:
    yield _ok(f"Python {facts.python}")
    for kind, packages, extra in (
        ("harness itself", facts.packages, None),
        ("training", facts.training_packages, "train"),
    ):
        wrong = [package for package in packages if not package.satisfied]
        for package in wrong:
            yield _problem(f"{kind} {package}", install_hint(extra, wrong))
        if packages and not wrong:
            yield _ok(f"packages for {kind}: {', '.join(map(_named, packages))}")
    if not facts.packages:
        yield _problem("harness is not installed, so its versions cannot be checked", "Install it: make")


def _named(package: Package) -> str:
    return f"{package.name} {package.found}"


def _devices(facts: Facts) -> Iterator[Finding]:
    named = [f"{name} ({facts.gpus[name]})" if name in facts.gpus else name for name in facts.devices]
    yield _ok(f"devices: {', '.join(named)}; {facts.torch}")
    if facts.torch.installed and facts.torch.cuda is None and facts.driver is not None:
        yield _warning(
            f"there is an NVIDIA driver {facts.driver}, but {facts.torch}",
            "Trials on cuda would be unavailable; install a CUDA build of torch (see pytorch.org).",
        )
    if facts.torch.cuda is not None and not facts.gpus:
        yield _warning(
            f"{facts.torch}, but there is no GPU that it can use",
            "Trials on cuda would be unavailable. If this machine has a GPU, check the driver with "
            "nvidia-smi, and CUDA_VISIBLE_DEVICES; if not, a CPU build of torch takes 3 GB less.",
        )


def _cluster(facts: Facts) -> Iterator[Finding]:
    found = facts.cluster
    if found is None:
        return
    severe = _problem if found.named else _warning
    if found.error is not None:
        yield severe(found.error, found.advice)
        return
    name = f"the Ray cluster {found.address}"
    same = "Install the same harness, with its extras `train` and `ray`, on every node."
    if found.nodes:
        yield _ok(f"{name}: {count(len(found.nodes), 'node')} can run trials")
    else:
        yield severe(f"{name}: no node can run a trial", same)
    for node in found.nodes:
        yield _ok(f"node {node}")
    for problem in found.problems:
        yield _warning(f"node {problem}", same)


def _reports(facts: Facts) -> Iterator[Finding]:
    place = facts.reports
    if place.error is not None:
        yield _problem(
            f"reports go to {place.path}, which cannot be written: {place.error}",
            "Choose another folder: --reports FOLDER",
        )
        return
    yield _ok(f"reports go to {place.path}{_free(place)}")
    if place.free_bytes is not None and place.free_bytes < _LEAST_BYTES:
        yield _problem(
            f"{place.path}{_free(place)}, less than a run needs",
            "Free some space, or choose another folder: --reports FOLDER",
        )
    if place.locks is False:
        yield _problem(
            f"the file system of {place.path} does not enforce locks: two processes could write one run",
            "Choose a folder on a local file system: --reports FOLDER",
        )


def _caches(facts: Facts) -> Iterator[Finding]:
    for what, place, variable in (
        ("tokenized data and fetched checkpoints", facts.cache, "HARNESS_CACHE_DIR"),
        ("the Hub's files", facts.hub_cache, "HF_HOME"),
    ):
        if place.error is not None:
            yield _warning(
                f"the cache for {what}, {place.path}, cannot be written: {place.error}",
                f"Runs use a temporary folder instead, which later runs do not see. Set {variable}.",
            )
        elif place.free_bytes is not None and place.free_bytes < _CACHE_BYTES:
            yield _warning(
                f"the cache for {what}: {place.path}{_free(place)}",
                f"That may be too little for large checkpoints. Free some space, or set {variable}.",
            )
        else:
            yield _ok(f"the cache for {what}: {place.path}{_free(place)}")


def _hub(facts: Facts) -> Iterator[Finding]:
    if facts.hub is None:
        yield _ok(f"the Hub answers: {facts.hub_endpoint}")
    elif facts.hub.startswith("not asked"):
        yield _ok(f"the Hub was {facts.hub}")
    else:
        yield _warning(
            f"the Hub at {facts.hub_endpoint}: {facts.hub}",
            "Assets missing from its cache are replaced by labelled stand-ins; with --assets hub they are "
            "unavailable.",
        )


def _assets(facts: Facts) -> Iterator[Finding]:
    if facts.damaged:
        yield _problem(
            f"embedded files are damaged: {facts.damaged}",
            "Install harness again.",
        )
    else:
        yield _ok("the embedded checkpoints and corpus have their pinned digests")
    for name, damaged in facts.fetched.items():
        if damaged is None:
            yield _ok(f"the fetched checkpoint {name} has its pinned digests")
        else:
            yield _problem(f"{name}: {damaged}", f"Run: harness fetch {name}")
    if facts.mrpc is None:
        return
    if facts.mrpc.startswith("unavailable: "):
        yield _problem(
            f"{MRPC_VARIABLE}: {facts.mrpc.removeprefix('unavailable: ')}",
            "Set it to a folder with GLUE's or Microsoft's files of MRPC, or unset it.",
        )
    else:
        yield _ok(f"MRPC: {facts.mrpc}")


def _surroundings(facts: Facts) -> Iterator[Finding]:
    if facts.environ.get("PYTHONDONTWRITEBYTECODE"):
        yield _warning(
            "PYTHONDONTWRITEBYTECODE is set, so that every start of Python compiles its modules again",
            "Unset it: workers are not affected, but each command starts several times slower.",
        )
    for name, limit in facts.limits.items():
        yield _warning(
            f"a limit of {limit:,} {name} is set for this process and its children",
            "Trials that reach it are killed. Raise it with ulimit or in your job scheduler.",
        )
    measure = Measure()
    yield _ok(
        f"a trial may take {measure.start_timeout_seconds:g} s until its first progress message and "
        f"{measure.stall_timeout_seconds:g} s between two; set other limits in a suite's measure:"
    )


def _free(place: Place) -> str:
    return "" if place.free_bytes is None else f", {place.free_bytes / 1e9:.1f} GB free"


def _ok(what: str) -> Finding:
    return Finding(level="ok", what=what)


def _warning(what: str, advice: str) -> Finding:
    return Finding(level="warning", what=what, advice=advice)


def _problem(what: str, advice: str) -> Finding:
    return Finding(level="problem", what=what, advice=advice)
