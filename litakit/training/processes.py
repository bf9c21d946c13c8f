"""Which processes of this machine belong to a run, told without trusting a process id alone.

A process id comes round again. So a process is known by its id with the moment of its birth, and the
processes of a run by a token in their environment, which every process that they start inherits, also those
that ``torchrun`` puts into sessions of their own.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TOKEN_VARIABLE = "LITAKIT_RUN_TOKEN"  # noqa: S105  the name of a variable, no secret
PROC = Path("/proc")
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


class _Stat(NamedTuple):
    state: str
    group: int
    ticks: str


def birth_of(pid: int) -> str | None:
    """Return a text that is the same as long as this very process lives, and no other process has.

    On Linux it is the machine's boot and the moment of the start since then; elsewhere the date of the start.

    Args:
        pid: a process id.

    Returns:
        The text; None where no such process lives, or only its exit code is left of it.

    >>> birth_of(os.getpid()) == birth_of(os.getpid())
    True
    """
    if not PROC.joinpath("self").exists():
        return _birth_by_ps(pid)
    stat = _stat(pid)
    if stat is None:
        return None
    return f"{boot()}:{stat.ticks}"


def boot() -> str:
    """Return what names this machine's boot, or nothing where the system does not say."""
    with suppress(OSError):
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def is_same_process(pid: int | None, birth: str | None) -> bool:
    """Say whether the process with that id and that birth lives."""
    return pid is not None and birth is not None and birth_of(pid) == birth


def members(token: str, group: int | None = None) -> tuple[int, ...]:
    """Return the ids of the living processes of this user that carry a token, or are of a process group.

    Args:
        token: as `TOKEN_VARIABLE` has it in their environment.
        group: a process group that is known to be the run's, because its leader lives.
    """
    if not PROC.joinpath("self").exists():
        return _group_by_ps(group)
    mark = f"\0{TOKEN_VARIABLE}={token}\0".encode()
    found = []
    for pid in own_processes():
        stat = _stat(pid)
        if stat is None:
            continue
        if stat.group == group:
            found.append(pid)
            continue
        with suppress(*GONE):
            if mark in b"\0" + (PROC / str(pid) / "environ").read_bytes():
                found.append(pid)
    return tuple(found)


def own_processes() -> tuple[int, ...]:
    """Return the ids of this user's processes, as Linux lists them."""
    me = os.geteuid()
    found = []
    with os.scandir(PROC) as entries:
        for entry in entries:
            with suppress(*GONE):
                if entry.name.isdigit() and entry.stat().st_uid == me:
                    found.append(int(entry.name))
    return tuple(found)


def send_signal(pids: tuple[int, ...], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _stat(pid: int) -> _Stat | None:
    """Read a process's line; None where it is gone or only waits for its parent to ask for its exit code."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except GONE:
        return None
    # The name stands in brackets and may hold brackets and blanks; what follows the last one is regular.
    fields = text.rpartition(")")[2].split()
    state, group, ticks = fields[0], int(fields[2]), fields[19]
    return None if state in "ZX" else _Stat(state, group, ticks)


def _birth_by_ps(pid: int) -> str | None:
    done = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = done.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def _group_by_ps(group: int | None) -> tuple[int, ...]:
    if group is None:
        return ()
    done = subprocess.run(["ps", "-axo", "pid=,pgid=,stat="], capture_output=True, text=True, check=False)
    rows = [line.split() for line in done.stdout.splitlines()]
    return tuple(int(pid) for pid, of, state, *_ in rows if int(of) == group and not state.startswith("Z"))
