"""What the model card shows of the training: the log, thinned, and a picture of it.

`python -m litakit.training.tiny.report WORK MODEL` makes both anew from `WORK/metrics.jsonl`.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from litakit.files import write_atomic

LOG = "training_log.jsonl"
PICTURE = "training.png"
MOST_LINES = 60
"""Lines of the log kept for each stage."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
PANELS = (
    ("vision", "Vision tower: what is read from the mean", ("pooled_presence_loss", "pooled_state_loss")),
    ("watching", "Lower layers: what goes on, begins and ends", ("event_loss",)),
    ("language", "Language model: losses", ("time_loss", "word_loss", "pointer_loss")),
    ("validation", "mIoU on scenes kept out of training", ("event_loc_miou", "rtl_miou")),
)


def write_report(work: Path, destination: Path) -> None:
    """Write `training_log.jsonl` and `training.png` beside the model.

    Args:
        work: the training's folder, with `metrics.jsonl`.
        destination: the model's folder.
    """
    rows = read_log(work / "metrics.jsonl")
    kept = "".join(json.dumps(row) + "\n" for row in thinned(rows))
    write_atomic(destination / LOG, kept)
    write_atomic(destination / PICTURE, draw(rows))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log in the order of its stages and steps; of a step logged twice the later one."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    stages = list(dict.fromkeys(row["stage"] for row in lines))
    latest = {(stages.index(row["stage"]), row["step"]): row for row in lines}
    return [latest[key] for key in sorted(latest)]


def thinned(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most `MOST_LINES` rows a stage, evenly chosen, first and last among them."""
    kept: list[dict[str, Any]] = []
    for stage in dict.fromkeys(row["stage"] for row in rows):
        mine = [row for row in rows if row["stage"] == stage]
        stride = max(1, -(-len(mine) // MOST_LINES))
        chosen = mine[::stride]
        kept += chosen if chosen[-1] is mine[-1] else [*chosen, mine[-1]]
    return kept


def draw(rows: Sequence[dict[str, Any]]) -> bytes:
    """The picture, as PNG."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(2, 2).flatten().tolist()
    for panel, (stage, title, names) in zip(axes, PANELS, strict=True):
        mine = [row for row in rows if row["stage"] == stage]
        for name, colour in zip(names, COLOURS, strict=False):
            points = [(row["step"], row[name]) for row in mine if name in row]
            if points:
                panel.plot(*zip(*points, strict=True), label=name.replace("_", " "), color=colour, lw=1.2)
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("step")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        if panel.lines:
            panel.legend(fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    return buffer.getvalue()


def main() -> None:
    """Make the report of a training."""
    parser = argparse.ArgumentParser(description="Log and picture of a training of litakit-tiny.")
    parser.add_argument("work", type=Path)
    parser.add_argument("model", type=Path)
    arguments = parser.parse_args()
    write_report(arguments.work, arguments.model)


if __name__ == "__main__":
    main()
