"""Run the recipe: `python -m litakit.training.tiny WORK_FOLDER MODEL_FOLDER`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from litakit.data import synthetic
from litakit.modeling.tokenizer import LitaTokenizer
from litakit.training.tiny.features import SHARD, encode_scenes
from litakit.training.tiny.language import Scenes, train_language, validate
from litakit.training.tiny.recipe import TinyRecipe, untrained_model, untrained_processor
from litakit.training.tiny.report import write_report
from litakit.training.tiny.state import log_metrics
from litakit.training.tiny.tokenizer import make_tokenizer
from litakit.training.tiny.vision import train_vision

VALIDATION_SEEDS = synthetic.TRAIN_SEEDS[-3000:]
"""Scenes to watch the training by: of the training seeds, but never trained on."""


def main() -> None:
    """Run every stage that is not done yet, and write the model."""
    parser = argparse.ArgumentParser(description="Train litakit-tiny from nothing.")
    parser.add_argument(
        "work", type=Path, help="folder for checkpoints, features and the log; a rerun goes on there"
    )
    parser.add_argument("model", type=Path, help="folder that the finished model is written to")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    train(TinyRecipe(), arguments.work, arguments.model)


def train(recipe: TinyRecipe, work: Path, destination: Path) -> None:
    """Run the recipe in `work` and save the model and its processor to `destination`."""
    pieces = work / "tokenizer"
    if not (pieces / "tokenizer.json").exists():
        make_tokenizer(recipe).save_pretrained(pieces)
    tokenizer = LitaTokenizer.from_pretrained(pieces)
    processor = untrained_processor(recipe, tokenizer)
    model = untrained_model(recipe, len(tokenizer))
    read = train_vision(model, recipe, work)
    model.eval()
    rounded = -(-recipe.num_validation_scenes // SHARD) * SHARD
    scenes, validation = (
        Scenes(seeds, *encode_scenes(model, seeds, work / "features"))
        for seeds in (synthetic.TRAIN_SEEDS[: recipe.num_scenes], VALIDATION_SEEDS[:rounded])
    )
    train_language(model, processor, recipe, read, scenes, validation, work)
    model.eval()
    log_metrics(work, "wrong video", recipe.steps, **validate(model, processor, validation, shuffle=True))
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    model.half().save_pretrained(destination)
    processor.save_pretrained(destination)
    write_report(work, destination)


if __name__ == "__main__":
    main()
