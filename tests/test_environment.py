from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.machine import facts as environment
from harness.machine.facts import cpu_of, describe_cpu, describe_environment, installed_torch
from harness.machine.git_state import describe_git
from harness.model.environment import Device, Torch
from harness.programs import Finished, ProgramError


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/pod/one\n", {"pod/one/cpu.max": "max 100000", "pod/cpu.max": "1600000 100000"}, 16.0),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        # In a container the path may be the host's.
        ("0::/pods/of/the/host\n", {"cpu.max": "400000 100000"}, 4.0),
        (
            "4:memory:/a\n3:cpu,cpuacct:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "800000", "cpu/a/cpu.cfs_period_us": "100000"},
            8.0,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 1e9),
        ("0::/\n", {}, 1e9),
        ("", {}, 1e9),
    ],
)
def test_the_quota_of_a_container_is_the_least_of_its_groups(
    own: str, files: dict[str, str], cores: float, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text(own)
    assert environment.cpu_quota(tmp_path / "own", tmp_path) == cores


def test_a_container_counts_the_cores_of_its_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "usable_cores", lambda: 200)
    monkeypatch.setattr("psutil.cpu_count", lambda *, logical: 200 if logical else 100)
    for quota, cores in ((1e9, 100), (16.0, 16), (0.5, 1)):
        monkeypatch.setattr(environment, "cpu_quota", lambda quota=quota: quota)
        assert environment.physical_cores() == cores


def test_nothing_private_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    text = describe_environment().model_dump_json()
    assert "canary" not in text
    assert '"OMP_NUM_THREADS":"3"' in text
    for private in (str(Path.home()), os.uname().nodename):
        assert private not in text


def test_a_preloaded_allocator_is_recorded_without_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", f"{Path.home()}/lib/libjemalloc.so.2:libother.so")
    monkeypatch.setenv("MALLOC_CONF", "narenas:1")
    found = describe_environment().variables
    assert (found["LD_PRELOAD"], found["MALLOC_CONF"]) == ("libjemalloc.so.2 libother.so", "narenas:1")
    assert {"LD_PRELOAD", "MALLOC_CONF"} <= set(environment.COMPUTING)


def test_versions_are_of_what_is_installed_and_others_are_left_out() -> None:
    packages = describe_environment().packages
    assert set(packages) <= set(environment.PACKAGES)
    assert packages["harness"] == "0.1.0"


def test_the_processor_has_a_name_and_cores() -> None:
    cpu = describe_cpu()
    assert cpu.model
    assert 1 <= cpu.physical_cores <= cpu.logical_cores


def test_processors_of_arm_are_told_apart() -> None:
    one, other = (
        f"processor : 0\nCPU implementer : 0x41\nCPU part : {part}\n" for part in ("0xd0c", "0xd40")
    )
    assert len({cpu_of(text, "aarch64") for text in (one, other)}) == 2
    assert cpu_of("model name\t: Some CPU @ 2 GHz\nflags\t: fpu avx2", "x86_64") == (
        "Some CPU @ 2 GHz",
        ("avx2",),
    )
    assert cpu_of("", "riscv64") == ("riscv64", ())


def test_the_fingerprint_is_of_what_times_depend_on() -> None:
    gpu = Device(kind="cuda", index=0, name="GPU", clock_mhz=1_000.0)
    one = describe_environment(gpu, threads=2)
    other_clock = one.model_copy(update={"device": gpu.model_copy(update={"clock_mhz": 2_000.0, "index": 1})})
    assert one.fingerprint == other_clock.fingerprint
    assert one.fingerprint != one.model_copy(update={"threads": 4}).fingerprint
    assert one.fingerprint != one.model_copy(update={"device": None}).fingerprint
    assert one.fingerprint != one.model_copy(update={"packages": {"torch": "1"}}).fingerprint


def run_git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(("git", *identity, "-C", str(folder), *arguments), check=True, capture_output=True)


def test_git_tells_the_commit_and_whether_tracked_files_differ(tmp_path: Path) -> None:
    assert describe_git(tmp_path) is None
    run_git(tmp_path, "init")
    (tmp_path / "file").write_text("one")
    run_git(tmp_path, "add", "file")
    run_git(tmp_path, "commit", "-m", "first")
    clean = describe_git(tmp_path)
    assert clean is not None
    assert len(clean.commit) == 40
    assert not clean.dirty
    (tmp_path / "untracked").write_text("x")
    assert describe_git(tmp_path) == clean
    (tmp_path / "file").write_text("two")
    changed = describe_git(tmp_path)
    assert changed is not None
    assert changed.dirty


@pytest.mark.parametrize(
    ("version", "cuda"),
    [
        ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n", None),
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", "13.0"),
        ('cuda = "12.8"\n', "12.8"),
    ],
)
def test_the_cuda_build_of_torch_is_read_without_importing_it(
    version: str, cuda: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('torch was imported')")
    (package / "version.py").write_text(version)

    class Spec:
        origin = str(package / "__init__.py")

    monkeypatch.setattr("importlib.util.find_spec", lambda _name: Spec)
    assert installed_torch() == Torch(installed=True, cuda=cuda)
    (package / "version.py").unlink()
    assert installed_torch() == Torch(installed=False)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, str]]]:
    """Memory and name of the GPUs that the driver would list, for a CUDA build of torch on Linux."""
    listed: list[tuple[int, str]] = []
    monkeypatch.setattr(environment, "installed_torch", lambda: Torch(installed=True, cuda="13.0"))
    monkeypatch.setattr(environment, "_cuda_devices", lambda: listed)
    monkeypatch.setattr("sys.platform", "linux")
    for cached in (environment.available_devices, environment.describe_gpus):
        cached.cache_clear()
    yield listed
    for cached in (environment.available_devices, environment.describe_gpus):
        cached.cache_clear()


def test_a_cuda_build_without_a_driver_has_the_cpu_alone(gpus: list[tuple[int, str]]) -> None:
    assert environment.available_devices() == ("cpu",)


def test_gpus_are_described_by_the_names_a_suite_gives_them(gpus: list[tuple[int, str]]) -> None:
    gpus += [(80 * 2**30, "NVIDIA H100 80GB HBM3"), (15 * 2**30, "Tesla T4")]
    assert environment.available_devices() == ("cuda:0", "cuda:1", "cpu")
    described = environment.describe_gpus().values()
    assert [(gpu.memory_bytes, gpu.name) for gpu in described] == gpus


class FakeDriver:
    """NVIDIA's driver as far as it is asked, with two devices."""

    names = ("NVIDIA H100 80GB HBM3", "Tesla T4")

    def cuInit(self, _flags: int) -> None:  # noqa: N802 - the driver's names
        """Nothing to do."""

    def cuDeviceGetCount(self, count: Any) -> None:  # noqa: N802
        count._obj.value = len(self.names)

    def cuDeviceGet(self, device: Any, index: int) -> None:  # noqa: N802
        device._obj.value = index

    def cuDeviceGetName(self, name: Any, _size: int, device: Any) -> None:  # noqa: N802
        name.value = self.names[device.value].encode()

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> None:  # noqa: N802
        memory._obj.value = (device.value + 1) * 2**34


def test_the_program_that_lists_devices_needs_no_other_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: FakeDriver())
    exec(environment._LIST_CUDA_DEVICES, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{2**34} {FakeDriver.names[0]}", f"{2**35} {FakeDriver.names[1]}"]


def test_a_driver_that_takes_a_minute_to_start_has_its_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a machine with eight GPUs, which many processes ask at once."""

    def slow(_command: object, *, timeout_s: float) -> Finished:
        if timeout_s < 60:
            raise ProgramError(f"took longer than {timeout_s:g} s")
        return Finished(0, f"{2**34} Tesla T4\n".encode(), b"")

    monkeypatch.setattr(environment, "run_program", slow)
    assert environment._cuda_devices() == [(2**34, "Tesla T4")]


def test_a_build_for_the_cpu_has_no_gpu(gpus: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus.append((15 * 2**30, "Tesla T4"))
    monkeypatch.setattr(environment, "installed_torch", lambda: Torch(installed=True))
    assert environment.describe_gpus() == {}


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\nGCC version: 12.2\n",
            "535.104.05",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n", "570.86.15"),
        ("something else", None),
    ],
)
def test_the_driver_is_the_one_the_kernel_has_loaded(tmp_path: Path, text: str, driver: str | None) -> None:
    (tmp_path / "version").write_text(text)
    assert environment.nvidia_driver(tmp_path / "version") == driver
    assert environment.nvidia_driver(tmp_path / "missing") is None
