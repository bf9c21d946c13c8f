"""The shape world: seeded scenes of named things, rendered to real videos, with captions and questions."""

from litakit.data.synthetic.asking import QA
from litakit.data.synthetic.events import make_scene
from litakit.data.synthetic.language import captions
from litakit.data.synthetic.questions import questions, quotable, sample_questions
from litakit.data.synthetic.render import Renderer, render_frame
from litakit.data.synthetic.scene import (
    ALL_KINDS,
    COLOURS,
    EVAL_SEEDS,
    HELD_OUT_KINDS,
    SHAPES,
    TRAIN_SEEDS,
    TRAINING_KINDS,
    Background,
    Scene,
    SceneEvent,
    Thing,
    ThingState,
    scene_state,
)
from litakit.data.synthetic.writer import (
    ENCODERS,
    SAMPLE_SEED,
    sample_video,
    video_id,
    write_dataset,
    write_video,
)

__all__ = [
    "ALL_KINDS",
    "COLOURS",
    "ENCODERS",
    "EVAL_SEEDS",
    "HELD_OUT_KINDS",
    "QA",
    "SAMPLE_SEED",
    "SHAPES",
    "TRAINING_KINDS",
    "TRAIN_SEEDS",
    "Background",
    "Renderer",
    "Scene",
    "SceneEvent",
    "Thing",
    "ThingState",
    "captions",
    "make_scene",
    "questions",
    "quotable",
    "render_frame",
    "sample_questions",
    "sample_video",
    "scene_state",
    "video_id",
    "write_dataset",
    "write_video",
]
