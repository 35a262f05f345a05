"""Stand-ins for what trains: quick, deterministic, and some of them hostile. No torch."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from harness.machine.facts import describe_environment, physical_cores
from harness.model.environment import Device
from harness.model.job import Announce, Job, Progress, TrialStoppedError
from harness.model.measurements import measured
from harness.model.metrics import METRICS
from harness.model.proof import Parity, TrainingCheck, TrainingProof
from harness.model.results import TrialResult
from harness.model.seeds import number_of
from harness.store.saved_models import mark_saved
from harness.store.trial_folder import STATE, write_result
from harness.store.writing import Files, write_atomic
from tests.factories import (
    EFFICIENCY,
    make_checkpoint,
    make_data,
    make_measurements,
    make_predictions,
    make_result,
)


def completed(job: Job) -> TrialResult:
    """What a good trial gives: the same for the same trial, outside of times."""
    draw = random.Random(job.trial.id)
    threads = job.measure.threads or physical_cores()
    found = job.checkpoint.digests
    digests = {} if found is None else {f"{part}_sha256": total for part, total in found}
    return make_result(
        job.trial,
        accuracy=draw.uniform(0.6, 0.9),
        checkpoint=make_checkpoint(
            requested=job.checkpoint.requested,
            name=job.checkpoint.name,
            source=job.checkpoint.source,
            revision=job.checkpoint.revision,
            stand_in=job.checkpoint.stand_in,
            **digests,
        ),
        data=make_data(
            requested=job.data.requested,
            name=job.data.name,
            source=job.data.source,
            revision=job.data.revision,
            synthetic=job.data.synthetic,
            files_sha256=job.data.files_sha256,
        ),
        environment=describe_environment(Device(kind="cpu", name="fake"), threads),
        started=datetime.now(UTC),
    )


def good(job: Job, announce: Announce) -> TrialResult:
    """Completes at once."""
    announce(Progress(phase="load_data"))
    for step in range(1, 4):
        announce(Progress(phase="train", step=step, steps=3, epoch=1, loss=0.7 / step))
    return completed(job)


def keeping_its_state(job: Job, _announce: Announce) -> TrialResult:
    """Leaves the state of a training and is killed."""
    assert job.folder is not None
    (Path(job.folder) / STATE).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def noting_its_state(job: Job, _announce: Announce) -> TrialResult:
    """Completes, with a note of whether an earlier attempt has left its state."""
    assert job.folder is not None
    return completed(job).model_copy(update={"notes": (f"state: {(Path(job.folder) / STATE).exists()}",)})


def proving(job: Job, announce: Announce) -> TrialResult:
    """Proves and completes; `bucketed` computes another function, and `static` cannot be proved.

    With `bucketed` training differs from the reference, too.
    """
    if job.purpose == "train":
        return completed(job)
    if job.trial.padding.strategy == "static":
        raise TrialStoppedError("failed", "it cannot be proved")
    if job.purpose == "prove_training":
        otherwise = job.trial.padding.strategy == "bucketed"
        check = TrainingCheck(
            name="losses",
            passed=not otherwise,
            found=f"largest difference {1.0 if otherwise else 0.0:.1e} (limit 1e-05)",
            measured=1.0 if otherwise else 0.0,
            limit=1e-5,
        )
        proof = TrainingProof(checks=(check,), unproved=("other sizes",))
        return completed(job).model_copy(update={"training": proof})
    gone_wrong = 1.0 if job.trial.padding.strategy == "bucketed" else 0.0
    parity = Parity(
        examples=64,
        largest_logit_difference=gone_wrong,
        relative_gradient_error=0.0,
        flipped_predictions=0,
    )
    return completed(job).model_copy(update={"parity": parity})


def apart(job: Job, announce: Announce) -> TrialResult:
    """Times a window of 4 steps without scores, or trains for 0.3 s; notes when, and with how many threads.

    The window of seed 7 runs out of memory.
    """
    since = time.monotonic()
    if job.purpose not in ("train", "time"):
        return proving(job, announce)
    announce(Progress(phase="train", step=1, steps=2))
    if job.purpose == "time" and job.trial.seed == 7:
        raise TrialStoppedError("oom", "no memory")
    time.sleep(0.05 if job.purpose == "time" else 0.3)
    result = completed(job)
    if job.purpose == "time":
        rate = 30.0 * EFFICIENCY.get(job.trial.padding.strategy, 0.9)
        timed = make_measurements(make_predictions(), samples_per_second=rate, steps=4)
        kept = [each for each in timed if METRICS[each.metric].family == "time"]
        result = result.model_copy(update={"measurements": (*kept,), "epochs": (), "predictions": None})
    note = f"{job.purpose} from {since} to {time.monotonic()}, concurrent {job.concurrent}"
    return result.model_copy(update={"notes": (note,), "duration_s": time.monotonic() - since})


def sharing(job: Job, announce: Announce) -> TrialResult:
    """Times and trains as `apart`; the padding efficiency depends on the padding, as in a training."""
    result = apart(job, announce)
    if job.purpose != "time":
        return result
    efficiency = measured("padding_efficiency", EFFICIENCY[job.trial.padding.strategy])
    return result.model_copy(update={"measurements": (*result.measurements, efficiency)})


def sharing_fails(job: Job, announce: Announce) -> TrialResult:
    """Does as `sharing`, but `unpadded` fails to train."""
    if job.purpose == "train" and job.trial.padding.strategy == "unpadded":
        raise TrialStoppedError("failed", "it cannot be trained")
    return sharing(job, announce)


def slow(job: Job, announce: Announce) -> TrialResult:
    """Completes after FAKE_SECONDS, 0.3 unless set."""
    announce(Progress(phase="train", step=1, steps=2))
    time.sleep(float(os.environ.get("FAKE_SECONDS", "0.3")))
    return completed(job)


def timed(job: Job, announce: Announce) -> TrialResult:
    """Proves and trains as `proving` does, after 0.1 and 0.8 s, and reports these times."""
    started, since = datetime.now(UTC), time.monotonic()
    announce(Progress(phase="train", step=1, steps=2))
    time.sleep(0.8 if job.purpose == "train" else 0.1)
    result = proving(job, announce)
    return result.model_copy(update={"started": started, "duration_s": time.monotonic() - since})


def mute(job: Job, announce: Announce) -> TrialResult:
    """Never says anything."""
    time.sleep(600)
    return completed(job)


def show_environment(job: Job, announce: Announce) -> TrialResult:
    """Prints its environment variables, as JSON."""
    print(json.dumps(dict(os.environ)), flush=True)  # noqa: T201 -- what a worker prints is what is tested
    return completed(job)


def hostile(job: Job, announce: Announce) -> TrialResult:
    """Behaves as badly as its seed says; seeds below 100 and odd ones are good neighbours."""
    announce(Progress(phase="train", step=1, steps=2))
    result = completed(job)
    if misbehave := HOSTILE.get(number_of(job.trial.seed, "init")):
        return misbehave(job) or result
    return result


def _segmentation_fault(job: Job) -> None:
    ctypes.string_at(0)


def _exit(job: Job) -> None:
    os._exit(3)


def _kill_itself(job: Job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang(job: Job) -> None:
    time.sleep(600)


def _hang_deaf(job: Job) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def _flood(job: Job) -> None:
    block = b"::error::x\x1b[31m" * 65_536
    for _ in range(200 * 2**20 // len(block)):
        os.write(1, block)


def _print_rubbish(job: Job) -> None:
    os.write(2, b"\xff\xfe rubbish \x00\x80\n")
    raise ValueError("after \udcff rubbish")


def _leave_grandchild(job: Job) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    if os.fork() == 0:
        time.sleep(600)


def _close_descriptors(job: Job) -> None:
    os.closerange(0, 256)


def _leave_half_a_result(job: Job) -> None:
    Path("result.json").write_text('{"digest": "sha256:')
    os._exit(0)


def _give_another_result(job: Job) -> None:
    other = job.trial.model_copy(update={"seed": 1})
    sealed = write_elsewhere(completed(job.model_copy(update={"trial": other})))
    Path("result.json").write_bytes(sealed)
    os._exit(0)


def _replace(name: str) -> Path:
    """The path of a file in the trial's folder, from which it has been removed."""
    path = Path(name)
    path.unlink(missing_ok=True)
    return path


def _leave_a_pipe_as_result(job: Job) -> None:
    os.mkfifo(_replace("result.json"))
    os._exit(0)


def _leave_a_sparse_result(job: Job) -> None:
    Path("result.json").touch()
    os.truncate("result.json", 40 * 2**30)
    os._exit(0)


def _leave_a_device_as_result(job: Job) -> None:
    Path("result.json").symlink_to("/dev/zero")
    os._exit(0)


def _make_progress_a_pipe(job: Job) -> None:
    os.mkfifo(_replace("progress.jsonl"))


def _make_progress_sparse(job: Job) -> None:
    os.truncate("progress.jsonl", 40 * 2**30)
    time.sleep(600)


def _print_progress_without_end(job: Job) -> None:
    with Path("progress.jsonl").open("ab") as file:
        while True:
            file.write(b"x" * 2**16)
            time.sleep(0.01)


def _make_log_a_pipe(job: Job) -> None:
    os.mkfifo(_replace("log"))
    os._exit(3)


def _remove_its_folder(job: Job) -> None:
    shutil.rmtree(Path.cwd())


def _put_a_link_in_place_of_its_folder(job: Job) -> None:
    folder = Path.cwd()
    away = folder.rename(folder.parents[2] / f"away-{folder.name}")
    folder.symlink_to(away)


def _put_a_file_in_place_of_its_folder(job: Job) -> None:
    folder = Path.cwd()
    shutil.rmtree(folder)
    folder.touch()


def _put_folders_in_place_of_its_files(job: Job) -> None:
    for name in ("progress.jsonl", "log", "job.json"):
        _replace(name).mkdir()


def _use_too_much_memory(job: Job) -> None:
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**26, in_use + 2**26))
    bytearray(2**32)


class OutOfMemoryError(RuntimeError):
    """Called as torch calls its own, by which it is known."""


def _use_too_much_device_memory(job: Job) -> None:
    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has 79.11 GiB in all.")


def write_elsewhere(result: TrialResult) -> bytes:
    """The bytes of a whole `result.json`, made in a folder of its own."""
    folder = Path("elsewhere", result.trial.id)
    folder.mkdir(parents=True)
    write_result(folder, result)
    return (folder / "result.json").read_bytes()


def _diverge(job: Job) -> None:
    raise TrialStoppedError("diverged", "the loss is NaN at step 2")


def _return_nonsense(job: Job) -> TrialResult:
    return completed(job).model_copy(update={"duration_s": float("nan")})


HOSTILE: dict[int, Callable[[Job], TrialResult | None]] = {
    100: _segmentation_fault,
    102: _exit,
    104: _kill_itself,
    106: _hang,
    108: _hang_deaf,
    110: _flood,
    112: _print_rubbish,
    114: _leave_grandchild,
    116: _close_descriptors,
    118: _leave_half_a_result,
    120: _give_another_result,
    122: _use_too_much_memory,
    124: _diverge,
    126: _return_nonsense,
    128: _use_too_much_device_memory,
    130: _leave_a_pipe_as_result,
    132: _leave_a_sparse_result,
    134: _leave_a_device_as_result,
    136: _make_progress_a_pipe,
    138: _make_progress_sparse,
    140: _print_progress_without_end,
    142: _make_log_a_pipe,
    144: _remove_its_folder,
    146: _put_a_link_in_place_of_its_folder,
    148: _put_a_file_in_place_of_its_folder,
    150: _put_folders_in_place_of_its_files,
}


def recorded(job: Job, announce: Announce) -> TrialResult:
    """Completes after a moment; begins with a line in the file named by FAKE_RECORD."""
    with Path(os.environ["FAKE_RECORD"]).open("a") as record:
        record.write(f"{job.trial.id}\n")
    announce(Progress(phase="train", step=1, steps=2))
    time.sleep(0.005)
    return completed(job)


def taking_turns(job: Job, announce: Announce) -> TrialResult:
    """Completes with the speed in FAKE_SPEEDS of the interpreter's or the suite's side.

    Begins with a line in the file named by FAKE_RECORD: the interpreter, the padding and the seed. Fails
    under the interpreter whose path contains FAKE_FAILS.
    """
    padding = job.trial.padding.strategy
    with Path(os.environ["FAKE_RECORD"]).open("a") as record:
        record.write(f"{sys.executable} {padding} {job.trial.seed}\n")
    announce(Progress(phase="train", step=1, steps=2))
    if (failing := os.environ.get("FAKE_FAILS")) and failing in sys.executable:
        raise RuntimeError("it fails on this side")
    speeds = json.loads(os.environ.get("FAKE_SPEEDS", "{}"))
    speed = next((speed for part, speed in speeds.items() if part in f"{sys.executable} {padding}"), 25.0)
    result = completed(job)
    assert result.predictions is not None
    # The machine slows down from seed to seed, for both sides.
    rate = (
        speed * (1 - 0.05 * number_of(job.trial.seed, "init")) * random.Random(job.trial.id).uniform(0.999, 1)
    )
    timed = make_measurements(
        result.predictions,
        samples_per_second=rate,
        seed=number_of(job.trial.seed, "init"),
        padding_efficiency=EFFICIENCY[padding],
    )
    return result.model_copy(update={"measurements": timed})


def killed_with_state(job: Job, announce: Announce) -> TrialResult:
    """Is killed in its first attempt, and completes once it finds the state that this attempt has left."""
    assert job.folder is not None
    state = Path(job.folder) / STATE
    if not state.exists():
        state.write_text("a state")
        os.kill(os.getpid(), signal.SIGKILL)
    result = completed(job)
    return result.model_copy(update={"notes": (state.read_text(),)})


def saving(job: Job, announce: Announce) -> TrialResult:
    """Completes, with weights of a few bytes saved where the job asks for them."""
    result = completed(job)
    if job.save_to is not None:
        folder = Path(job.save_to)
        folder.mkdir(exist_ok=True)
        (folder / "model.safetensors").write_bytes(job.trial.id.encode())
        (folder / "config.json").write_text("{}")
        mark_saved(folder, result)
    return result


def scoring(job: Job, announce: Announce) -> TrialResult:
    """Completes with the accuracy in FAKE_ACCURACIES of the first part in its interpreter's path."""
    accuracies = json.loads(os.environ.get("FAKE_ACCURACIES", "{}"))
    accuracy = next((value for part, value in accuracies.items() if part in sys.executable), 0.97)
    result = completed(job)
    scored = make_result(job.trial, accuracy=accuracy, examples=100)
    kept = ("epochs", "measurements", "predictions", "degenerate")
    return result.model_copy(update={name: getattr(scored, name) for name in kept} | {"data": scored.data})


def deciding(job: Job, announce: Announce) -> TrialResult:
    """Completes on 400 examples: `dynamic` as `static`, `bucketed` worse, `unpadded` equal but noisy.

    Fails for the padding in FAKE_FAILS; begins with a line in the file named by FAKE_RECORD.
    """
    padding, seed = job.trial.padding.strategy, number_of(job.trial.seed, "init")
    with Path(os.environ["FAKE_RECORD"]).open("a") as record:
        record.write(f"{padding} {seed}\n")
    announce(Progress(phase="train", step=1, steps=2))
    if os.environ.get("FAKE_FAILS") == padding:
        raise RuntimeError("it fails with this padding")
    plain = completed(job)
    accuracy = 0.6 if padding == "bucketed" else 0.85
    drawn = make_predictions(seed + (1_000 if padding == "unpadded" else 0), 400, accuracy)
    found = make_result(job.trial, predictions=drawn)
    kept = {name: getattr(plain, name) for name in ("checkpoint", "environment", "started")}
    assert plain.data is not None
    assert found.data is not None
    sizes = {name: getattr(found.data, name) for name in ("eval_examples", "eval_majority_share")}
    return found.model_copy(update=kept | {"data": plain.data.model_copy(update=sizes)})


def held_at_the_fourth(job: Job, announce: Announce) -> TrialResult:
    """Like `taking_turns`; the fourth start of all waits for the file named by FAKE_RELEASE."""
    result = taking_turns(job, announce)
    if len(Path(os.environ["FAKE_RECORD"]).read_text().splitlines()) >= 4:
        return held(job, announce)
    return result


def torn(job: Job, announce: Announce) -> TrialResult:
    """Like `recorded`, in a worker that writes its result in place, half by half, as a plain writer may."""
    result = recorded(job, announce)
    data = write_elsewhere(result)
    with Path("result.json").open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        time.sleep(0.05)
        file.write(data[len(data) // 2 :])
    os._exit(0)


def without_space(job: Job, announce: Announce) -> TrialResult:
    """Completes trials with seed 0; finds the disk full in others, as a cache elsewhere may be."""
    announce(Progress(phase="tokenize"))
    if job.trial.seed == 0:
        return completed(job)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/cache/tokens/x.npy")
    raise RuntimeError("could not save the arrays") from full


def without_place(job: Job, announce: Announce) -> TrialResult:
    """Finds no folder for the state of its training, with seed 1 for want of space."""
    reason = errno.ENOSPC if job.trial.seed == 1 else errno.EROFS

    def refuse(_path: Path, _flags: int) -> int:
        raise OSError(reason, os.strerror(reason))

    write_atomic(Path("state.bin"), b"", files=Files(open=refuse))
    return completed(job)


def saving_much(job: Job, announce: Announce) -> TrialResult:
    """Completes, and saves a model of 400 kB by the library that transformers saves by."""
    import numpy as np  # noqa: PLC0415 - for this one alone
    from safetensors.numpy import save_file  # noqa: PLC0415

    result = completed(job)
    assert job.save_to is not None
    folder = Path(job.save_to)
    folder.mkdir()
    save_file({"weights": np.zeros(50_000)}, folder / "model.safetensors")
    mark_saved(folder, result)
    return result


def deaf(job: Job, announce: Announce) -> TrialResult:
    """Ignores SIGTERM and never ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    announce(Progress(phase="train", step=1, steps=2))
    time.sleep(600)
    return completed(job)


def shouting(job: Job, announce: Announce) -> TrialResult:
    """Prints what a runner of workflows and a terminal would obey, and raises with it."""
    shouted = "x\n::error::file=a::b\r\n::set-env name=A::b\n\x1b]0;title\x07"
    os.write(1, shouted.encode())
    raise RuntimeError(shouted)


def leaky(job: Job, announce: Announce) -> TrialResult:
    """Prints all it finds in the file named by FAKE_LEAKS, and raises with it."""
    announce(Progress(phase="load_model"))
    leaks = Path(os.environ["FAKE_LEAKS"]).read_text().split("\0")
    for leak in leaks:
        os.write(1, f"leaking: {leak} {leak!r}\n".encode())
    raise RuntimeError("leaking: " + " and ".join(leaks))


def held(job: Job, announce: Announce) -> TrialResult:
    """Completes when the file named by FAKE_RELEASE is there."""
    announce(Progress(phase="train", step=1, steps=2))
    while not Path(os.environ["FAKE_RELEASE"]).exists():
        time.sleep(0.02)
    return completed(job)


def littering(job: Job, announce: Announce) -> TrialResult:
    """Leaves temporary files; seed 0 completes, seed 1 kills itself, seed 2 never ends."""
    (Path(tempfile.mkdtemp()) / "file").write_text("x" * 1000)
    Path(os.environ["TMPDIR"], "file").touch()
    announce(Progress(phase="train", step=1, steps=2))
    if job.trial.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.trial.seed == 2:
        time.sleep(600)
    return completed(job)


def talking(job: Job, announce: Announce) -> TrialResult:
    """Prints a line and never ends."""
    sys.stdout.write(f"working on seed {job.trial.seed}\n")
    announce(Progress(phase="train", step=1, steps=2))
    time.sleep(600)
    return completed(job)


def second_held(job: Job, announce: Announce) -> TrialResult:
    """Completes, with seed 1 when the file named by FAKE_RELEASE is there."""
    announce(Progress(phase="train", step=1, steps=2))
    return held(job, announce) if job.trial.seed == 1 else completed(job)


def seen_and_held(job: Job, announce: Announce) -> TrialResult:
    """Leaves a line in the file named by FAKE_RECORD, and completes when that of FAKE_RELEASE is there."""
    announce(Progress(phase="train", step=1, steps=2))
    with Path(os.environ["FAKE_RECORD"]).open("a") as record:
        record.write(f"{job.trial.id}\n")
    return held(job, announce)
