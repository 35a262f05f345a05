"""The pinned versions: what the files contain, how they are written, and that `make` refuses another file."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.lock import EXTRAS, HASHED, ROOT, UNHASHED, main, split

# uv writes the supported environments into every line.
LOCK: Final = """\
numpy==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
nvidia-nccl-cu13==2.1 ; sys_platform == 'linux' \\
    --hash=sha256:cc
torch==2.13.0 ; python_full_version < '3.14' \\
    --hash=sha256:dd
triton==3.1 ; sys_platform == 'linux' \\
    --hash=sha256:ee
yarl==1.0 ; python_full_version < '3.14' \\
    --hash=sha256:00
zizmor==1.0 ; python_full_version < '3.14' \\
    --hash=sha256:ff
"""


def entries(file: str) -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith(("#", " "))]


def test_torch_is_apart_and_what_only_cuda_needs_is_left_out() -> None:
    hashed, torch = split(LOCK)
    assert hashed == (
        "numpy==2.0 ; python_full_version < '3.12' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "yarl==1.0 \\\n    --hash=sha256:00\nzizmor==1.0 \\\n    --hash=sha256:ff\n"
    )
    assert torch == "torch==2.13.0\n"


def test_versions_that_are_pinned_already_are_given_to_uv(tmp_path: Path) -> None:
    (tmp_path / HASHED).write_text("# words\nnumpy==2.0 \\\n    --hash=sha256:aa\n")
    (tmp_path / UNHASHED).write_text("# words\ntorch==2.13.0\n")
    given: list[str] = []

    def resolve(output: Path, arguments: Sequence[str]) -> None:
        given.extend([output.read_text(), *arguments])
        output.write_text(LOCK)

    main(["--upgrade"], resolve, tmp_path)
    assert "numpy==2.0 \\\n    --hash=sha256:aa\n# words\ntorch==2.13.0\n" in given[0]
    assert given[1:] == ["--upgrade"]
    hashed, torch = split(LOCK)
    assert (tmp_path / HASHED).read_text().partition("\n")[2] == hashed
    assert (tmp_path / UNHASHED).read_text().partition("\n")[2] == torch


def test_every_package_is_pinned_by_version_and_hash_and_no_host_is_named() -> None:
    texts = [(ROOT / file).read_text(encoding="utf-8") for file in (HASHED, UNHASHED)]
    assert not any(re.search(r"://|index|find-links", text) for text in texts)
    blocks = texts[0].partition("\n")[2].replace("\\\n", "").splitlines()
    assert all(
        re.fullmatch(r"[a-z0-9-]+==\S+( ; [^\\]*?)? +(--hash=sha256:[0-9a-f]{64} *)+", block)
        for block in blocks
    )
    assert len(entries(UNHASHED)) == 1


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_every_requirement_of_the_project_has_one_pinned_version(python: str, system: str) -> None:
    place = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": system}
    pinned: dict[str, str] = {}
    for line in entries(HASHED) + entries(UNHASHED):
        found = Requirement(line.removesuffix("\\"))
        if found.marker is None or found.marker.evaluate(place):
            assert found.name not in pinned
            pinned[found.name] = str(found.specifier).removeprefix("==")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [
        line for extra in EXTRAS for line in project["optional-dependencies"][extra]
    ]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def wheel(folder: Path, name: str, version: str) -> str:
    """A wheel with one empty module; returns its SHA-256."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


# A build backend in the checkout, as an editable installation without build isolation takes hatchling's.
BACKEND: Final = """\
import zipfile
from pathlib import Path

def build_editable(folder, config_settings=None, metadata_directory=None):
    about = "project-1.0.dist-info"
    with zipfile.ZipFile(Path(folder) / "project-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("project.pth", str(Path.cwd()))
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\\nName: project\\nVersion: 1.0\\n"
            "Requires-Dist: tiny\\nRequires-Dist: torch>=2\\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n"
            "Tag: py3-none-any\\n")
        archive.writestr(f"{about}/RECORD", "")
    return "project-1.0-py3-none-any.whl"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project with the Makefile, whose packages are two wheels in a folder; torch's is one for the CPU."""
    folder, wheels = tmp_path / "checkout", tmp_path / "wheels"
    folder.mkdir()
    wheels.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "project"\nversion = "1.0"\n'
    )
    sha256 = wheel(wheels, "tiny", "1.0")
    wheel(wheels, "torch", "2.13.0+cpu")
    (folder / HASHED).write_text(f"tiny==1.0 \\\n    --hash=sha256:{sha256}\n")
    (folder / UNHASHED).write_text("torch==2.13.0\n")
    return folder


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    offline = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": str(folder.parent / "wheels"),
        "PIP_NO_INDEX": "1",
    }
    return subprocess.run(
        ["make", f"PYTHON={sys.executable}", ".venv/.installed"],
        cwd=folder,
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_make_installs_by_hash_all_but_torch_and_refuses_a_file_with_another_hash(checkout: Path) -> None:
    pinned = (checkout / HASHED).read_text()
    (checkout / HASHED).write_text(re.sub(r"sha256:\w{8}", "sha256:01234567", pinned))
    done = make(checkout)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (checkout / ".venv" / ".installed").exists()
    assert not list((checkout / ".venv").rglob("tiny.py"))
    (checkout / HASHED).write_text(pinned)
    done = make(checkout)
    assert done.returncode == 0, done.stderr
    for name in ("tiny.py", "torch.py", "project.pth"):
        assert list((checkout / ".venv").rglob(name)), name
