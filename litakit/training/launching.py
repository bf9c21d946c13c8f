"""launch: a training run as processes of its own, which outlive the cell, the kernel and the browser."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

from filelock import FileLock, Timeout

from litakit.files import write_atomic
from litakit.training.commands import deepspeed_command, python_command, torchrun_command
from litakit.training.extension_locks import clear_stale_locks
from litakit.training.processes import TOKEN_VARIABLE, birth_of
from litakit.training.run_folder import (
    COMMAND_FILE,
    CONFIG_FILE,
    EXIT_FILE,
    LOG_FILE,
    PROCESS_FILE,
    STATUS_FILE,
    STOP_FILE,
    VERSIONS_FILE,
    RunCommand,
    RunProcess,
    RunStatus,
    now,
    read_status,
    write_record,
)
from litakit.training.run_ids import checked_id, new_id
from litakit.training.runs import DEFAULT_ROOT, Run
from litakit.training.versions import versions

logger = logging.getLogger(__name__)

Launcher = Literal["auto", "python", "torchrun", "deepspeed"]
KEEPER_MODULE = "litakit.training.keeper"
LOCK_FILE = ".launching"
LOCK_SECONDS = 10.0
# Of the environment, what bears on training is written down, and nothing that could be a secret.
_TELLING = re.compile(
    r"(?:CUDA|NCCL|GLOO|TORCH|PYTORCH|DS|DEEPSPEED|HF|TRANSFORMERS|OMP|MKL|LITAKIT|WANDB|MLFLOW|TRACKIO|SLURM)_\w+"
    r"|MASTER_ADDR|MASTER_PORT|PYTHONPATH|TOKENIZERS_PARALLELISM|MAX_JOBS"
)
_SECRET = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|AUTH)(?:_|$)")


class Config(Protocol):
    """What can be trained by: whatever writes itself as YAML, such as a `TrainConfig`."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file."""


def launch(
    config: Config | str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] = DEFAULT_ROOT,
    id: str | None = None,  # noqa: A002  what it is called everywhere
    num_processes: int = 1,
    launcher: Launcher = "auto",
    environment: Mapping[str, str] | None = None,
    follow: bool = False,
) -> Run:
    """Start training, and return at once: it goes on by itself, whatever becomes of this process.

    Args:
        config: what to train and how, or the YAML file that says so, or the name of a preset.
        root: folder of the runs; the run's own is made in it.
        id: name of the run; by default the time and a word.
        num_processes: on this machine, one a GPU.
        launcher: "python", "torchrun" or "deepspeed"; "auto" takes python for one process, torchrun for more.
        environment: variables to set for it, beside those of this process.
        follow: wait until it has ended, and log (INFO) what it says; an interrupt ends the waiting, not the
            run.

    Returns:
        The run; its repr shows the command.

    Raises:
        FileExistsError: there is a run with that id.
        ValueError: an id that is no name for a folder, a config that is none, or less than one process.
    """
    folder = prepare(config, root=root, id=id)
    try:
        run = start(folder, _argv(folder, num_processes, launcher), environment=environment)
    finally:
        if not (folder / PROCESS_FILE).exists():  # what has not been started is not to look like a run
            shutil.rmtree(folder, ignore_errors=True)
    return _followed(run) if follow else run


def prepare(
    config: Config | str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] = DEFAULT_ROOT,
    id: str | None = None,  # noqa: A002
) -> Path:
    """Make the folder of a run that something else is to start, such as Slurm; `launch` makes and starts.

    Args:
        config: what to train and how, or the YAML file that says so, or the name of a preset.
        root: folder of the runs; the run's own is made in it.
        id: name of the run; by default the time and a word.

    Returns:
        The folder, absolute, with config.yaml in it.

    Raises:
        FileExistsError: there is a run with that id.
        ValueError: an id that is no name for a folder, or a config that is none.
    """
    name = new_id() if id is None else checked_id(id)
    folder = (Path(root).expanduser() / name).absolute()
    if isinstance(config, str | os.PathLike):
        from litakit.training.config import load_config

        config = load_config(config)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        raise FileExistsError(
            f"{folder} is there already: give another id, or resume({name!r}) if it is to go on"
        ) from None
    try:
        config.save(folder / CONFIG_FILE)
    finally:
        if not (folder / CONFIG_FILE).exists():
            folder.rmdir()
    return folder


def resume(
    id: str | os.PathLike[str],  # noqa: A002
    *,
    root: str | os.PathLike[str] = DEFAULT_ROOT,
    follow: bool = False,
) -> Run:
    """Start a run that has ended again: the same command in the same folder goes on where it saved last.

    Args:
        id: of the run, or its folder.
        root: folder of the runs.
        follow: as in `launch`.

    Raises:
        FileNotFoundError: there is no such run, or the folder that its command runs in is gone.
        RuntimeError: it is alive.
        ValueError: it is done, or a secret that it was started with is not in the environment.
    """
    run = Run.attach(id, root)
    if run.is_alive:
        raise RuntimeError(f"{run.id} is alive ({run.status.state}): stop() it first, or kill() it")
    if run.status.state == "done":
        raise ValueError(f"{run.id} is done, step {run.status.step}: there is nothing left to resume")
    command = run.command
    missing = [name for name in command.withheld if name not in os.environ]
    if missing:
        raise ValueError(
            f"{run.id} was started with {', '.join(missing)}, not written down: set it in os.environ"
        )
    if not Path(command.cwd).is_dir():
        raise FileNotFoundError(f"{command.cwd}: the folder that {run.id} runs in is gone")
    run = _start(run.folder, command)
    return _followed(run) if follow else run


def start(folder: Path, argv: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Run:
    """Start any command as the run in a folder, detached.

    Args:
        folder: of the run, absolute.
        argv: the command.
        environment: variables to set for it, beside those of this process.

    Raises:
        RuntimeError: the run is alive, or is being started by somebody else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = dict(environment or {})
    secret = {name: value for name, value in given.items() if _SECRET.search(name)}
    command = RunCommand(
        argv=tuple(argv),
        cwd=str(Path.cwd()),
        environment={name: value for name, value in given.items() if name not in secret},
        withheld=tuple(secret),
        inherited={
            name: value
            for name, value in sorted(os.environ.items())
            if _TELLING.fullmatch(name) and not _SECRET.search(name)
        },
    )
    return _start(folder, command, secret)


def _start(folder: Path, command: RunCommand, secret: Mapping[str, str] | None = None) -> Run:
    try:
        with FileLock(folder / LOCK_FILE, timeout=LOCK_SECONDS):
            return _start_alone(folder, command, secret or {})
    except Timeout:
        raise RuntimeError(f"{folder.name} is being started by somebody else") from None


def _start_alone(folder: Path, command: RunCommand, secret: Mapping[str, str]) -> Run:
    run = Run(folder)
    status = RunStatus("starting", started=now(), updated=now())
    with suppress(FileNotFoundError):
        before = read_status(folder)
        if run.is_alive:
            raise RuntimeError(f"{run.id} is alive ({before.state})")
        status = replace(before, state="starting", pid=None, birth=None, host="", error=None, updated=now())
    write_record(folder / COMMAND_FILE, command)
    made_with = versions(Path(command.cwd))
    write_atomic(folder / VERSIONS_FILE, json.dumps(made_with, ensure_ascii=False, indent=1) + "\n")
    for name in (PROCESS_FILE, EXIT_FILE, STOP_FILE):
        (folder / name).unlink(missing_ok=True)
    write_record(folder / STATUS_FILE, status)
    token = secrets.token_hex(16)
    environment = {**os.environ, **command.environment, **secret, TOKEN_VARIABLE: token}
    # What training compiles is compiled by the ninja of its own environment; what it says is seen at once.
    environment["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
    )
    environment.setdefault("PYTHONUNBUFFERED", "1")
    with (folder / LOG_FILE).open("ab") as log:
        offset = log.tell()
        for lock in clear_stale_locks(environment):
            log.write(f"removed {lock}, which a build that was killed had left\n".encode())
            log.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", KEEPER_MODULE, str(folder), *command.argv],
            cwd=command.cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    record = RunProcess(process.pid, birth_of(process.pid), socket.gethostname(), token, now(), offset)
    try:
        write_record(folder / PROCESS_FILE, record)
    except OSError:
        os.killpg(process.pid, signal.SIGKILL)  # nobody would find it again
        process.wait()
        raise
    # A process that has ended stays in the system's table until its parent, while there is one, takes note.
    threading.Thread(target=process.wait, name=f"litakit-run-{run.id}", daemon=True).start()
    return run


def _argv(folder: Path, num_processes: int, launcher: Launcher) -> list[str]:
    if num_processes < 1:
        raise ValueError(f"num_processes must be at least 1, got {num_processes}")
    match launcher:
        case "auto":
            return _argv(folder, num_processes, "python" if num_processes == 1 else "torchrun")
        case "python":
            if num_processes > 1:
                raise ValueError(
                    f"python starts one process, got num_processes {num_processes}: take torchrun"
                )
            return python_command(folder)
        case "torchrun":
            return torchrun_command(folder, num_processes=num_processes)
        case "deepspeed":
            return deepspeed_command(folder, num_processes=num_processes, port=_free_port())
    raise ValueError(f"launcher must be auto, python, torchrun or deepspeed, got {launcher!r}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _followed(run: Run) -> Run:
    for line in run.follow():
        logger.info("%s", line)
    return run
