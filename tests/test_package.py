"""The package's doors: light to import, and each leads somewhere."""

import resource
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import import_module
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import litakit
from litakit.assets import bundled_model

ROOT = Path(__file__).parents[1]
HEAVY = (
    "torch",
    "transformers",
    "pandas",
    "numpy",
    "PIL",
    "av",
    "matplotlib",
    "typer",
    "pydantic",
    "litakit.video",
)


def test_import_is_light_and_fast():
    code = (
        "import sys, time; began = time.process_time(); import litakit; "
        "print(time.process_time() - began, *sys.modules)"
    )
    # Seconds of the processor, which other work on the machine does not lengthen.
    seconds = []
    for _ in range(3):
        took, *modules = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        assert not {*HEAVY} & {*modules}
        seconds.append(float(took))
    assert min(seconds) < 0.3


def test_floor_0_needs_no_library():
    code = "import sys, litakit.time_tokens, litakit.messages, litakit.files; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {*HEAVY} & {*modules}


@pytest.mark.parametrize("name", [name for name in litakit.__all__ if name != "__version__"])
def test_every_door_opens(name):
    thing = getattr(litakit, name)
    assert thing is getattr(import_module(thing.__module__), name)
    assert thing.__module__.startswith("litakit.")
    assert name in dir(litakit)


def test_a_door_that_is_not_there_says_which_are():
    with pytest.raises(
        AttributeError, match=r"^module 'litakit' has no attribute 'laod'; it has Answer, .*load"
    ):
        litakit.laod  # noqa: B018


def test_the_version_is_the_installed_one():
    assert litakit.__version__ == version("litakit")


def test_the_command_is_installed():
    (command,) = [point for point in entry_points(group="console_scripts") if point.name == "litakit"]
    assert command.value == "litakit.cli:app"


def test_help_is_quick():
    # Seconds of the processor, which other work on the machine does not lengthen; start-up is one thread.
    seconds = []
    for _ in range(3):
        before = children_seconds()
        command = [sys.executable, "-c", "from litakit.cli import app; app()", "--help"]
        help_text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds.append(children_seconds() - before)
        assert "ask" in help_text
    assert min(seconds) < 1.0


def children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_the_bundled_model_is_in_the_package():
    assert (bundled_model("tiny") / "config.json").is_file()
    with pytest.raises(ValueError) as error:
        bundled_model("huge")
    assert (
        str(error.value)
        == "expected a bundled model out of ('tiny',), got 'huge'; give a folder for any other"
    )


@pytest.mark.slow
def test_wheel_and_source_archive_hold_the_whole_package(tmp_path):
    """Built from a copy with a model beside the code, whatever it is: git is not asked what belongs to it."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "litakit", source / "litakit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data_manifests", source / "data_manifests")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    model = source / "litakit" / "assets" / "tiny" / "a folder"
    model.mkdir(parents=True)
    (model / "weights.safetensors").write_bytes(b"weights")
    folders = (source / "litakit", source / "data_manifests")
    wanted = {
        path.relative_to(source).as_posix()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert {"litakit/py.typed", "litakit/assets/tiny/a folder/weights.safetensors"} <= wanted
    for build in ("build_sdist", "build_wheel"):
        code = f"from setuptools import build_meta; build_meta.{build}({str(tmp_path)!r})"
        subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"litakit-{litakit.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == wanted
    (archive_file,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive_file) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    assert wanted | {"pyproject.toml", "README.md", "LICENSE"} <= members
