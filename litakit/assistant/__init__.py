"""Ask a video: `load` a model, `open` a video, `ask` questions, get answers in seconds (floor 3)."""

from litakit.assistant.answer import Answer, Boundary
from litakit.assistant.loading import Assistant, load
from litakit.assistant.options import GenerationOptions
from litakit.assistant.session import AnswerStream, VideoSession

__all__ = ["Answer", "AnswerStream", "Assistant", "Boundary", "GenerationOptions", "VideoSession", "load"]
