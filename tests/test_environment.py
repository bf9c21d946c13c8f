"""pyproject.toml is the truth about dependencies; conda's file and the tested versions follow it."""

import re
import tomllib
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {
    name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()
}
CONDA_NAMES = {"torch": "pytorch"}
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
TESTED = {
    canonicalize_name(name): pinned
    for name, pinned in re.findall(
        r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE
    )
}


def test_conda_asks_for_what_pyproject_asks_for():
    conda = {}
    for line in CONDA["dependencies"]:
        if isinstance(line, str):
            name, _, wanted = line.partition(" ")
            conda[name] = SpecifierSet(wanted)
    (pip_lines,) = (line["pip"] for line in CONDA["dependencies"] if isinstance(line, dict))
    assert pip_lines.pop() == "-e ."
    by_pip = {str(Requirement(line)) for line in pip_lines}
    assert conda.pop("python") == SpecifierSet(PROJECT["requires-python"])
    assert conda.pop("pip") == SpecifierSet()
    assert {str(wanted) for wanted in CORE if wanted.name.startswith("decord")} == by_pip
    assert conda == {
        CONDA_NAMES.get(wanted.name, wanted.name): wanted.specifier
        for wanted in CORE
        if not wanted.name.startswith("decord")
    }
    assert CONDA["channels"] == ["conda-forge", "nodefaults"]


@pytest.mark.parametrize("extra", [None, "quant", "scale", "dev"])
def test_the_tested_versions_are_inside_the_ranges(extra):
    for wanted in CORE if extra is None else EXTRAS[extra]:
        if wanted.marker is None or wanted.marker.evaluate(default_environment()):
            assert TESTED[canonicalize_name(wanted.name)] in wanted.specifier, wanted


def test_every_upper_bound_is_above_its_lower_bound():
    for wanted in [*CORE, *(line for lines in EXTRAS.values() for line in lines)]:
        lower = [bound.version for bound in wanted.specifier if bound.operator == ">="]
        assert len(lower) == 1, f"{wanted} needs one lower bound"
        assert lower[0] in wanted.specifier, wanted


def test_everything_that_is_needed_has_a_tested_version():
    """Down to what needs nothing; the libraries of CUDA follow from torch's version."""
    todo, seen = [*CORE, *EXTRAS["dev"], *EXTRAS["quant"], *EXTRAS["scale"]], set()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        extras = {"", *wanted.extras}
        if (wanted.marker and not wanted.marker.evaluate()) or (name, *sorted(extras)) in seen:
            continue
        seen.add((name, *sorted(extras)))
        for line in distribution(name).requires or []:
            need = Requirement(line)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
                need.marker = None
                todo.append(need)
    names = {name for name, *_ in seen if not name.startswith(("nvidia", "cuda", "triton"))}
    assert len(names) > 100
    assert sorted(names - {*TESTED}) == []


def test_this_run_has_the_tested_versions():
    for name in ("torch", "transformers", "av", "pillow", "numpy"):
        assert version(name).partition("+")[0] == TESTED[name]


def test_the_extras_are_the_promised_ones():
    assert {*EXTRAS} == {"train", "quant", "flash", "web", "scale", "captions", "dev"}


def test_torchvision_is_nowhere():
    everything = [*CORE, *(line for lines in EXTRAS.values() for line in lines)]
    assert "torchvision" not in {wanted.name for wanted in everything}
    assert "torchvision" not in TESTED
