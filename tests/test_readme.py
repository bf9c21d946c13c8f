"""The README keeps its word: each code block runs, each file it names is there."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import GOLDEN

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+\.\d+")
RUN_BY_CI = {"bash scripts/demo.sh", "bash scripts/test.sh"}


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def test_every_block_has_a_language_that_a_test_here_handles() -> None:
    assert {name for name, _ in BLOCKS} == {"bash", "python", "text", "", "bibtex"}
    assert (len(blocks("python")), len(blocks("text"))) == (1, 1)


@pytest.mark.slow
def test_the_ten_lines_of_python_print_what_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LITAKIT_HOME", str(tmp_path / "home"))
    code = blocks("python")[0]
    assert len(code.strip().splitlines()) <= 10
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    promised = blocks("text")[0]
    assert NUMBER.sub("#", printed.getvalue()) == NUMBER.sub("#", promised)
    for got, said in zip(NUMBER.findall(printed.getvalue()), NUMBER.findall(promised), strict=True):
        assert float(got) == pytest.approx(float(said), abs=0.7), "two time tokens of the sample video"


@pytest.mark.slow
def test_every_shell_line_runs(tmp_path: Path) -> None:
    """In a folder that holds what they name: the sample, and the tiny checkpoint under the 13B's name."""
    from litakit.data import synthetic

    synthetic.sample_video(tmp_path / "sample.mp4")
    shutil.copy(tmp_path / "sample.mp4", tmp_path / "video.mp4")
    published = tmp_path / "lita-vicuna-v1-3-13b"
    shutil.copytree(GOLDEN / "ckpt" / "lita-vicuna-v1-3-tiny-temporal_spatial_pool", published)
    shutil.copytree(GOLDEN / "ckpt" / "clip-tiny-patch14-224", tmp_path / "clip-tiny-patch14-224")
    environment = os.environ | {
        "LITAKIT_HOME": str(tmp_path / "home"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    ran = []
    for line in "".join(blocks("bash")).strip().splitlines():
        if line in RUN_BY_CI:
            assert line.removeprefix("bash ") in (ROOT / ".ci" / "run").read_text()
            continue
        result = subprocess.run(
            ["bash", "-c", line],
            check=False,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
        ran.append(line.split()[1])
    assert ran == ["ask", "audit", "doctor", "ask", "convert"]
    assert (tmp_path / "lita-13b" / "config.json").is_file()


def test_the_file_tree_is_true() -> None:
    tree = next(text for name, text in BLOCKS if name == "" and "time_tokens.py" in text)
    top, library = set[str](), set[str]()
    for line in tree.splitlines():
        named = library if line.startswith("  ") else top
        for column in re.split(r"\s{2,}", line.strip()):
            if not re.fullmatch(r"[\w./]+( [\w./]+)*", column) or not re.search(r"[./]|LICENSE", column):
                break
            named |= {word.rstrip("/") for word in column.split()}
    assert [name for name in sorted(top) if not (ROOT / name).exists()] == []
    there = {path.name for path in (ROOT / "litakit").iterdir() if not path.name.startswith("_")}
    assert library == there - {"py.typed"}
    assert {"README.md", "notebooks", "litakit", "scripts", "tests", ".ci/run"} <= top


def test_the_notebook_table_names_every_notebook() -> None:
    listed = set(re.findall(r"\(notebooks/([\w.]+)\)", README))
    assert listed == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
