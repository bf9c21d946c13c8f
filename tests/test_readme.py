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

from litakit.assets import bundled_model
from litakit.data import load_mixture
from tests.conftest import GOLDEN

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+\.\d+")
COMMANDS = ["bash scripts/demo.sh", "bash scripts/test.sh"]
"""The two that set everything up: the first is run here, the second runs these tests."""


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def test_every_block_has_a_language_that_a_test_here_handles() -> None:
    assert {name for name, _ in BLOCKS} == {"bash", "python", "text", "", "bibtex", "yaml"}
    assert (len(blocks("python")), len(blocks("text")), len(blocks("yaml"))) == (2, 1, 2)


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
    """In a folder that holds what they name: the sample, the tiny checkpoint as the 13B, a data set."""
    from litakit.data import synthetic

    synthetic.sample_video(tmp_path / "sample.mp4")
    shutil.copy(tmp_path / "sample.mp4", tmp_path / "video.mp4")
    published = tmp_path / "lita-vicuna-v1-3-13b"
    shutil.copytree(GOLDEN / "ckpt" / "lita-vicuna-v1-3-tiny-temporal_spatial_pool", published)
    shutil.copytree(GOLDEN / "ckpt" / "clip-tiny-patch14-224", tmp_path / "clip-tiny-patch14-224")
    (tmp_path / "kitchen.yaml").write_text(blocks("yaml")[0])
    (tmp_path / "kitchen" / "videos").mkdir(parents=True)
    shutil.copy(tmp_path / "sample.mp4", tmp_path / "kitchen" / "videos" / "monday.mp4")
    (tmp_path / "kitchen" / "events.csv").write_text("video,start,end,caption\nmonday,1,2.5,He pours.\n")
    environment = os.environ | {
        "LITAKIT_HOME": str(tmp_path / "home"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    ran, told = [], {}
    for line in "".join(blocks("bash")).strip().splitlines():
        if line in COMMANDS:
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
        told[line] = result.stdout
    assert ran == ["ask", "audit", "doctor", *["data"] * 5, "ask", "convert"]
    assert (
        "kitchen.train.event_loc.jsonl" in told["litakit data prepare kitchen.yaml --root . --out prepared"]
    )
    assert "1 made" in told["litakit data features kitchen.yaml --root . --model tiny"]
    batch = subprocess.run(
        [sys.executable, "-c", blocks("python")[1]],
        check=True,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert re.match(r"torch.Size\(\[16, \d+\]\) torch.Size\(\[16, 164, 160\]\)", batch.stdout)
    assert "1 (100%)" in told["litakit data check kitchen.yaml --root ."]
    assert (tmp_path / "lita-13b" / "config.json").is_file()
    (tmp_path / "mixture.yaml").write_text(blocks("yaml")[1])
    spec, parts = load_mixture(tmp_path / "mixture.yaml")
    assert [(share.task, share.weight) for share in spec.tasks] == [("event_loc", 2), ("rtl", 1)]
    assert [part.manifest.name for part in parts] == ["kitchen", "activitynet-rtl"]


@pytest.mark.slow
@pytest.mark.skipif(
    Path(sys.prefix) != ROOT / ".venv",
    reason="the demo would make an environment: run this by scripts/test.sh",
)
def test_the_first_command_runs() -> None:
    assert [block.strip() for block in blocks("bash")[:2]] == COMMANDS
    result = subprocess.run(
        ["bash", "-c", COMMANDS[0]], check=False, cwd=ROOT, capture_output=True, text=True, timeout=360
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Question: ") == 3
    assert (ROOT / "demo_output" / "timeline.png").is_file()


def test_both_commands_are_what_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    assert [command for command in COMMANDS if command not in ci] == []


def test_the_question_is_about_the_sample() -> None:
    from litakit.data.synthetic import SAMPLE_SEED, captions, make_scene

    told = [event.caption for event in captions(make_scene(SAMPLE_SEED))]
    assert told.count("The pink triangle jumps.") == 1
    assert README.count("When does the pink triangle jump?") == 2


def test_size_of_the_bundled_model() -> None:
    size = sum(path.stat().st_size for path in bundled_model().rglob("*") if path.is_file())
    assert f"| {size / 1e6:.1f} MB | Apache-2.0 |" in README


@pytest.mark.parametrize(("name", "shape"), [("13B", (5120, 40, 40, 13824)), ("7B", (4096, 32, 32, 11008))])
def test_memory_follows_from_the_configurations(name: str, shape: tuple[int, int, int, int]) -> None:
    """In 16, 8 and 4 bit; for the last there is one byte for 64 weights, and four for 256 of those bytes."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig

    from litakit.modeling import LitaConfig, LitaForConditionalGeneration
    from litakit.modeling.checkpoints import KEPT_WHOLE

    width, layers, heads, inner = shape
    text = LlamaConfig(
        vocab_size=32_101, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=inner,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14
    )
    with torch.device("meta"):
        model = LitaForConditionalGeneration(LitaConfig(vision_config=vision, text_config=text))
    small = sum(
        module.weight.numel()
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not any(kept in path for kept in KEPT_WHOLE)
    )
    whole = sum(parameter.numel() for parameter in model.parameters()) - small
    keys_and_values = 1_000 * layers * 2 * width * 2
    figures = [
        f"{(small * size + whole * 2 + keys_and_values) / 1e9:.1f}"
        for size in (2, 1, 0.5 + 1 / 64 + 4 / (64 * 256))
    ]
    row = re.search(rf"^\| LITA {name} [^|]*\| ([\d. |]+) \|$", README, re.MULTILINE)
    assert row is not None
    assert row[1].split(" | ") == figures


PUBLISHED_COMMANDS = (
    "install",
    "demo page",
    "CLI inference on",
    "CLI inference in 4",
    "training",
    "evaluation",
)
PUBLISHED_COMMANDS += ("GPT review", "summary")


def test_every_published_command_is_replaced_or_said_to_be_missing() -> None:
    table = README.partition("| there | here |")[2].partition("\n\n")[0].strip().splitlines()[1:]
    rows = [row.strip("| ").split(" | ") for row in table]
    assert len(rows) == len(PUBLISHED_COMMANDS)
    from typer.main import get_command

    from litakit.cli import app

    verbs = {*get_command(app).commands}
    for (there, here), command in zip(rows, PUBLISHED_COMMANDS, strict=True):
        assert there.startswith(command)
        assert "**not built yet**" in here or re.search(r"`(litakit|bash|pip) |the same with", here), there
        assert {*re.findall(r"`litakit (\w+)", here)} <= verbs
        assert [
            path for path in re.findall(r"(?:scripts|notebooks)/[\w.]+", here) if not (ROOT / path).exists()
        ] == []


NO_NETWORK = """
import socket, sys
def refuse(self, address, *rest):
    if self.family != socket.AF_UNIX:
        raise SystemExit(f"phoned {address}")
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = lambda *asked, **more: refuse(socket.socket(), asked)
"""


@pytest.mark.slow
def test_nothing_phones_home(tmp_path: Path) -> None:
    """Asked without any of the variables that keep libraries from the network."""
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)}
    checkpoint = GOLDEN / "ckpt" / "lita-vicuna-v1-3-tiny-temporal_spatial_pool"
    video = GOLDEN / "videos" / "d_short_320x240_25fps_3s.mp4"
    command = ["ask", str(video), "When?", "--model", str(checkpoint), "--max-new-tokens", "4"]
    for arguments in (command, ["doctor"], ["ask", str(video), "When?", "--max-new-tokens", "4"]):
        result = subprocess.run(
            [sys.executable, "-m", "litakit", *arguments],
            check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
    probe = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')"
    result = subprocess.run(
        [sys.executable, "-c", probe], check=False, env=environment, capture_output=True, text=True
    )
    assert "phoned" in result.stderr, "the guard stands"


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
