"""Options that several verbs share, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from litakit.assistant import Answer, Assistant

Model = Annotated[
    str, typer.Option(help="'tiny' (bundled, knows the shape world only), or a folder with weights.")
]
Base = Annotated[
    Path | None, typer.Option(help="Folder of the base model, where --model holds an adapter only.")
]
Load4bit = Annotated[bool, typer.Option("--load-4bit", help="Weights in 4 bit (needs bitsandbytes).")]
Load8bit = Annotated[bool, typer.Option("--load-8bit", help="Weights in 8 bit (needs bitsandbytes).")]
Template = Annotated[
    str | None,
    typer.Option(help="Chat template: v1, llava_v1, llama_2 or llava_llama_2; by default the model's."),
]
Temperature = Annotated[
    float, typer.Option(help="0 takes the most probable token, above 0 tokens are drawn.")
]
TopP = Annotated[float, typer.Option(help="Draw from the most probable tokens of this total probability.")]
NumBeams = Annotated[int, typer.Option(help="Beams of a beam search.")]
MaxNewTokens = Annotated[int, typer.Option(help="Longest answer, in tokens.")]
Seed = Annotated[int | None, typer.Option(help="Of the draws, to get the same answer again.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the best there is.")]
Dtype = Annotated[
    str | None, typer.Option(help="float32, bfloat16 or float16; by default what suits the device.")
]
Start = Annotated[float | None, typer.Option(help="Ask about a part: its first second.")]
End = Annotated[float | None, typer.Option(help="Ask about a part: its last second.")]
Fps = Annotated[float | None, typer.Option(help="Frames a second, for a folder of frames.")]
Duration = Annotated[float | None, typer.Option(help="Seconds, for a folder of frames.")]
Refine = Annotated[bool, typer.Option("--refine", help="Look a second time, closer, at the first answer.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the prompt and the raw tokens, on stderr.")]
Engine = Annotated[
    Literal["local", "daft"],
    typer.Option(help="local: this process; daft: Daft, on this machine or a Ray cluster."),
]
RayAddress = Annotated[str | None, typer.Option(help="host:port of a Ray cluster that Daft takes.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes at once, for daft.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep no video features on disk.")]


def silence_transformers() -> None:
    """Keep transformers' bars and warnings off the terminal: a verb shows its own."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def load_assistant(
    model: str,
    base: Path | None,
    load_4bit: bool,
    load_8bit: bool,
    template: str | None,
    device: str | None,
    dtype: str | None,
    no_cache: bool,
) -> Assistant:
    """Load the model that the options name, without progress bars.

    Raises:
        ValueError: options that exclude each other, or no such model.
    """
    if load_4bit and load_8bit:
        raise ValueError("--load-4bit and --load-8bit exclude each other")
    quantization: Literal["4bit", "8bit"] | None = "4bit" if load_4bit else "8bit" if load_8bit else None
    import litakit

    silence_transformers()
    return litakit.load(
        model,
        dtype=dtype,
        device=device,
        quantization=quantization,
        base=base,
        template=template,
        cache=not no_cache,
    )


def say_debug(answer: Answer) -> None:
    """Print what the model read and wrote to stderr; of a second look both."""
    if answer.first is not None:
        say_debug(answer.first)
    typer.echo(f"prompt: {answer.prompt}", err=True)
    typer.echo(f"raw: {answer.raw_text}", err=True)
    typer.echo(f"ids: {' '.join(map(str, answer.token_ids))}", err=True)
    for boundary in answer.boundaries:
        typer.echo(f"boundary: {boundary}", err=True)


def say_spans(answer: Answer) -> None:
    """Print the spans of an answer, each on a line, and its notes to stderr."""
    for span, sure in zip(answer.spans, answer.confidence, strict=True):
        typer.echo(f"  {span}" + ("" if sure is None else f"  (confidence {sure:.2f})"))
    for note in answer.notes:
        typer.echo(f"  note: {note}", err=True)
