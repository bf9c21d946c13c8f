"""Runs seen from outside: attached to, listed, stopped, killed, and those that ended without saying so."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from litakit.training import run_log
from litakit.training.launching import start
from litakit.training.processes import birth_of, boot, members
from litakit.training.run_folder import (
    RunFormatError,
    RunProcess,
    RunStatus,
    now,
    read_record,
    read_status,
    write_record,
)
from litakit.training.run_views import list_runs
from litakit.training.runs import Run

STAND_IN = Path(__file__).with_name("_stand_in_training.py")


@pytest.fixture
def train(tmp_path):
    """Start a stand-in training as the run of a name; none outlives the test."""
    runs = []

    def begin(name, steps=1000, seconds=0.01, fault=""):
        folder = tmp_path / "runs" / name
        argv = [sys.executable, str(STAND_IN), str(folder), str(steps), str(seconds), fault]
        runs.append(start(folder, argv))
        return runs[-1]

    yield begin
    for run in runs:
        run.kill(grace_seconds=0)


def reach(run, step, timeout=20):
    deadline = time.monotonic() + timeout
    while read_status(run.folder).step < step and time.monotonic() < deadline:
        time.sleep(0.02)
    assert read_status(run.folder).step >= step


def test_a_run_is_watched_and_stopped(train):
    run = train("a", seconds=0.02)
    reach(run, 2)
    assert run.is_alive
    assert run.status.state == "running"
    assert repr(run).startswith("Run a: running, step ")
    assert f"  command  {sys.executable} {STAND_IN} {run.folder} 1000 0.02" in repr(run)
    with pytest.raises(TimeoutError, match=r"a is running at step \d+ after 0\.1 s of waiting"):
        run.wait(timeout=0.1)
    status = run.stop(timeout=20)
    assert status.state == "stopped"
    assert not run.is_alive
    assert (run.checkpoints / "step").read_text() == str(status.step)
    metrics = run.metrics
    assert list(metrics.columns) == ["step", "loss", "seconds"]
    assert metrics["step"].tolist() == list(range(1, status.step + 1))
    assert run.log(last_lines=2) == f"step {status.step - 1}\nstep {status.step}"
    assert run.stop() == run.wait() == run.kill() == status  # it has ended, and stays as it was


def test_all_that_a_run_started_is_killed_with_it(train):
    run = train("a", fault="children")
    reach(run, 2)
    token = read_record(run.folder / "process.json", RunProcess).token
    assert len(members(token)) == 4  # the keeper, the training, and two that it started
    begin = time.monotonic()
    status = run.kill(grace_seconds=0.3)
    assert time.monotonic() - begin < 5
    assert members(token) == ()
    assert not run.is_alive
    assert (status.state, status.error.kind) == ("failed", "killed")
    assert status.step >= 2


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("kill", "out_of_memory", "ended by signal 9 (SIGKILL)"),
        ("segfault", "crashed", "ended by signal 11 (SIGSEGV)"),
        (
            "gpu",
            "out_of_gpu_memory",
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate",
        ),
        ("leave", "error", "ended with exit code 0, the last line of its log: step 3"),
        (
            "early",
            "missing_file",
            "FileNotFoundError: [Errno 2] No such file or directory: '/data/LITA",
        ),
        ("disk", "disk_full", "OSError: [Errno 28] No space left on device: 'checkpoints/3/optimizer.pt'"),
        ("code", "error", "IndexError: list index out of range"),
    ],
)
def test_a_crash_is_shown_with_its_cause_and_the_end_of_its_log(train, fault, kind, message):
    run = train("a", fault=fault)
    status = run.wait(timeout=20)
    assert status.state == "failed"
    assert status.error.kind == kind
    assert status.error.message.startswith(message)
    assert message in repr(run)
    assert "the last lines of its log:" in repr(run)
    assert status.error.hint in repr(run)
    assert "<pre>" in run._repr_html_()


def test_a_run_whose_every_process_was_killed_is_failed(train):
    run = train("a")
    reach(run, 2)
    for pid in members(read_record(run.folder / "process.json", RunProcess).token):
        os.kill(pid, signal.SIGKILL)
    status = run.wait(timeout=20)
    assert status.state == "failed"
    assert status.error.kind == "killed"
    words = "its processes are gone, and none of them could say why; the last line of its log: step "
    assert status.error.message.startswith(words)


def test_a_run_that_fell_silent_on_a_full_disk_is_told_so(tmp_path, monkeypatch):
    run = recorded(tmp_path / "a", RunStatus("running", 5, pid=2**22 + 1, birth=f"{boot()}:1", updated=now()))
    assert run.status.error.kind == "killed"
    monkeypatch.setattr(run_log, "LEAST_FREE_BYTES", 2**62)
    assert run.status.error.message == f"no room is left on the disk of {run.folder}"


def test_a_process_that_got_the_id_of_an_old_run_is_not_taken_for_it(tmp_path):
    run = recorded(tmp_path / "a", RunStatus("running", 5, started=now(), updated=now()))
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        process = RunProcess(stranger.pid, birth_of(stranger.pid), os.uname().nodename, "a" * 32, now())
        write_record(run.folder / "process.json", process)
        assert run.is_alive
        write_record(run.folder / "process.json", replace(process, birth=birth_of(1)))
        assert not run.is_alive
        assert run.status.error.message == "its processes are gone, and none of them could say why"
        write_record(run.folder / "process.json", replace(process, birth="another-boot:1"))
        assert run.status.error.message == "the machine was restarted"
        run.kill()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_that_has_ended_has_no_birth():
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody asked how
    assert birth_of(child.pid) is None
    child.wait()
    assert birth_of(child.pid) is None


def recorded(folder, status):
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder / "status.json", status)
    return Run(folder)


def test_a_run_on_another_machine_is_alive_as_long_as_it_speaks(tmp_path):
    status = RunStatus("running", 5, pid=1, birth="x:1", host="node-7", started=now(), updated=now())
    run = recorded(tmp_path / "a", status)
    assert run.is_alive
    with pytest.raises(RuntimeError, match=r"a runs on node-7 and can be killed only there \(scancel\)"):
        run.kill()
    assert run.stop().state == "running"
    assert (run.folder / "STOP").exists()
    assert "running, stopping" in repr(run)
    recorded(tmp_path / "a", replace(status, updated="2026-01-01T00:00:00.000+00:00"))
    assert run.status.state == "failed"


def test_attach_finds_a_run_by_id_by_its_end_and_by_path(tmp_path):
    for name in ("20261125-100000-fox", "20261125-110000-elm", "20261126-100000-elm"):
        recorded(tmp_path / name, RunStatus("done", started=now(), updated=now()))
    fox = Run.attach("20261125-100000-fox", tmp_path)
    assert fox.id == "20261125-100000-fox"
    assert fox == Run.attach("fox", tmp_path) == Run.attach(tmp_path / fox.id) == Run.attach(str(fox.folder))
    with pytest.raises(ValueError, match="the id of one run, got 'elm', which fits 20261126-100000-elm, "):
        Run.attach("elm", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no run 'owl' in .*: the newest are 20261126-100000-elm, "):
        Run.attach("owl", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no run 'owl' in .*: there are none"):
        Run.attach("owl", tmp_path / "nowhere")


def test_runs_are_listed_newest_first_with_those_that_cannot_be_read(tmp_path):
    old, new = "2026-11-25T10:00:00.000+00:00", "2026-11-25T11:00:00.000+00:00"
    recorded(tmp_path / "b-old", RunStatus("stopped", 40, 4000, started=old, updated=old))
    recorded(tmp_path / "a-new", RunStatus("done", 4000, 4000, started=new, updated=new))
    (tmp_path / "c-cut").mkdir()
    (tmp_path / "c-cut" / "status.json").write_text('{"schema_ver')
    (tmp_path / "no run").mkdir()
    os.utime(tmp_path / "c-cut" / "status.json", (0, 0))
    table = list_runs(tmp_path)
    assert [run.id for run in table] == ["a-new", "b-old", "c-cut"]
    assert (len(table), table[0].id) == (3, "a-new")
    lines = repr(table).splitlines()
    assert lines[0].split() == ["run", "state", "step", "updated"]
    assert lines[1].split()[:3] == ["a-new", "done", "4,000/4,000"]
    assert lines[2].split()[:3] == ["b-old", "stopped", "40/4,000"]
    assert lines[3].startswith("c-cut  unreadable")
    assert "<td" in table._repr_html_()
    assert repr(Run(tmp_path / "c-cut")).startswith("Run c-cut: unreadable: ")
    with pytest.raises(RunFormatError):
        Run(tmp_path / "c-cut").status  # noqa: B018
    assert repr(list_runs(tmp_path / "nowhere")) == f"no runs in {tmp_path / 'nowhere'}"


def test_what_a_page_shows_of_a_run_is_escaped(tmp_path):
    run = recorded(tmp_path / "<b>", RunStatus("done", started=now(), updated=now()))
    assert "<b>&lt;b&gt;" not in run._repr_html_()
    assert "Run &lt;b&gt;" in run._repr_html_()


def test_the_log_is_shown_as_a_terminal_would(tmp_path):
    run = recorded(tmp_path / "a", RunStatus("done", started=now(), updated=now()))
    assert run.log() == ""
    (run.folder / "log.txt").write_bytes(b"start\n  0%|   \r 50%|#  \r100%|###\nna\xc3\xafve \xff\r\nend")
    assert run.log() == "start\n100%|###\nnaïve \ufffd\nend"
    assert run.log(last_lines=1) == "end"
    assert run.log(last_lines=0) == ""
    assert run.log(last_lines=None).startswith("start\n")


def test_the_log_is_followed_to_its_end(train):
    run = train("a", steps=20)
    assert list(run.follow()) == [f"step {step}" for step in range(1, 21)]


def test_a_run_that_measured_nothing_yet_has_an_empty_table(tmp_path):
    run = recorded(tmp_path / "a", RunStatus("starting", started=now(), updated=now()))
    assert list(run.metrics.columns) == ["step"]
    assert len(run.metrics) == 0
    assert json.loads((run.folder / "status.json").read_text())["schema_version"] == 1
