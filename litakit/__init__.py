"""litakit: ask a video "when?".

The names below are doors: they open the module that holds them when they are first used, so that
``import litakit`` loads neither torch nor pandas.

>>> import litakit
>>> litakit.Span(12.5, 30.25).duration
17.75
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from litakit._auto import register_when_asked

if TYPE_CHECKING:
    from litakit.assistant import Answer, Assistant, Boundary, VideoSession, load
    from litakit.messages import Message
    from litakit.spans import Event, Span, temporal_iou
    from litakit.time_tokens import ParsedAnswer, SecondsText, TimeTokenizer
    from litakit.video import FrameBatch, VideoError, VideoInfo, decode_frames, probe

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Assistant",
    "Boundary",
    "Event",
    "FrameBatch",
    "Message",
    "ParsedAnswer",
    "SecondsText",
    "Span",
    "TimeTokenizer",
    "VideoError",
    "VideoInfo",
    "VideoSession",
    "__version__",
    "decode_frames",
    "load",
    "probe",
    "temporal_iou",
]


register_when_asked()


def _module_of(name: str) -> str | None:
    """Name the module that holds a public name, or None where there is no such name."""
    match name:
        case "Answer" | "Assistant" | "Boundary" | "VideoSession" | "load":
            return "litakit.assistant"
        case "Message":
            return "litakit.messages"
        case "Event" | "Span" | "temporal_iou":
            return "litakit.spans"
        case "ParsedAnswer" | "SecondsText" | "TimeTokenizer":
            return "litakit.time_tokens"
        case "FrameBatch" | "VideoError" | "VideoInfo" | "decode_frames" | "probe":
            return "litakit.video"
        case _:
            return None


def __getattr__(name: str) -> Any:
    module = _module_of(name)
    if module is None:
        raise AttributeError(f"module 'litakit' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
