"""`litakit chat`: a conversation about a video, answers as they come."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from litakit.cli import _options as options
from litakit.cli._errors import one_line_errors
from litakit.cli.ask import check_generation

if TYPE_CHECKING:
    from litakit.assistant import VideoSession

HELP = "Ask; /reset forgets the conversation, /quit or Ctrl-D ends it, Ctrl-C stops an answer."


def chat(
    video: Annotated[str, typer.Argument(help="Video file, folder of frames, or image.")],
    model: options.Model = "tiny",
    refine: options.Refine = False,
    start: options.Start = None,
    end: options.End = None,
    fps: options.Fps = None,
    duration: options.Duration = None,
    base: options.Base = None,
    load_4bit: options.Load4bit = False,
    load_8bit: options.Load8bit = False,
    template: options.Template = None,
    temperature: options.Temperature = 0.2,
    top_p: options.TopP = 1.0,
    num_beams: options.NumBeams = 1,
    max_new_tokens: options.MaxNewTokens = 1024,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    no_cache: options.NoCache = False,
    debug: options.Debug = False,
) -> None:
    """Talk about a video. Answers come in seconds, as they are made; what was said before is remembered.

    Tokens are drawn at temperature 0.2 as in the published chat; --temperature 0 is greedy.
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
        check_generation(generation)
        assistant = options.load_assistant(
            model, base, load_4bit, load_8bit, template, device, dtype, no_cache
        )
        session = assistant.open(video, start=start, end=end, fps=fps, duration=duration)
    typer.echo(f"{session!r}\n{HELP}", err=True)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # bytes that are no text are no reason to end
    while (question := _read_question()) is not None:
        match question:
            case "":
                continue
            case "/reset":
                session.reset()
                typer.echo("forgotten", err=True)
            case "/quit" | "/exit":
                return
            case _ if question.startswith("/"):
                typer.echo(HELP, err=True)
            case _:
                _answer(session, question, generation, debug)


def _read_question() -> str | None:
    """Next line without white space around it; None where there is no more, or at Ctrl-C."""
    try:
        return input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        typer.echo()
        return None


def _answer(session: VideoSession, question: str, generation: dict[str, Any], debug: bool) -> None:
    """Print an answer piece by piece. Ctrl-C stops it; what cannot be asked is said, and the chat goes on."""
    try:
        stream = session.stream(question, **generation)
        try:
            for piece in stream:
                typer.echo(piece, nl=False)
        finally:
            stream.close()
            typer.echo()
    except KeyboardInterrupt:
        typer.echo("(stopped; this turn is not remembered)", err=True)
        return
    except (ValueError, OSError, RuntimeError) as error:
        typer.echo(f"litakit: {error}", err=True)
        return
    options.say_spans(stream.answer)
    if debug:
        options.say_debug(stream.answer)
