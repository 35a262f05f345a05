"""Files of other programs: only a regular file of bounded size is read, and nothing blocks."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import psutil
import pytest

from harness.foreign import ForeignFileError, open_regular, read_regular, read_tail

pytestmark = pytest.mark.timeout(30)


def test_a_regular_file_up_to_the_limit_is_read_through_a_link_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file", limit=5) == b"12345"
    assert read_regular(tmp_path / "link", limit=5) == b"12345"
    with pytest.raises(ForeignFileError, match="larger than 4 bytes"):
        read_regular(tmp_path / "file", limit=4)


def test_a_link_is_refused_where_it_may_not_be_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError, match="symbolic links"):
        read_regular(tmp_path / "link", limit=5, follow=False)


def test_what_is_no_regular_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name, kind in (("pipe", "a named pipe"), ("device", "a device"), ("folder", "a folder")):
        with pytest.raises(ForeignFileError, match=f"is {kind}, not a regular file"):
            open_regular(tmp_path / name)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="device"):
            open_regular(tmp_path / "socket")


def test_a_sparse_file_is_refused_by_its_size_and_its_end_is_read(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    sparse.touch()
    os.truncate(sparse, 40 * 2**30)
    with pytest.raises(ForeignFileError, match="larger than 1 MiB"):
        read_regular(sparse, limit=2**20)
    assert read_tail(sparse, size=3) == (bytes(3), True)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_file_that_grows_beyond_its_size_is_refused() -> None:
    # Its size is reported as 0, as that of a file which grows between the look and the read may be.
    with pytest.raises(ForeignFileError, match="larger than 10 bytes"):
        read_regular(Path("/proc/self/status"), limit=10)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = psutil.Process().num_fds()
    for _ in range(20):
        with pytest.raises(ForeignFileError):
            open_regular(tmp_path / "pipe")
    assert psutil.Process().num_fds() == before
