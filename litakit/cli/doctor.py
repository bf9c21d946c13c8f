"""`litakit doctor`: what this machine offers, and what is missing."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from litakit.cli._errors import DONE_WITH_FAILURES, one_line_errors

PACKAGES = (
    "litakit",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "sentencepiece",
    "numpy",
    "pillow",
    "bitsandbytes",
    "flash-attn",
    "deepspeed",
    "peft",
)


def doctor(json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show decoders, codecs, devices, attention, versions and where caches are.

    What is wrong stands under "problems"; then the exit code is 1.
    """
    with one_line_errors():
        report = examine()
    if json_output:
        typer.echo(json.dumps(report, ensure_ascii=False))
    else:
        for section, facts in report.items():
            typer.echo(section)
            for name, fact in facts.items():
                typer.echo(f"  {name}: {_words(fact)}")
    if report["problems"]:
        raise typer.Exit(DONE_WITH_FAILURES)


def examine() -> dict[str, dict[str, Any]]:
    """Return what `litakit doctor` shows, section by section."""
    decoders = _decoders()
    report: dict[str, dict[str, Any]] = {
        "versions": {"python": sys.version.split()[0], "platform": platform.platform()}
        | {name: _version(name) or "not installed" for name in PACKAGES},
        "decoders": decoders,
        "codecs": _codecs(),
        "devices": _devices(),
        "attention": _attention(),
        "models": _models(),
        "cache": _cache(),
    }
    problems = {}
    if decoders["pyav"] == decoders["decord"] == "not usable":
        problems["video"] = "no decoder is usable: pip install av decord"
    if not report["models"]["tiny"]["complete"]:
        problems["tiny"] = "the bundled model is missing from the package: load a folder with weights"
    if not report["cache"]["writable"]:
        problems["cache"] = f"{report['cache']['folder']} cannot be written: set LITAKIT_HOME"
    return {**report, "problems": problems}


def _words(fact: Any) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{name} {_words(value)}" for name, value in fact.items())
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    return str(fact)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _decoders() -> dict[str, str]:
    from litakit.video import decoder_versions

    return {name: number or "not usable" for name, number in decoder_versions().items()}


def _codecs() -> dict[str, dict[str, bool]]:
    from litakit.video import codec_support

    return codec_support()


def _devices() -> dict[str, Any]:
    import torch

    devices: dict[str, Any] = {
        "cpu": {"cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "cuda": f"not available (torch {torch.__version__})",
        "mps": bool(torch.backends.mps.is_available()),
    }
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            devices[f"cuda:{index}"] = {"name": card.name, "gigabytes": round(card.total_memory / 1e9, 1)}
        devices["cuda"] = f"{torch.cuda.device_count()} available"
    return devices


def _attention() -> dict[str, Any]:
    import torch

    from litakit.modeling import choose_attention

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    chosen = choose_attention("auto", dtype, device)
    return {"auto": f"{chosen} on {device} in {str(dtype).removeprefix('torch.')}"}


def _models() -> dict[str, Any]:
    from litakit.assets import bundled_model

    folder = bundled_model("tiny")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    return {"tiny": {"complete": (folder / "config.json").is_file(), "megabytes": round(size / 1e6, 1)}}


def _cache() -> dict[str, Any]:
    from litakit.features import FeatureStore
    from litakit.home import home_folder

    store = FeatureStore()
    folder = home_folder()
    parent = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return {
        "folder": str(folder),
        "writable": os.access(parent, os.W_OK),
        "features_megabytes": round(store.num_bytes() / 1e6, 1),
        "limit_megabytes": round(store.max_bytes / 1e6),
    }
