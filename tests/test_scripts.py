"""The two commands and what they share: environments made, mended and kept; skips that are counted."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TORCH = re.search(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[0]

# A Python that makes environments of copies of itself, and whose pip only writes down what it is asked for.
PYTHON = f"""#!/usr/bin/env bash
case "$*" in
    "-m venv "*)
        mkdir -p "$3/bin"
        [ -z "${{VENV_EXIT:-}}" ] || exit "$VENV_EXIT"
        cp "$0" "$3/bin/python"; echo made >>"$PIP_LOG" ;;
    "-m pip --version") [ ! -e "$(dirname "$0")/no-pip" ] ;;
    "-m pip index versions torch "*) printf "%b" "${{OFFERED:-}}" ;;
    "-m pip "*) echo "${{@:3}}" >>"$PIP_LOG"; exit "${{PIP_EXIT:-0}}" ;;
    *find_spec*torch*) exit "${{TORCH_ABSENT:-0}}" ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""
RECORDER = '#!/bin/sh\necho "$(basename "$0")" "$@" >>"$PIP_LOG"\n[ "$FAILING" != "$(basename "$0")" ]\n'


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def checkout(tmp_path):
    """A checkout, in a folder with a space in its name, and a Python to make environments with."""
    root = tmp_path / "a checkout"
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    write_program(root / "a python" / "python", PYTHON)
    return root


def run(checkout, *command, path=os.environ["PATH"], **environment):
    """Run a command in a checkout; return its result and what the environment's programs were asked for."""
    log = checkout / "pip.log"
    result = subprocess.run(
        command,
        cwd=checkout,
        env={
            "PATH": path,
            "HOME": str(checkout / "home"),
            "PIP_LOG": str(log),
            "LITAKIT_PYTHON": str(checkout / "a python" / "python"),
        }
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    asked = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return result, asked


def make(checkout, extras="", **environment):
    code = f"set -euo pipefail; source scripts/environment.sh; litakit_environment {extras}"
    return run(checkout, "bash", "-c", code, **environment)


def test_an_environment_is_made_once_for_the_same_dependencies(checkout):
    result, asked = make(checkout, "dev,quant")
    assert result.returncode == 0, result.stderr
    made, torch, rest = asked
    assert made == "made"
    assert torch.endswith(f"-c {checkout}/constraints.txt {TORCH}")
    assert rest.endswith(f"-c {checkout}/constraints.txt -e {checkout}[dev,quant]")
    for again in ("dev,quant", ""):
        result, asked = make(checkout, again)
        assert (result.returncode, result.stdout, asked) == (0, "", [])
    assert len(make(checkout, "train")[1]) == 2
    assert make(checkout, "dev,quant")[1] == []


def test_an_environment_is_renewed_when_dependencies_change(checkout):
    make(checkout)
    with (checkout / "constraints.txt").open("a") as file:
        file.write("\n# another\n")
    assert len(make(checkout)[1]) == 2
    assert make(checkout)[1] == []


def test_a_failed_installation_is_tried_again(checkout):
    result, _ = make(checkout, PIP_EXIT="1")
    assert result.returncode == 2
    assert result.stderr == "litakit: pip could not install litakit; its message is above.\n"
    result, asked = make(checkout)
    assert (result.returncode, len(asked)) == (0, 2), "pip is asked again; .venv is kept"


@pytest.mark.parametrize("left", ["nothing", "an old python", "no pip"])
def test_an_environment_whose_making_was_interrupted_is_mended(checkout, left):
    programs = checkout / ".venv" / "bin"
    programs.mkdir(parents=True)
    (checkout / ".venv" / "mine").write_text("kept")
    if left == "an old python":
        write_program(programs / "python", "#!/bin/sh\nexit 1\n")
    if left == "no pip":
        write_program(programs / "python", "#!/bin/sh\n[ $# = 2 ]\n")
    result, asked = make(checkout)
    assert result.returncode == 0, result.stderr
    assert (asked[0], len(asked)) == ("made", 3)
    assert (checkout / ".venv" / "mine").read_text() == "kept"


def test_an_environment_that_cannot_be_mended_is_named_and_kept(checkout):
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "no-pip").touch()
    result, _ = make(checkout)
    assert result.returncode == 2
    assert result.stderr == (
        f"litakit: {checkout}/.venv has no working Python of 3.11 or newer with pip: "
        "remove that folder and start again.\n"
    )


def test_a_python_without_venv_is_told_what_to_install(checkout):
    result, _ = make(checkout, VENV_EXIT="1")
    assert result.returncode == 2
    assert result.stderr == (
        f"litakit: {checkout}/a python/python cannot make virtual environments "
        "(Debian: apt-get install python3-venv).\n"
    )
    assert not (checkout / ".venv").exists()


def test_an_old_python_is_refused_with_a_way_out(checkout):
    old = write_program(checkout / "old-python", "#!/bin/sh\n[ $# = 1 ] || exit 1\necho Python 3.8.20\n")
    result, _ = make(checkout, LITAKIT_PYTHON=str(old))
    assert result.returncode == 2
    assert result.stderr.startswith("litakit: needs Python 3.11 or newer, found Python 3.8.20. ")
    assert "apt-get install python3 python3-venv" in result.stderr
    assert not (checkout / ".venv").exists()


def test_a_checkout_that_was_moved_gets_an_environment_of_its_own(checkout):
    make(checkout)
    moved = checkout.parent / "moved"
    shutil.move(checkout, moved)
    result, asked = make(moved)
    assert result.stdout.startswith("This folder was moved or copied")
    assert (result.returncode, asked[0], len(asked)) == (0, "made", 3)
    assert make(moved)[1] == []


VERSION = TORCH.removeprefix("torch==")


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        (f"torch (99.0)\\nAvailable versions: 99.0, {VERSION}, 1.13.1\\n", f"{VERSION}: pip takes the CUDA"),
        (f"Available versions: {VERSION}+cu130, {VERSION}+cpu\\n", f"{VERSION}+cu130: pip takes the CUDA"),
        (f"Available versions: {VERSION}+cpu, {VERSION}\\n", f"{VERSION}+cpu: pip takes the build without"),
        ("", f"{VERSION}: pip takes the CUDA"),
    ],
)
def test_the_build_of_torch_is_announced_before_anything_is_fetched(checkout, offered, said):
    result, asked = make(checkout, OFFERED=offered, TORCH_ABSENT="1")
    lines = result.stdout.splitlines()
    assert lines[1].startswith(f"torch {said}")
    assert lines[-1].startswith("Installing litakit")
    if "the CUDA" in said:
        cure = f"  .venv/bin/python -m pip install {TORCH} --index-url https://download.pytorch.org/whl/cpu"
        assert cure in lines
    assert len(asked) == 3, "only the two installations come after it"


def with_programs(checkout, *names):
    """The programs that litakit's installation brings, which only write down that they ran."""
    make(checkout, "dev,quant,scale")
    for name in names:
        write_program(checkout / ".venv" / "bin" / name, RECORDER)


def test_demo_hands_on_what_it_was_given(checkout):
    with_programs(checkout, "litakit")
    out = f"litakit demo --out {checkout}/demo_output"
    assert run(checkout, "bash", "scripts/demo.sh", FAILING="")[1] == [out]
    (checkout / "my video.mp4").touch()
    asked = run(checkout, "bash", "scripts/demo.sh", "my video.mp4", "When?", "--model", "x", FAILING="")[1]
    assert asked == [f"{out} my video.mp4 When? --model x"]
    assert run(checkout, "bash", "scripts/demo.sh", FAILING="litakit")[0].returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.mp4", "When?"], "no such video: absent.mp4"),
        (
            ["pyproject.toml"],
            "expected a question about pyproject.toml, got none: bash scripts/demo.sh VIDEO",
        ),
    ],
)
def test_demo_refuses_wrong_arguments_before_it_installs(checkout, arguments, message):
    result, asked = run(checkout, "bash", "scripts/demo.sh", *arguments)
    assert (result.returncode, asked) == (2, [])
    assert result.stderr.startswith(f"litakit: {message}")


def test_demo_says_how_it_is_used(checkout):
    result, asked = run(checkout, "bash", "scripts/demo.sh", "--help")
    assert (result.returncode, asked) == (0, [])
    assert 'bash scripts/demo.sh VIDEO "question"' in result.stdout


CHECKS = ["ruff check .", "ruff format --check .", "mypy", "lint-imports", "pytest"]


def test_test_runs_every_check_and_then_every_test(checkout):
    with_programs(checkout, "ruff", "mypy", "lint-imports", "pytest")
    result, asked = run(checkout, "bash", "scripts/test.sh", FAILING="")
    assert (result.returncode, [line.strip() for line in asked]) == (0, CHECKS)
    assert result.stdout.endswith("All checks passed.\n")
    asked = run(checkout, "bash", "scripts/test.sh", "-k", "spans", FAILING="")[1]
    assert asked[-1] == "pytest -k spans"


def test_test_goes_on_after_a_failure_and_fails_at_the_end(checkout):
    with_programs(checkout, "ruff", "mypy", "lint-imports", "pytest")
    result, asked = run(checkout, "bash", "scripts/test.sh", FAILING="mypy")
    assert (result.returncode, len(asked)) == (1, 5)
    assert result.stderr == "failed: mypy\n"


def test_test_names_the_system_packages_that_are_missing(checkout):
    with_programs(checkout, "ruff", "mypy", "lint-imports", "pytest")
    basics = checkout / "basics"
    basics.mkdir()
    for name in ("bash", "dirname", "basename", "head", "cat", "cksum", "tr", "grep", "sh"):
        (basics / name).symlink_to(shutil.which(name))
    result, _ = run(checkout, "bash", "scripts/test.sh", path=str(basics), FAILING="")
    named = re.findall(
        r"^(.*) is missing: .* skipped \(Debian: apt-get install (.*)\)$", result.stdout, re.MULTILINE
    )
    assert named == [
        ("Chromium", "chromium"),
        ("Node", "nodejs"),
        ("Java", "default-jre-headless"),
        ("A C++ compiler", "g++"),
    ]
    installed = re.search(r"^packages=\((.*)\)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)[1].split()
    assert {package for _, package in named} <= {*installed}, "CI installs all that is named"


def test_pre_commit_runs_the_checks_from_the_environment_without_a_network():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    ran = [hook["entry"].removeprefix(".venv/bin/").removesuffix(" --force-exclude") for hook in hooks]
    assert ran == ["ruff check", "ruff format", "mypy", "lint-imports"]


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
