"""Pin the versions of all packages: `python -m tools.lock`, or `make lock`; needs uv.

Pinned versions stay where pyproject.toml admits them; `--upgrade` takes the newest ones, and
`--upgrade-package NAME` that of one package. There are two files, for Linux and macOS and every supported
version of Python:

- `requirements.txt`: each package with the SHA-256 of its files. pip and uv install no other file.
- `requirements-torch.txt`: torch by its version alone, since its wheels for the CPU have the same version as
  those of the package index but other hashes.

The packages that only torch's wheel for CUDA requires are in neither: their versions follow from torch's, and
they take 2 GB that a machine without a GPU does not need.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
HASHED: Final = "requirements.txt"
UNHASHED: Final = "requirements-torch.txt"
EXTRAS: Final = ("train", "test", "dev", "docs")
"""The extras that the Makefile installs."""

_ENTRY: Final = re.compile(r"^[A-Za-z0-9].*(?:\n +--hash=.*)*", re.MULTILINE)
_ONLY_FOR_CUDA: Final = re.compile(r"(?:nvidia|cuda)-|triton==")
_WRITTEN_BY: Final = "Written by `make lock`; see docs/decisions/hashes.md."

Resolve = Callable[[Path, Sequence[str]], None]


def resolve(output: Path, arguments: Sequence[str]) -> None:
    """Let uv pin every package in a file. Versions that the file has already are preferred.

    Only wheels count: building a source distribution would run code that no hash covers.
    """
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("uv, which resolves the versions, is not installed: pipx install uv")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest = project["requires-python"].removeprefix(">=")
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    command = [
        *(uv, "pip", "compile", "pyproject.toml", *extras),
        *("--universal", "--python-version", lowest, "--generate-hashes"),
        *("--only-binary", ":all:", "--no-header", "--no-annotate", "--quiet"),
        *("--output-file", str(output), *arguments),
    ]
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603 - the words above
        sys.exit(code)


def split(lock: str) -> tuple[str, str]:
    """Return the requirements with hashes, and torch's without; leave out those that only CUDA needs.

    The marker that most requirements have selects the supported environments. It is left out: elsewhere pip
    is to fail instead of installing nothing.
    """
    entries: list[str] = _ENTRY.findall(lock)
    (usual, _), *_ = Counter(map(_marker, entries)).most_common(1)
    entries = [entry.replace(usual, "", 1) if _marker(entry) == usual else entry for entry in entries]
    torch = [entry.partition(" \\\n")[0] for entry in entries if entry.startswith("torch==")]
    hashed = [
        entry for entry in entries if not entry.startswith("torch==") and not _ONLY_FOR_CUDA.match(entry)
    ]
    return "".join(f"{entry}\n" for entry in hashed), "".join(f"{line}\n" for line in torch)


def _marker(entry: str) -> str:
    """Return ` ; python_version < '3.12'`, or nothing."""
    line = entry.partition(" \\\n")[0]
    return line[line.index(" ; ") :] if " ; " in line else ""


def main(arguments: Sequence[str], resolve: Resolve = resolve, folder: Path = ROOT) -> None:
    """Write both files, from those that are there."""
    hashed, unhashed = folder / HASHED, folder / UNHASHED
    with tempfile.TemporaryDirectory() as temporary:
        lock = Path(temporary) / "lock.txt"
        lock.write_text("".join(file.read_text(encoding="utf-8") for file in (hashed, unhashed)))
        resolve(lock, arguments)
        packages, torch = split(lock.read_text(encoding="utf-8"))
    hashed.write_text(f"# All packages but torch, by version and hash. {_WRITTEN_BY}\n{packages}")
    unhashed.write_text(f"# torch, by version. {_WRITTEN_BY}\n{torch}")


if __name__ == "__main__":
    main(sys.argv[1:])
