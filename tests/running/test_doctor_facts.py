"""What the doctor finds on this machine: folders, locks, limits, the Hub."""

from __future__ import annotations

import fcntl
import http.server
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.machine import doctor_facts
from harness.machine.doctor_facts import ask_hub, gather, look_at
from tests.store.processes import Child


def test_a_folder_that_can_be_made_is_looked_at_without_making_it(tmp_path: Path) -> None:
    place = look_at(tmp_path / "new" / "deeper", try_lock=True)
    assert place.error is None
    assert place.locks
    assert place.free_bytes
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/proc/nowhere/reports", "No such file"),
        ("file/reports", "Not a directory"),
        ("link/x", "No such file"),
    ],
)
def test_a_folder_that_cannot_be_made_says_why(
    tmp_path: Path, path: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("link").symlink_to("nowhere")
    found = look_at(Path(path))
    assert found.error is not None
    assert error in found.error


def test_a_file_system_that_only_pretends_to_lock_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda _file, _operation: None)
    assert look_at(tmp_path, try_lock=True).locks is False

    def unsupported(_file: object, _operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert look_at(tmp_path, try_lock=True).locks is False


class _Hub(http.server.BaseHTTPRequestHandler):
    """Answers with the status that its server was given."""

    def do_HEAD(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined] # counted on the server object
        self.send_response(self.server.status)  # type: ignore[attr-defined] # as above
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the library's name
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.HTTPServer]:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.HTTPServer(("127.0.0.1", 0), _Hub) as server:
        server.asked = 0  # type: ignore[attr-defined] # as above
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "answer"), [(200, None), (401, None), (404, None), (503, "it answered HTTP 503")]
)
def test_a_hub_that_answers_is_there_unless_it_says_that_it_is_down(
    hub: http.server.HTTPServer, status: int, answer: str | None
) -> None:
    hub.status = status  # type: ignore[attr-defined] # as above
    assert ask_hub(f"http://me:password@127.0.0.1:{hub.server_port}") == answer
    assert hub.asked == 1  # type: ignore[attr-defined] # as above


def test_a_hub_that_is_silent_or_absent_costs_moments(hub: http.server.HTTPServer) -> None:
    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "timed out" in (ask_hub(f"http://127.0.0.1:{port}", seconds=0.2) or "")
    assert "refused" in (ask_hub(f"http://127.0.0.1:{port}") or "")
    assert "cannot be reached" in (ask_hub("nonsense") or "")
    assert time.monotonic() - begun < 10


def test_an_address_that_takes_for_ever_to_find_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(doctor_facts, "_answer", lambda _endpoint, _seconds: time.sleep(30))
    assert ask_hub("http://hub.invalid", seconds=-0.9) == "no answer within -0.9 s"


def test_offline_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_facts, "_answer", lambda *_: pytest.fail("the Hub was asked"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert gather(tmp_path, offline=False).hub == "not asked: HF_HUB_OFFLINE is set"
    assert gather(tmp_path, offline=True).hub == "not asked: --offline"


def test_a_folder_of_mrpc_that_is_named_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_MRPC_DIR", raising=False)
    assert gather(tmp_path, offline=True).mrpc is None
    monkeypatch.setenv("HARNESS_MRPC_DIR", str(tmp_path / "nowhere"))
    found = gather(tmp_path, offline=True).mrpc
    assert found is not None
    assert found.startswith("unavailable: ")
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\ta\tb\n")
    monkeypatch.setenv("HARNESS_MRPC_DIR", str(tmp_path))
    found = gather(tmp_path, offline=True).mrpc
    assert found is not None
    assert found.startswith("unavailable: ")
    assert "dev.tsv: MRPC's validation split has 408 examples, here are 1" in found
    assert "\n" not in found


def test_limits_of_the_process_are_found() -> None:
    def work(tell: object) -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (3_600, 3_600))
        found = doctor_facts._limits()
        os._exit(0 if found.get("CPU seconds") == 3_600 else 1)

    assert Child(work).wait()[0] == 0
