"""What can be decoded here, for `litakit doctor`."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version

# codec: decoders that read it, any of which will do; encoder that PyAV's wheels bring
CODECS = {
    "h264": (("h264",), "libx264"),
    "hevc": (("hevc",), "libx265"),
    "vp8": (("vp8", "libvpx"), "libvpx"),
    "vp9": (("vp9", "libvpx-vp9"), "libvpx-vp9"),
    "av1": (("libdav1d", "av1"), "libsvtav1"),
    "mpeg4": (("mpeg4",), "mpeg4"),
    "gif": (("gif",), "gif"),
}


def decoder_versions() -> dict[str, str | None]:
    """Return each decoding library's version by the name of its backend; None where it is not usable.

    >>> sorted(decoder_versions())
    ['decord', 'pillow', 'pyav']
    """
    packages = {
        "pyav": ("av", ("av",)),
        "decord": ("decord", ("decord", "decord2")),
        "pillow": ("PIL", ("pillow",)),
    }
    return {backend: _version(module, names) for backend, (module, names) in packages.items()}


def codec_support() -> dict[str, dict[str, bool]]:
    """Return for each codec whether PyAV reads and writes it here; empty where PyAV is missing."""
    try:
        import av
    except (ImportError, OSError):
        return {}
    available = av.codecs_available
    return {
        name: {"reads": any(decoder in available for decoder in decoders), "writes": encoder in available}
        for name, (decoders, encoder) in CODECS.items()
    }


def _version(module: str, names: tuple[str, ...]) -> str | None:
    try:
        importlib.import_module(module)
    except (ImportError, OSError, RuntimeError):  # a wheel that does not fit fails in its own ways
        return None
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
