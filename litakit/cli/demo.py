"""`litakit demo`: the main job, shown on a video that is made on the spot or given."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litakit.cli import _options as options
from litakit.cli._errors import one_line_errors

if TYPE_CHECKING:
    from litakit.spans import Span

OTHER_VIDEOS = (
    "The bundled model knows only the shape world: coloured shapes that appear, move, grow, spin, collide,\n"
    "leave. Asked about another video it answers, and the answer means nothing. Other videos need real\n"
    "weights: 'Models' in README.md says where they come from, how large they are and their licence; then\n"
    "  {litakit} demo VIDEO QUESTION --model FOLDER\n"
    "or, in a third of the memory,\n"
    "  {litakit} ask VIDEO QUESTION --model FOLDER --load-4bit"
)
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00_quickstart.ipynb"


def demo(
    video: Annotated[Path | None, typer.Argument(help="A video; without one a sample is made.")] = None,
    questions: Annotated[list[str] | None, typer.Argument(metavar="QUESTION...", help="About VIDEO.")] = None,
    model: options.Model = "tiny",
    out: Annotated[Path, typer.Option(help="Folder for the sample and the picture.")] = Path("demo_output"),
) -> None:
    """Ask a video when things happen, print the seconds and save a picture of the spans.

    Without arguments: write a sample video of the shape world and ask three questions with known answers.
    """
    with one_line_errors():
        if video is not None and not questions:
            raise ValueError(f"expected a question about {video}, got none: litakit demo VIDEO QUESTION")
        out.mkdir(parents=True, exist_ok=True)
        truth: list[Span | None]
        if video is None:
            video, asked, truth = _sample(out)
        else:
            asked, truth = questions or [], [None] * len(questions or [])
        picture = _ask(video, asked, truth, model, out)
        typer.echo(f"\nPicture:  {picture}")
        if NOTEBOOK.exists():
            typer.echo(f"Next:     {_program('jupyter')} lab {shlex.quote(_shown(NOTEBOOK))}")
        if model == "tiny":
            typer.echo(f"\n{OTHER_VIDEOS.format(litakit=_program('litakit'))}")


def _shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _program(name: str) -> str:
    """How to call a program of this environment from here: by its name, where that finds it."""
    here = Path(sys.prefix) / "bin" / name
    found = shutil.which(name)
    return name if found and Path(found) == here else shlex.quote(_shown(here))


def _sample(out: Path) -> tuple[Path, list[str], list[Span | None]]:
    from litakit.data import synthetic

    video = out / "sample.mp4"
    asked = synthetic.sample_questions(synthetic.sample_video(video))
    typer.echo(f"Sample:   {video} (made now; the true spans are known)")
    return video, [qa.question for qa in asked], [qa.spans[0] for qa in asked]


def _ask(video: Path, asked: list[str], truth: list[Span | None], model: str, out: Path) -> Path:
    from litakit.files import replacing
    from litakit.plots import clock, plot_spans
    from litakit.spans import temporal_iou
    from litakit.video import decode_frames

    assistant = options.load_assistant(model, None, False, False, None, None, None, False)
    session = assistant.open(video)
    if session.info.duration is None:
        raise ValueError(f"{video} is a still image: it has no seconds to ask for")
    typer.echo(f"Video:    {video}, {clock(session.info.duration)}\nModel:    {model}")
    answers = []
    for question, true_span in zip(asked, truth, strict=True):
        session.reset()
        answer = session.ask(question)
        answers.append(answer)
        typer.echo(f"\nQuestion: {question}\nAnswer:   {answer.text}")
        for span in answer.spans:
            known = (
                ""
                if true_span is None
                else f"   (truth {true_span}, IoU {temporal_iou(span, true_span):.2f})"
            )
            typer.echo(f"Seconds:  {span}{known}")
        if not answer.spans:
            typer.echo("Seconds:  none in this answer")
    picture = out / "timeline.png"
    figure = plot_spans(decode_frames(video), answers, truth=truth)
    with replacing(picture) as aside:
        figure.savefig(aside, format="png")
    return picture
