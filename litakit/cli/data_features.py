"""`litakit data features`: the vision tower over every video of data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litakit.cli._errors import DONE_WITH_FAILURES, one_line_errors
from litakit.cli._options import Base, Device, Engine, RayAddress, Workers, silence_transformers

if TYPE_CHECKING:
    from litakit.data.manifests import Manifest, Part


def features(
    names: Annotated[
        list[Path], typer.Argument(help="Name or YAML file of a mixture, or of one or more data sets.")
    ],
    model: Annotated[
        str,
        typer.Option(help="'tiny', or the folder of a LITA, or of a vision tower alone, such as CLIP's."),
    ],
    root: Annotated[Path, typer.Option(help="Data root: the folder that holds the data sets.")] = Path(),
    folder: Annotated[
        Path | None,
        typer.Option("--features", help="Folder of the features; by default `features` in the data root."),
    ] = None,
    base: Base = None,
    device: Device = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32, bfloat16 or float16: of the vision tower and the features; by default what suits "
            "the device."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Only this split of the data sets; a mixture says its splits itself.")
    ] = None,
    engine: Engine = "local",
    ray_address: RayAddress = None,
    workers: Workers = None,
    gpus_per_worker: Annotated[
        float, typer.Option(min=0.0, help="GPUs, or share of one, of a process on a Ray cluster.")
    ] = 0.0,
) -> None:
    """Run a model's vision tower over every video, once: what training then reads.

    Ended at any moment and started again, or started several times at once, it makes what is left. A video
    that has changed since is encoded anew. Exit code 1 where a video could not be read or is not there; each
    is listed with the reason.
    """
    with one_line_errors():
        from litakit.assistant.loading import model_folder
        from litakit.data.encode import FeatureWork, feature_jobs
        from litakit.data.engines import run
        from litakit.progress import progress_bar

        jobs = feature_jobs(_parts(names, split), root)
        target = root / "features" if folder is None else folder
        work = FeatureWork(model_folder(model), root, target, base=base, device=device, dtype=dtype)
        silence_transformers()
        with progress_bar("features") as progress:
            report = run(
                work,
                jobs,
                engine=engine,
                ray_address=ray_address,
                num_workers=workers,
                gpus_per_worker=gpus_per_worker,
                progress=progress,
            )
    typer.echo(str(report))
    if report.failures:
        raise typer.Exit(DONE_WITH_FAILURES)


def _parts(names: Sequence[Path], split: str | None) -> list[tuple[Manifest, Part]]:
    """The parts that names stand for: those of a mixture, or of data sets."""
    from litakit.data._yaml import ManifestError
    from litakit.data.manifests import load_manifest
    from litakit.data.mixture_spec import is_mixture, load_mixture

    if len(names) == 1 and is_mixture(names[0]):
        if split is not None:
            raise ManifestError(f"{names[0]} is a mixture, which says its splits itself: leave --split out")
        _, sources = load_mixture(names[0])
        return [(source.manifest, part) for source in sources for part in source.parts]
    parts = [(manifest, part) for manifest in map(load_manifest, names) for part in manifest.parts]
    chosen = [(manifest, part) for manifest, part in parts if split in (None, part.split)]
    if not chosen:
        offers = ", ".join(sorted({part.split for _, part in parts}))
        raise ManifestError(f"no part of the split {split!r}; there are {offers}")
    return chosen
