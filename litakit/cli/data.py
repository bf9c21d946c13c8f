"""`litakit data`: what data sets there are, and what of them is here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litakit.cli import data_features, data_frames, data_prepare
from litakit.cli._errors import DONE_WITH_FAILURES, one_line_errors

if TYPE_CHECKING:
    from litakit.data.coverage import CoverageReport
    from litakit.data.manifests import Manifest

app = typer.Typer(
    name="data", no_args_is_help=True, help="Data sets: what they are, and what of them is here."
)

Manifests = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Names or YAML files of data sets or mixtures; without any, those that come with litakit."
    ),
]

app.command()(data_frames.frames)
app.command()(data_features.features)
app.command()(data_prepare.prepare)
app.command()(data_prepare.describe)


@app.command("list")
def list_manifests(
    manifests: Manifests = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List data sets with their parts, tasks, formats and expected counts, and mixtures of them."""
    with one_line_errors():
        from litakit.data.manifests import shipped_manifests
        from litakit.data.mixture_spec import shipped_mixtures

        found = _data_sets(manifests) if manifests else shipped_manifests()
        mixtures = [] if manifests else shipped_mixtures()
    if json_output:
        rows = {
            "manifests": [manifest.model_dump(mode="json") for manifest in found],
            "mixtures": [mixture.model_dump(mode="json") for mixture in mixtures],
        }
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for manifest in found:
        typer.echo(f"{manifest.name}: {manifest.title}")
        for part in manifest.parts:
            count = part.counts.annotations
            expected = "" if count is None else f"  {count:,} annotations"
            files = ", ".join(part.annotations)
            typer.echo(f"  {part.split:6} {', '.join(part.tasks):15} {files} ({part.reader}){expected}")
        if manifests:
            for words in ("about", "licence", "obtain", "known_losses", "citation"):
                typer.echo(f"  {words.replace('_', ' ')}: {getattr(manifest, words) or 'nothing is known'}")
    for mixture in mixtures:
        tasks = ", ".join(share.task for share in mixture.tasks)
        typer.echo(f"mixture {mixture.name}: {mixture.title} ({tasks})")


@app.command()
def check(
    manifests: Manifests = None,
    root: Annotated[Path, typer.Option(help="Data root: the folder that holds the data sets.")] = Path(),
    out: Annotated[
        Path | None,
        typer.Option(help="Save the whole report here; by default as features/coverage.json in the root."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Decoding processes; by default one a core, at most 8.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Open every video that the annotations name, and list what is missing or wrong by its id.

    Exit code 1 where something is, or where a data set that is named is not here at all.
    """
    with one_line_errors():
        from litakit.data.coverage import check as check_data
        from litakit.progress import progress_bar

        named = _data_sets(manifests) if manifests else None
        with progress_bar("opening") as progress:
            report = check_data(root, named, num_workers=workers, progress=progress)
    if json_output:
        typer.echo(report.to_json())
    else:
        typer.echo("\n".join([str(report), *report.problem_lines()]))
    with one_line_errors():
        _save(report, root, out)
    here = {part.dataset for part in report.parts if part.files}
    absent = {manifest.name for manifest in named or ()} - here
    if not report.ok or absent:
        raise typer.Exit(DONE_WITH_FAILURES)


def _save(report: CoverageReport, root: Path, out: Path | None) -> None:
    """Save the report where it was asked for; else beside the features, over what is known of other parts."""
    from litakit.data.coverage import CoverageReport

    if out is not None:
        report.save(out)
        return
    place = root / "features" / "coverage.json"
    try:
        if place.exists():
            report = report.over(CoverageReport.load(place))
        report.save(place)
    except (OSError, ValueError) as error:  # a root that cannot be written is no reason to fail
        typer.echo(f"litakit: the report is not saved ({error}): give --out", err=True)


def _data_sets(names: Sequence[Path]) -> list[Manifest]:
    """The manifests that are named, a mixture standing for those of its sources."""
    from litakit.data.manifests import load_manifest
    from litakit.data.mixture_spec import is_mixture, load_mixture

    found: list[Manifest] = []
    for name in names:
        parts = load_mixture(name)[1] if is_mixture(name) else ()
        named = [part.manifest for part in parts] or [load_manifest(name)]
        for manifest in named:
            if manifest not in found:
                found.append(manifest)
    return found
