"""Runs are started detached: they outlive what launched them, and are resumed where they stopped."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager

from litakit.training.commands import torchrun_command
from litakit.training.launching import launch, prepare, resume, start
from litakit.training.processes import members
from litakit.training.run_folder import RunProcess, read_record
from litakit.training.run_ids import WORDS
from litakit.training.runs import Run

STAND_IN = Path(__file__).with_name("_stand_in_training.py")


class Config:
    """What can be saved as YAML, and is no config: the training refuses it."""

    def save(self, path):
        Path(path).write_text("nothing: true\n")


class Unsaved:
    def save(self, path):
        raise OSError(28, "No space left on device", str(path))


def begin(folder, *options, environment=None):
    return start(folder, [sys.executable, str(STAND_IN), str(folder), *options], environment=environment)


def test_launch_makes_the_folder_and_returns_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HOME", "/data/hf")
    begun = time.monotonic()
    run = launch(
        Config(), root=tmp_path / "runs", environment={"OMP_NUM_THREADS": "3", "WANDB_API_KEY": "w_secret"}
    )
    took = time.monotonic() - begun
    assert run.is_alive
    status = run.kill(grace_seconds=0)
    assert (status.state, status.error.kind) == ("failed", "killed")
    assert took < 5
    assert re.fullmatch(rf"\d{{8}}-\d{{6}}-({'|'.join(WORDS)})", run.id)
    assert run.folder == tmp_path / "runs" / run.id
    assert run.config_file.read_text() == "nothing: true\n"
    command = run.command
    assert command.argv == (sys.executable, "-m", "litakit.training.main", str(run.folder))
    assert (command.cwd, command.environment) == (str(Path.cwd()), {"OMP_NUM_THREADS": "3"})
    assert command.withheld == ("WANDB_API_KEY",)
    assert command.inherited["HF_HOME"] == "/data/hf"
    assert "secret" not in "".join(path.read_text() for path in run.folder.glob("*.json"))
    assert f"  command  OMP_NUM_THREADS=3 {sys.executable} -m litakit.training.main {run.folder}" in repr(run)
    versions = json.loads((run.folder / "versions.json").read_text())
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["packages"]["torch"]
    assert versions["git"] is None or len(versions["git"]["commit"]) == 40


def test_ids_are_names_of_folders_and_used_once(tmp_path):
    for name in ("", "a/b", "..", ".hidden", "two words", "x" * 101):
        with pytest.raises(ValueError, match="expected an id of at most 100 letters"):
            launch(Config(), root=tmp_path, id=name)
    (tmp_path / "größe-1").mkdir()
    with pytest.raises(FileExistsError, match=r"is there already: give another id, or resume\('größe-1'\)"):
        launch(Config(), root=tmp_path, id="größe-1")


def test_a_run_is_prepared_for_somebody_else_to_start(tmp_path):
    folder = prepare("tiny", root=tmp_path, id="a")
    assert folder == tmp_path / "a"
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]
    again = prepare(folder / "config.yaml", root=tmp_path, id="b")
    assert (again / "config.yaml").read_text() == (folder / "config.yaml").read_text()


def test_what_cannot_be_launched_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="No space left"):
        launch(Unsaved(), root=tmp_path)
    with pytest.raises(ValueError, match="num_processes must be at least 1, got 0"):
        launch(Config(), root=tmp_path, num_processes=0)
    with pytest.raises(ValueError, match="python starts one process, got num_processes 2: take torchrun"):
        launch(Config(), root=tmp_path, num_processes=2, launcher="python")
    with pytest.raises(ValueError, match="launcher must be auto, python, torchrun or deepspeed, got 'mpi'"):
        launch(Config(), root=tmp_path, launcher="mpi")
    with pytest.raises(ValueError, match="no-such-config"):
        launch(tmp_path / "no-such-config.yaml", root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_is_not_there_is_a_failed_run(tmp_path):
    run = start(tmp_path / "a", ["no-such-program", str(tmp_path)])
    status = run.wait(timeout=20)
    assert status.state == "failed"
    assert status.error.message.startswith("no-such-program could not be started: ")


def test_a_stopped_run_is_resumed_and_a_living_or_done_one_is_not(tmp_path):
    folder = tmp_path / "größe mit raum" / "a"
    run = begin(folder, "60", "0.02")
    with pytest.raises(RuntimeError, match=r"a is alive \(\w+\): stop\(\) it first, or kill\(\) it"):
        resume("a", root=folder.parent)
    with pytest.raises(RuntimeError, match="a is alive"):
        begin(folder)
    while run.status.step < 3:
        time.sleep(0.02)
    stopped = run.stop(timeout=20)
    assert stopped.state == "stopped"
    again = resume("a", root=folder.parent)
    assert again == run
    assert not (folder / "STOP").exists()
    done = again.wait(timeout=20)
    assert (done.state, done.step, done.started) == ("done", 60, stopped.started)
    assert again.metrics["step"].tolist() == list(range(1, 61))
    with pytest.raises(ValueError, match="a is done, step 60: there is nothing left to resume"):
        resume("a", root=folder.parent)


def test_of_two_who_resume_at_once_one_does(tmp_path):
    run = begin(tmp_path / "a", "1000", "0.01")
    run.stop(timeout=20)
    with ThreadPoolExecutor(2) as both:
        tries = [both.submit(resume, run.folder) for _ in range(2)]
        refused = [error for one in tries if (error := one.exception()) is not None]
    assert [str(error)[:11] for error in refused] == ["a is alive "]
    run.kill(grace_seconds=0)


def test_the_cause_of_an_earlier_end_is_not_told_again(tmp_path):
    run = begin(tmp_path / "a", "5", "0.01", "gpu")
    assert run.wait(timeout=20).error.kind == "out_of_gpu_memory"
    command = json.loads((run.folder / "command.json").read_text())
    command["argv"][-1] = "kill"
    (run.folder / "command.json").write_text(json.dumps(command))
    assert resume(run.folder).wait(timeout=20).error.message == "ended by signal 9 (SIGKILL)"


def test_a_secret_is_asked_for_again(tmp_path, monkeypatch):
    run = begin(
        tmp_path / "a", "3", "0.01", "code", environment={"WANDB_API_KEY": "w", "OMP_NUM_THREADS": "1"}
    )
    assert run.wait(timeout=20).state == "failed"
    with pytest.raises(ValueError, match="was started with WANDB_API_KEY, not written down: set it"):
        resume(run.folder)
    monkeypatch.setenv("WANDB_API_KEY", "w")
    assert resume(run.folder).wait(timeout=20).error.message == "IndexError: list index out of range"


PARENT = """if True:
    import sys, time
    from pathlib import Path
    from litakit.training.launching import start
    folder = Path(sys.argv[1])
    start(folder, [sys.executable, sys.argv[2], str(folder), "40", "0.02"])
    print("launched", flush=True)
    time.sleep(float(sys.argv[3]))
"""


@pytest.mark.parametrize("end", ["exits", "is killed with its group"])
def test_a_run_outlives_what_launched_it(tmp_path, end):
    seconds = "0" if end == "exits" else "60"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "a"), str(STAND_IN), seconds],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout.readline() == b"launched\n"
    if end != "exits":
        os.killpg(parent.pid, signal.SIGKILL)
    parent.communicate()
    run = Run.attach(tmp_path / "a")
    assert run.is_alive
    assert run.status.step < 40
    status = run.wait(timeout=20)
    assert (status.state, status.step) == ("done", 40)
    assert json.loads((run.folder / "exit.json").read_text())["returncode"] == 0


def test_a_run_outlives_a_kernel_that_is_restarted(tmp_path):
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        client.execute(f"import sys; sys.argv = ['', {str(tmp_path / 'a')!r}, {str(STAND_IN)!r}, '0']")
        client.execute(PARENT.replace('"40"', '"400"'), reply=True, timeout=60)
        manager.restart_kernel(now=True)
        run = Run.attach(tmp_path / "a")
        assert run.is_alive
        assert run.stop(timeout=20).state == "stopped"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_following_a_run_logs_what_it_says(tmp_path, caplog):
    run = begin(tmp_path / "a", "30", "0.02")
    run.stop(timeout=20)
    with caplog.at_level(logging.INFO, logger="litakit.training.launching"):
        again = resume(run.folder, follow=True)
    assert not again.is_alive
    assert again.status.state == "done"
    assert [line for line in caplog.messages if line.startswith("step")][-1] == "step 30"


def test_what_an_old_build_left_is_cleared_and_said(tmp_path):
    lock = tmp_path / "extensions" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    run = begin(tmp_path / "a", "3", environment={"TORCH_EXTENSIONS_DIR": str(tmp_path / "extensions")})
    assert run.wait(timeout=20).state == "done"
    assert not lock.exists()
    assert run.log().splitlines()[0] == f"removed {lock}, which a build that was killed had left"


@pytest.mark.slow
def test_torchruns_workers_belong_to_the_run_and_are_killed_with_it(tmp_path):
    folder = tmp_path / "a"
    argv = torchrun_command(folder, num_processes=2, entry=[str(STAND_IN)])
    run = start(folder, [*argv, "5000", "0.02"])
    while run.is_alive and run.status.step < 2:
        time.sleep(0.05)
    assert run.status.state == "running"
    token = read_record(folder / "process.json", RunProcess).token
    assert len(members(token)) == 4  # the keeper, torchrun, and two workers in sessions of their own
    assert len({os.getsid(pid) for pid in members(token)}) == 3
    assert run.kill().error.kind == "killed"
    assert members(token) == ()


@pytest.mark.slow
def test_the_rank_that_was_killed_is_the_cause(tmp_path):
    folder = tmp_path / "a"
    argv = torchrun_command(folder, num_processes=2, entry=[str(STAND_IN)])
    status = start(folder, [*argv, "50", "0.02", "kill"]).wait(timeout=60)
    assert (status.state, status.error.kind) == ("failed", "out_of_memory")
    assert "Signal 9 (SIGKILL) received by PID" in status.error.message


@pytest.mark.slow
def test_two_nodes_meet_at_one_endpoint(tmp_path):
    folder = tmp_path / "a"
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        endpoint = f"localhost:{probe.getsockname()[1]}"
    argv = torchrun_command(folder, num_processes=1, num_nodes=2, endpoint=endpoint, entry=[str(STAND_IN)])
    run = start(folder, [*argv, "20", "0.02"])
    node = subprocess.Popen([*argv, "20", "0.02"])
    assert run.wait(timeout=60).state == "done"
    assert node.wait(timeout=60) == 0
    assert len(run.metrics) == 20  # one of the two measured
