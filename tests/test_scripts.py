"""The set-up that demo.sh and test.sh share, and the rule that a skip is counted and, in CI, fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIP = """#!/usr/bin/env bash
echo "$@" >>"$PIP_LOG"
exit "${PIP_EXIT:-0}"
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout with a finished .venv whose pip only writes down what it is asked for."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "environment.sh", tmp_path / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (programs / "pip").write_text(PIP)
    for program in programs.iterdir():
        program.chmod(0o755)
    return tmp_path


def run(checkout, commands, **environment):
    result = subprocess.run(
        ["bash", "-c", f"set -euo pipefail; source scripts/environment.sh; {commands}"],
        cwd=checkout,
        env=os.environ | {"PIP_LOG": str(checkout / "pip.log")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    log = checkout / "pip.log"
    asked = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return result, [line for line in asked if "--dry-run" not in line]


def test_an_environment_is_made_once_for_the_same_dependencies(checkout):
    result, asked = run(checkout, "litakit_environment dev,quant")
    assert result.returncode == 0, result.stderr
    first, second = asked
    assert first.endswith("constraints.txt torch==2.13.0")
    assert second.endswith(f"-e {checkout}[dev,quant]")
    for again in ("litakit_environment dev,quant", "litakit_environment"):
        result, asked = run(checkout, again)
        assert (result.returncode, result.stdout, asked) == (0, "", [])
    _, asked = run(checkout, "litakit_environment train")
    assert len(asked) == 2
    assert run(checkout, "litakit_environment dev,quant")[1] == []


def test_an_environment_is_renewed_when_dependencies_change(checkout):
    run(checkout, "litakit_environment")
    with (checkout / "constraints.txt").open("a") as file:
        file.write("\n# another\n")
    assert len(run(checkout, "litakit_environment")[1]) == 2
    assert run(checkout, "litakit_environment")[1] == []


def test_a_failed_installation_is_tried_again(checkout):
    result, _ = run(checkout, "litakit_environment", PIP_EXIT="1")
    assert result.returncode == 2
    assert result.stderr == "litakit: pip could not install litakit; its message is above.\n"
    assert len(run(checkout, "litakit_environment")[1]) == 2


def test_a_broken_environment_is_named(checkout):
    (checkout / ".venv" / "bin" / "pip").unlink()
    result, _ = run(checkout, "litakit_environment")
    assert result.returncode == 2
    assert result.stderr == (
        f"litakit: {checkout}/.venv has no working Python of 3.11 or newer with pip: "
        "remove that folder and start again.\n"
    )


def test_an_old_python_is_refused_with_a_way_out(checkout, tmp_path):
    shutil.rmtree(checkout / ".venv")
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result, _ = run(checkout, "litakit_environment", LITAKIT_PYTHON=str(old))
    assert result.returncode == 2
    assert result.stderr.startswith("litakit: needs Python 3.11 or newer, found ")
    assert "apt-get install python3 python3-venv" in result.stderr
    assert not (checkout / ".venv").exists()


def pytest_on(tmp_path, body, strict):
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    gpu: x\n    browser: x\n")
    (tmp_path / "test_it.py").write_text(body)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"LITAKIT_STRICT": strict},
        capture_output=True,
        text=True,
        check=False,
    )


SKIPPING = """
import pytest
def test_runs(): pass
@pytest.mark.skipif(True, reason="needs a piano")
def test_piano(): pass
@pytest.mark.parametrize("key", range(2))
def test_keys(key): pytest.skip("needs a key")
"""
ON_GPU = """
import pytest
def test_runs(): pass
@pytest.mark.gpu
def test_gpu(): pytest.skip("needs a GPU")
"""
WHOLE_MODULE = 'import pytest\npytest.skip("needs a piano", allow_module_level=True)\n'


def test_skips_are_counted_by_reason(tmp_path):
    result = pytest_on(tmp_path, SKIPPING, strict="")
    assert result.returncode == 0
    assert "2 skipped: needs a key\n1 skipped: needs a piano\n" in result.stdout


@pytest.mark.parametrize(("body", "code"), [(SKIPPING, 1), (WHOLE_MODULE, 1), (ON_GPU, 0)])
def test_strict_runs_allow_no_skip_but_for_a_gpu(tmp_path, body, code):
    result = pytest_on(tmp_path, body, strict="1")
    assert result.returncode == code, result.stdout
    assert ("LITAKIT_STRICT allows no skip but for a GPU" in result.stdout) == (code == 1)
