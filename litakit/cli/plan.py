"""`litakit plan`: what a training will take, on paper."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from litakit.cli._errors import one_line_errors


def plan(
    config: Annotated[
        str, typer.Argument(help="YAML file of a training, or a recipe: lita-13b, lita-7b or tiny.")
    ],
    gpu: Annotated[
        str, typer.Option(help="a100-40gb, a100-80gb, h100-80gb, h200-141gb, rtx-4090-24gb or l40s.")
    ] = "a100-80gb",
    gpus: Annotated[int, typer.Option(min=1, help="How many, in one machine.")] = 8,
    inputs: Annotated[
        Literal["features", "pixels"] | None,
        typer.Option(help="What a step reads of a video; by default as the config says."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Work out what a training takes: parameters, tokens, work, memory, disk and hours. Loads no weights."""
    with one_line_errors():
        from litakit.training.config import load_config
        from litakit.training.plan import plan as plan_training

        paper = plan_training(load_config(config), gpu=gpu, num_gpus=gpus, inputs=inputs)
    typer.echo(paper.to_json() if json_output else str(paper))
