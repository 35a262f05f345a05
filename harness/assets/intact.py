"""Whether what ships inside the package is as it was when it was packed.

`SHA256SUMS` lies beside the files and is written anew by `python -m harness.assets.intact` after they change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.assets.digest import file_sha256
from harness.assets.embedded import EMBEDDED_FILES

SUMS: Final = "SHA256SUMS"


def damaged_files(folder: Path = EMBEDDED_FILES) -> tuple[str, ...]:
    """The embedded files that are missing, unreadable or changed, by their paths below `folder`.

    Where the sums themselves cannot be read, they are the one that is named.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        wanted = {name: total for total, _, name in (line.partition("  ") for line in lines)}
    except (OSError, ValueError):
        return (SUMS,)
    return tuple(name for name, total in wanted.items() if _sum(folder / name) != total) or (
        () if wanted else (SUMS,)
    )


def write_sums(folder: Path = EMBEDDED_FILES) -> None:
    """Write the sums of all files in `folder`."""
    names = sorted(
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and file.name != SUMS
    )
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _sum(file: Path) -> str | None:
    try:
        return file_sha256(file)
    except OSError:
        return None


if __name__ == "__main__":
    write_sums()
