"""`litakit ask`: questions about a video, or about the videos of a file."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from litakit.cli import _options as options
from litakit.cli._errors import DONE_WITH_FAILURES, one_line_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from litakit.assistant import Answer, Assistant, VideoSession


def ask(
    video: Annotated[str | None, typer.Argument(help="Video file, folder of frames, or image.")] = None,
    questions: Annotated[
        list[str] | None, typer.Argument(metavar="QUESTION...", help="One or more, each asked on its own.")
    ] = None,
    model: options.Model = "tiny",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    refine: options.Refine = False,
    start: options.Start = None,
    end: options.End = None,
    fps: options.Fps = None,
    duration: options.Duration = None,
    base: options.Base = None,
    load_4bit: options.Load4bit = False,
    load_8bit: options.Load8bit = False,
    template: options.Template = None,
    temperature: options.Temperature = 0.0,
    top_p: options.TopP = 1.0,
    num_beams: options.NumBeams = 1,
    max_new_tokens: options.MaxNewTokens = 1024,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    no_cache: options.NoCache = False,
    debug: options.Debug = False,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", help="CSV or JSON lines of videos and questions; answers come as JSON lines."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="With --from: write here, and go on where an earlier run ended.")
    ] = None,
) -> None:
    """Ask one or more questions about a video; the answers come in seconds.

    Each question is asked on its own; `litakit chat` holds a conversation. Tokens are chosen greedily unless
    --temperature is above 0.

    With --from FILE the questions come from a CSV file (columns video and question; id, start, end, fps,
    duration if you like) or from JSON lines with the same fields, every video is encoded once, and a failure
    is written as "error" with its reason (exit code 1).
    """
    generation: dict[str, Any] = {
        "refine": refine,
        "temperature": temperature,
        "top_p": top_p,
        "num_beams": num_beams,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
    }
    with one_line_errors():
        _check_usage(
            video, questions, from_file, out, {"start": start, "end": end, "fps": fps, "duration": duration}
        )
        check_generation(generation)

        def loaded() -> Assistant:
            return options.load_assistant(
                model, base, load_4bit, load_8bit, template, device, dtype, no_cache
            )

        if from_file is not None:
            failures = _answer_file(loaded, from_file, out, model, generation, debug)
            raise typer.Exit(DONE_WITH_FAILURES if failures else 0)
        assert video is not None
        session = loaded().open(video, start=start, end=end, fps=fps, duration=duration)
        answers = []
        for question in questions or ():
            session.reset()
            answer = session.ask(question, **generation)
            answers.append(answer)
            if debug:
                options.say_debug(answer)
            if not json_output:
                typer.echo(f"{question}\n  {answer.text}")
                options.say_spans(answer)
        if json_output:
            _print_json(video, session, answers)


def check_generation(generation: dict[str, Any]) -> None:
    """Refuse options of generation before the model is loaded.

    Raises:
        ValueError: a value outside its range.
    """
    from litakit.assistant.options import GenerationOptions

    GenerationOptions(**{name: value for name, value in generation.items() if name != "refine"})


def _check_usage(
    video: str | None,
    questions: list[str] | None,
    from_file: Path | None,
    out: Path | None,
    part: dict[str, float | None],
) -> None:
    if from_file is None:
        if video is None or not questions:
            raise ValueError(
                "expected a video and at least one question, or --from FILE; see litakit ask --help"
            )
        if not all(question.strip() for question in questions):
            raise ValueError("expected questions in words, got an empty one")
        if out is not None:
            raise ValueError("--out belongs to --from; redirect the output otherwise")
    elif video is not None:
        raise ValueError(f"--from brings its own videos: leave out {video}")
    elif given := [f"--{name}" for name, value in part.items() if value is not None]:
        raise ValueError(f"{given[0]} is a column of the file of --from, not an option beside it")


def _print_json(video: str, session: VideoSession, answers: list[Answer]) -> None:
    from litakit.assistant.batch import span_records

    record = {
        "video": video,
        "duration": session.info.duration,
        "answers": [
            {"question": answer.question, "text": answer.text, "spans": span_records(answer)}
            for answer in answers
        ],
    }
    typer.echo(json.dumps(record, ensure_ascii=False))
    for answer in answers:
        for note in answer.notes:
            typer.echo(f"note: {answer.question}: {note}", err=True)


def _answer_file(
    loaded: Callable[[], Assistant],
    source: Path,
    out: Path | None,
    model: str,
    generation: dict[str, Any],
    debug: bool,
) -> int:
    """Answer a file's questions, line by line; return how many failed."""
    from litakit.assistant.batch import answer_questions, open_questions, read_questions

    questions = read_questions(source)
    todo = questions if out is None else open_questions(out, questions, model)
    failures = []
    if todo:
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
        with nullcontext(sys.stdout) if out is None else out.open("a", encoding="utf-8") as file:
            on_answer = options.say_debug if debug else None
            for record in answer_questions(loaded(), todo, model, on_answer=on_answer, **generation):
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                file.flush()
                if "error" in record:
                    failures.append(record)
    for record in failures:
        typer.echo(f"failed: {record['id']}: {record['error']}", err=True)
    kept = f", {len(questions) - len(todo)} from before" if len(todo) < len(questions) else ""
    typer.echo(f"{len(todo) - len(failures)} answered{kept}, {len(failures)} failed", err=True)
    return len(failures)
