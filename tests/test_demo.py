"""`litakit demo`: the main job as a newcomer sees it."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from litakit.cli import app
from litakit.cli.demo import _program
from tests.conftest import GOLDEN

SHORT = GOLDEN / "videos" / "d_short_320x240_25fps_3s.mp4"
PUBLISHED = GOLDEN / "ckpt" / "lita-vicuna-v1-3-tiny-temporal_spatial_pool"


def said(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["demo", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_the_demo_asks_three_questions_and_says_what_comes_next(tmp_path: Path) -> None:
    output = said("--out", tmp_path)
    questions = re.findall(r"^Question: (.*\?)\nAnswer:   (.+)\n((?:Seconds:  .+\n)+)", output, re.MULTILINE)
    assert len({question for question, _, _ in questions}) == 3
    for _, _, seconds in questions:
        assert re.fullmatch(
            r"(Seconds:  [\d.]+-[\d.]+ s   \(truth [\d.]+-[\d.]+ s, IoU [01]\.\d\d\)\n)+", seconds
        )
    assert (tmp_path / "sample.mp4").stat().st_size > 10_000
    with Image.open(tmp_path / "timeline.png") as picture:
        assert picture.width > 1000
    assert f"Picture:  {tmp_path / 'timeline.png'}\n" in output
    assert re.search(r"^Next: .*jupyter lab .*notebooks/00_quickstart\.ipynb$", output, re.MULTILINE)
    assert "The bundled model knows only the shape world" in output
    assert re.search(r"^  \S*litakit demo VIDEO QUESTION --model FOLDER$", output, re.MULTILINE)


@pytest.mark.slow
def test_a_video_and_weights_of_ones_own(tmp_path: Path) -> None:
    video = tmp_path / "a video.mp4"
    shutil.copy(SHORT, video)
    output = said(video, "When does it turn?", "--model", PUBLISHED, "--out", tmp_path / "out")
    assert f"Video:    {video}, 0:03.0\n" in output
    assert output.count("Question: ") == 1
    assert "Question: When does it turn?\nAnswer:   " in output
    assert "truth" not in output
    assert "shape world" not in output
    assert (tmp_path / "out" / "timeline.png").is_file()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["timeline.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([SHORT], f"litakit: expected a question about {SHORT}, got none: litakit demo VIDEO QUESTION\n"),
        (["absent.mp4", "When?", "--model", PUBLISHED], "litakit: absent.mp4: "),
        ([SHORT, "When?", "--model", "absent"], "litakit: no model at absent: "),
    ],
)
def test_wrong_arguments_end_with_a_line_and_code_2(
    tmp_path: Path, arguments: list[object], message: str
) -> None:
    result = CliRunner().invoke(app, ["demo", *map(str, arguments), "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1


def test_programs_are_named_so_that_they_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "a prefix" / "bin"
    programs.mkdir(parents=True)
    (programs / "jupyter").touch(mode=0o755)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "a prefix"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert _program("jupyter") == f"'{programs / 'jupyter'}'"
    monkeypatch.chdir(tmp_path)
    assert _program("jupyter") == "'a prefix/bin/jupyter'"
    monkeypatch.setenv("PATH", str(programs))
    assert _program("jupyter") == "jupyter"
