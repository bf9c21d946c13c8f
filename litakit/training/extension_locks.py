"""Locks that a killed build of a DeepSpeed extension left, which every later run would wait for without end.

PyTorch compiles an extension in a folder of its own and holds a file `lock` in it meanwhile, open from the
moment it is made until it is removed. So its owner is the process that has that very file open, or, where
that was killed alone, the compiler that still runs in the folder. A lock with neither is stale.

Other machines' processes cannot be seen. Where the folder lies on a network file system, or the system does
not
show open files, a lock is stale when nothing in its folder has changed for an hour: builds take minutes and
    write
as they go.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from litakit.training.processes import GONE, PROC, own_processes

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "TORCH_EXTENSIONS_DIR"
LOCK_FILE = "lock"
QUIET_SECONDS = 3600.0
_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "afs",
    "9p",
    "fuse.",
    "wekafs",
    "pvfs",
    "virtiofs",
)


def extensions_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder below which PyTorch compiles extensions; it need not exist.

    Args:
        environment: of the process that is to compile.

    >>> extensions_folder({"TORCH_EXTENSIONS_DIR": "/scratch/ext"}).as_posix()
    '/scratch/ext'
    """
    named = environment.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    cache = environment.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "torch_extensions"


def stale_locks(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the locks of extension builds whose owner is gone.

    Args:
        environment: of the process that is to compile, see `extensions_folder`.
    """
    root = extensions_folder(environment)
    # Below a folder that is named, an extension has its own; in the cache, one for Python and CUDA lies
    # between.
    locks = sorted(lock for pattern in ("*", "*/*") for lock in root.glob(f"{pattern}/{LOCK_FILE}"))
    return tuple(lock for lock in locks if lock.is_file() and not _is_held(lock))


def clear_stale_locks(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Remove the locks of extension builds whose owner is gone, and say so in a warning.

    Args:
        environment: of the process that is to compile, see `extensions_folder`.

    Returns:
        The locks that were removed.
    """
    removed = []
    for lock in stale_locks(environment):
        try:
            lock.unlink()
        except FileNotFoundError:
            continue  # somebody else cleared it
        except PermissionError:
            logger.warning("%s is left over from a build that was killed; its owner must remove it", lock)
            continue
        logger.warning("%s was left over from a build that was killed, and is removed", lock)
        removed.append(lock)
    return tuple(removed)


def _is_held(lock: Path) -> bool:
    try:
        owner = lock.stat().st_uid
    except FileNotFoundError:
        return True  # let go of this moment
    if not PROC.joinpath("self/fd").exists() or _is_on_network(lock) or owner != os.geteuid():
        return _newest_change(lock.parent) > time.time() - QUIET_SECONDS
    return any(_has_open(pid, lock) or _works_in(pid, lock.parent) for pid in own_processes())


def _has_open(pid: int, lock: Path) -> bool:
    with suppress(*GONE):
        for link in (PROC / str(pid) / "fd").iterdir():
            with suppress(*GONE):
                if link.readlink().name == LOCK_FILE and link.samefile(lock):
                    return True
    return False


def _works_in(pid: int, folder: Path) -> bool:
    with suppress(*GONE):
        return (PROC / str(pid) / "cwd").readlink().is_relative_to(folder.resolve())
    return False


def _is_on_network(path: Path) -> bool:
    """Say whether a file lies on a file system that other machines may have too."""
    place, kind = "", ""
    resolved = str(path.resolve())
    for line in (PROC / "self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, mounted, its_kind, *_ = line.split(" ")
        mounted = mounted.replace("\\040", " ")
        inside = resolved == mounted or resolved.startswith(mounted.rstrip("/") + "/")
        if inside and len(mounted) >= len(place):
            place, kind = mounted, its_kind
    return kind.startswith(_NETWORK)


def _newest_change(folder: Path) -> float:
    times = [0.0]
    for entry in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):
            times.append(entry.stat().st_mtime)
    return max(times)
