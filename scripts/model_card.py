"""The model card of litakit-tiny, from its recipe, its training's log and the benchmark's figures.

    python scripts/model_card.py MODEL FIGURES [--note FILE]

writes `MODEL/README.md` from `model_card.template`; FIGURES is what `benchmarks/tiny.py --save` wrote.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

from litakit.files import write_atomic
from litakit.training.tiny.recipe import TinyRecipe

TEMPLATE = Path(__file__).with_suffix(".template")


def make_card(recipe: TinyRecipe, figures: Mapping[str, Any], megabytes: float, note: str = "") -> str:
    """The card, as Markdown.

    Args:
        recipe: what the model was trained with.
        figures: what the benchmark measured.
        megabytes: size of the weights' file.
        note: a paragraph about this training in particular.
    """
    values = {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}
    last = figures["first_seed"] + figures["videos"] - 1
    values |= {name: figures[name] for name in ("videos", "first_seed")}
    values |= {"last_seed": last, "figures": "\n".join(_figures(figures)), "megabytes": f"{megabytes:.1f}"}
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(values, note=f"\n{note.strip()}\n" if note.strip() else "")


def _figures(figures: Mapping[str, Any]) -> Iterator[str]:
    tasks = [task for task in ("event_loc", "rtl") if task in figures]
    names = {"event_loc": "event localization", "rtl": "reasoning"}
    yield "| mean temporal IoU | " + " | ".join(names[task] for task in tasks) + " |"
    yield "|---|" + "---|" * len(tasks)
    rows = {
        "litakit-tiny": lambda f: (
            f"**{f['miou']:.3f}** ({f['interval_95'][0]:.3f} to {f['interval_95'][1]:.3f})"
        ),
        "questions": lambda f: str(f["questions"]),
        "P@0.5": lambda f: f"{f['precision_at_0.5']:.3f}",
        "events shorter than 8 % of the video": lambda f: f"{f['miou_of_short_events']:.3f}",
        "the whole video": lambda f: f"{f['baselines']['whole_video']:.3f}",
        "its centre third": lambda f: f"{f['baselines']['centre_third']:.3f}",
        "a random span": lambda f: f"{f['baselines']['random_span']:.3f}",
        "the best that the grid of time tokens allows": lambda f: f"{f['ceiling_of_the_grid']:.3f}",
        "asked with another video's features": lambda f: f"{f['miou_of_another_video']:.3f}",
        "answers without a span": lambda f: str(f["unparsed"]),
    }
    for label, told in rows.items():
        yield f"| {label} | " + " | ".join(told(figures[task]) for task in tasks) + " |"
    main = figures["event_loc"]
    yield ""
    mirrored, forwards = main["miou_mirrored"], main["miou_of_symmetric_kinds"]
    unmirrored = main["miou_reversed_but_not_mirrored"]
    yield (
        "With the frames reversed, kinds of events that look alike both ways are found at their mirrored "
        f"time with {mirrored:.3f} (forwards {forwards:.3f}; at the time before mirroring {unmirrored:.3f}). "
        "The interval in brackets is a 95 % bootstrap over videos."
    )
    yield ""
    yield "Event localization by kind of event: " + _list(main["by_event"]) + "."
    if "rtl" in figures:
        yield ""
        yield "Reasoning by kind of question: " + _list(figures["rtl"]["by_form"]) + "."
    words = figures["in_words"]
    labels = {
        "dvc": "dense captions (IoU of events told in the right words)",
        "imgqa": "questions about a still (right word for word)",
        "vidqa": "short questions about the video (right word for word)",
    }
    told = [f"{labels[task]} {value['score']:.3f} of {value['answers']}" for task, value in words.items()]
    yield ""
    yield "In words: " + "; ".join(told) + "."


def _list(groups: Mapping[str, Mapping[str, float]]) -> str:
    ranked = sorted(groups.items(), key=lambda item: -item[1]["miou"])
    return ", ".join(f"{name.replace('_', ' ')} {value['miou']:.2f}" for name, value in ranked)


def main() -> None:
    """Write the card beside a model."""
    parser = argparse.ArgumentParser(description="Write the model card of litakit-tiny.")
    parser.add_argument("model", type=Path, help="the model's folder")
    parser.add_argument("figures", type=Path, help="JSON of scripts/benchmarks/tiny.py --save")
    parser.add_argument("--note", type=Path, help="a paragraph about this training")
    arguments = parser.parse_args()
    note = arguments.note.read_text(encoding="utf-8") if arguments.note else ""
    size = (arguments.model / "model.safetensors").stat().st_size / 1e6
    figures = json.loads(arguments.figures.read_text(encoding="utf-8"))
    write_atomic(arguments.model / "README.md", make_card(TinyRecipe(), figures, size, note))


if __name__ == "__main__":
    main()
