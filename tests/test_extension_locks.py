"""A lock of an extension build is removed when, and only when, its owner is gone."""

import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from litakit.training.extension_locks import clear_stale_locks, extensions_folder, stale_locks

BUILDER = """if True:
    import os, subprocess, sys, time
    lock = os.open(sys.argv[1] + "/lock", os.O_CREAT | os.O_EXCL)
    compiler = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=sys.argv[1])
    print(compiler.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def build(tmp_path):
    """Start a build as torch does: it holds the lock open, and the compiler works in the folder."""
    folder = tmp_path / "py311_cpu" / "deepspeed_shm_comm"
    folder.mkdir(parents=True)
    builder = subprocess.Popen([sys.executable, "-c", BUILDER, str(folder)], stdout=subprocess.PIPE)
    compiler = int(builder.stdout.readline())
    yield builder, compiler, folder / "lock"
    for pid in (builder.pid, compiler):
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
    builder.communicate()


def end(pid):
    """Kill a process, and wait until it is nowhere any more: its new parent may be slow to take note."""
    os.kill(pid, 9)
    deadline = time.monotonic() + 10
    with suppress(OSError):
        while time.monotonic() < deadline:
            Path(f"/proc/{pid}/cwd").readlink()
            time.sleep(0.02)


def test_a_lock_is_held_until_builder_and_compiler_are_gone(build, tmp_path, caplog):
    builder, compiler, lock = build
    environment = {"TORCH_EXTENSIONS_DIR": str(tmp_path)}
    assert clear_stale_locks(environment) == ()
    builder.kill()
    builder.wait()
    assert stale_locks(environment) == ()  # its compiler still writes there
    end(compiler)
    assert stale_locks(environment) == (lock,)
    with caplog.at_level(logging.WARNING):
        assert clear_stale_locks(environment) == (lock,)
    assert caplog.messages == [f"{lock} was left over from a build that was killed, and is removed"]
    assert not lock.exists()
    assert clear_stale_locks(environment) == ()


def test_a_builder_without_a_compiler_holds_its_lock(build, tmp_path):
    _, compiler, lock = build
    end(compiler)
    assert clear_stale_locks({"TORCH_EXTENSIONS_DIR": str(tmp_path)}) == ()
    assert lock.exists()


def test_a_lock_made_anew_is_not_taken_for_the_one_that_a_process_still_has_open(build, tmp_path):
    builder, compiler, lock = build
    end(compiler)
    lock.unlink()
    lock.touch()  # of a later build, which was killed at once
    assert builder.poll() is None
    assert clear_stale_locks({"TORCH_EXTENSIONS_DIR": str(tmp_path)}) == (lock,)


def test_only_locks_of_extensions_are_looked_at(tmp_path):
    for name in ("lock", "a/lock", "b/c/lock", "b/c/d/lock", "a/lockfile"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "e" / "lock").mkdir(parents=True)
    assert clear_stale_locks({"TORCH_EXTENSIONS_DIR": str(tmp_path)}) == (
        tmp_path / "a" / "lock",
        tmp_path / "b" / "c" / "lock",
    )
    assert (tmp_path / "lock").exists()
    assert (tmp_path / "b/c/d/lock").exists()


def test_the_folder_is_the_one_that_torch_takes(tmp_path, monkeypatch):
    from torch.utils.cpp_extension import get_default_build_root

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert str(extensions_folder({})) == get_default_build_root()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert str(extensions_folder({"XDG_CACHE_HOME": str(tmp_path)})) == get_default_build_root()
    assert clear_stale_locks({"TORCH_EXTENSIONS_DIR": str(tmp_path / "nowhere")}) == ()
