"""What a run was made with: versions of packages and the state of the code, without importing any of it."""

from __future__ import annotations

import importlib.metadata
import platform
import socket
import subprocess
from pathlib import Path
from typing import Any

import litakit
from litakit.training.run_folder import SCHEMA_VERSION

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "deepspeed",
    "accelerate",
    "peft",
    "bitsandbytes",
    "flash-attn",
    "triton",
    "nvidia-nccl-cu12",
    "nvidia-nccl-cu13",
    "numpy",
    "pandas",
    "decord",
    "decord2",
    "av",
)
GIT_SECONDS = 10.0
MOST_CHANGED = 200


def versions(folder: Path) -> dict[str, Any]:
    """Return what a run in a folder is made with, as JSON has it.

    Args:
        folder: that the command runs in; its git commit is recorded, and that of litakit where it is run
            from a checkout.
    """
    package = Path(litakit.__file__).parent
    return {
        "schema_version": SCHEMA_VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "litakit": litakit.__version__,
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "git": git_state(folder),
        "litakit_git": git_state(package) if _git(package, "ls-files", "__init__.py") else None,
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit that a folder is checked out at, and what differs from it; None without git.

    Args:
        folder: in the checkout.

    Returns:
        `folder`, the checkout; `commit`; `is_dirty`; `changed`, the files, as `git status --porcelain` lists
        them, of which those that git does not know are not counted as dirt.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changed = (_git(folder, "status", "--porcelain") or "").splitlines()
    return {
        "folder": _git(folder, "rev-parse", "--show-toplevel"),
        "commit": commit,
        "is_dirty": any(not line.startswith("??") for line in changed),
        "changed": changed[:MOST_CHANGED],
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=folder,
            capture_output=True,
            check=True,
            timeout=GIT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", errors="replace").rstrip("\n")
