"""Scenes as files: real videos, and annotations in the published formats.

`write_dataset` lays a folder out like this; every reader of the published data sets reads it:

    videos/v_<id>.mp4      one a scene; the id is 11 characters, "shape" and the seed
    stills/<id>.jpg        the frame that a scene's image questions are about
    dvc.json               {"v_<id>": {"duration", "timestamps", "sentences"}}, as ActivityNet-Captions
    event_loc.json         the same, with only the events that their sentence names without a doubt
    vidqa.json             [{"video": "v_<id>.mp4", "QA": [{"q", "a"}]}], as NExT-QA
    imgqa.json             [{"id", "image", "conversations": [{"from", "value"}]}], as LLaVA-Instruct
    rtl_train.json         {"v_<id>": {"duration", "QA": [{"q", "a"}]}}, as ActivityNet-RTL's training part
    rtl_val.json           [{"question_id", "vid", "duration", "question", "answer"}], as its validation part
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import av
from av.video.stream import VideoStream
from PIL import Image

from litakit.data.synthetic.asking import QA
from litakit.data.synthetic.events import make_scene
from litakit.data.synthetic.language import captions
from litakit.data.synthetic.questions import questions, quotable
from litakit.data.synthetic.render import Renderer
from litakit.data.synthetic.scene import TRAINING_KINDS, Scene
from litakit.files import replacing, write_atomic

ENCODERS: Mapping[str, tuple[str, Mapping[str, str]]] = MappingProxyType(
    {
        "h264": ("libx264", {"preset": "veryfast", "crf": "20"}),
        "hevc": ("libx265", {"preset": "veryfast", "crf": "22", "x265-params": "log-level=none:pools=1"}),
        "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "28", "b": "0"}),
        "av1": ("libsvtav1", {"preset": "11", "crf": "30"}),
        "mpeg4": ("mpeg4", {"qscale": "3"}),
    }
)
"""Codecs a video can be written in: PyAV's encoder, and its options.

The AV1 encoder speaks about itself on stderr; `SVT_LOG=1` in the environment quiets it.
"""

SAMPLE_SEED = 901_211
"""The seed of the sample video, which nothing is trained on. It was picked because the bundled model answers
it well: it shows what an answer looks like, not how often one is right."""


def write_video(
    scene: Scene, path: str | os.PathLike[str], codec: str = "h264", size: tuple[int, int] | None = None
) -> Path:
    """Write a scene as a video file, whole or not at all; frame i shows second i / fps.

    Args:
        scene: what to show.
        path: where to; the suffix chooses the container (.mp4, .mkv, .webm, ...).
        codec: one of `ENCODERS`.
        size: width and height in pixels, both even; None takes the scene's own.

    Returns:
        The path.

    Raises:
        ValueError: unknown codec, or an odd size.
    """
    if codec not in ENCODERS:
        raise ValueError(f"codec must be one of {', '.join(ENCODERS)}, got {codec!r}")
    width, height = size or (scene.width, scene.height)
    if width % 2 or height % 2:
        raise ValueError(f"width and height must be even for 4:2:0 video, got {width} x {height} px")
    encoder, options = ENCODERS[codec]
    renderer = Renderer(scene, (width, height))
    with (
        replacing(path) as temporary,
        av.open(str(temporary), "w", options={"fflags": "+bitexact"}) as container,
    ):
        stream = cast(VideoStream, container.add_stream(encoder, rate=scene.rate, options=dict(options)))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = 1 / scene.rate
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        for index in range(scene.num_frames):
            frame = av.VideoFrame.from_ndarray(renderer.frame(float(index / scene.rate)), format="rgb24")
            frame.pts, frame.time_base = index, 1 / scene.rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Path(path)


def sample_video(path: str | os.PathLike[str], seed: int = SAMPLE_SEED) -> Scene:
    """Write a sample video of the shape world, and return the scene that it shows."""
    scene = make_scene(seed)
    write_video(scene, path)
    return scene


def video_id(scene: Scene) -> str:
    """The 11 characters that a scene's video is called by: "shape000042".

    >>> video_id(make_scene(42))
    'shape000042'
    """
    return f"shape{scene.seed:06d}"


def write_dataset(
    folder: str | os.PathLike[str],
    seeds: Sequence[int],
    *,
    kinds: Sequence[str] = TRAINING_KINDS,
    videos: bool = True,
) -> Path:
    """Write the videos and the annotations of many scenes.

    Videos and stills that are there already are kept, so that a broken run goes on where it stopped; the
    annotations are written anew. The same seeds give the same bytes.

    Args:
        folder: where to; made if missing.
        seeds: the scenes, each once; at most 999,999.
        kinds: the kinds of events, as in `make_scene`.
        videos: whether to write videos and stills, or annotations only.

    Returns:
        The folder.

    Raises:
        ValueError: a seed comes twice, or has more than six digits.
    """
    if len(set(seeds)) != len(seeds) or any(not 0 <= seed <= 999_999 for seed in seeds):
        raise ValueError("seeds must differ and lie in [0, 999999]")
    root = Path(folder)
    tables = _Tables()
    for seed in seeds:
        scene = make_scene(seed, kinds)
        asked = questions(scene)
        tables.add(scene, asked)
        if videos:
            _write_media(root, scene, asked)
    for name, content in tables.files():
        write_atomic(root / name, json.dumps(content, indent=1) + "\n")
    return root


def _write_media(root: Path, scene: Scene, asked: Sequence[QA]) -> None:
    video = root / "videos" / f"v_{video_id(scene)}.mp4"
    if not video.exists():
        write_video(scene, video)
    seconds = next((qa.seconds for qa in asked if qa.seconds is not None), None)
    still = root / "stills" / f"{video_id(scene)}.jpg"
    if seconds is not None and not still.exists():
        buffer = io.BytesIO()
        Image.fromarray(Renderer(scene).frame(seconds)).save(buffer, "JPEG", quality=92)
        write_atomic(still, buffer.getvalue())


class _Tables:
    """The annotations of the scenes added so far, one table a file."""

    def __init__(self) -> None:
        self.dense: dict[str, Any] = {}
        self.single: dict[str, Any] = {}
        self.videos: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.reasoning: dict[str, Any] = {}
        self.reasoning_list: list[dict[str, Any]] = []

    def add(self, scene: Scene, asked: Sequence[QA]) -> None:
        """Note what one scene's video is annotated with."""
        vid, duration = video_id(scene), round(scene.duration, 6)
        key = f"v_{vid}"
        told = captions(scene)
        sure = quotable(scene)
        self.dense[key] = _account(duration, [(e.span.start, e.span.end, e.caption) for e in told])
        named = [e for e, event in zip(told, scene.events, strict=True) if event in sure]
        self.single[key] = _account(duration, [(e.span.start, e.span.end, e.caption) for e in named])
        short = [{"q": _plain(qa.question), "a": qa.answer} for qa in asked if qa.task == "vidqa"]
        self.videos.append({"video": f"{key}.mp4", "QA": short})
        self.images.extend(_conversation(vid, [qa for qa in asked if qa.task == "imgqa"]))
        reasoned = [qa for qa in asked if qa.task == "rtl"]
        pairs = [{"q": qa.question, "a": qa.answer} for qa in reasoned]
        self.reasoning[key] = {"duration": duration, "QA": pairs}
        self.reasoning_list.extend(
            {
                "question_id": f"{vid}_{index}",
                "vid": vid,
                "duration": duration,
                "question": qa.question,
                "answer": qa.answer,
            }
            for index, qa in enumerate(reasoned)
        )

    def files(self) -> Iterator[tuple[str, Any]]:
        """Names of the annotation files, and what goes into each."""
        yield "dvc.json", self.dense
        yield "event_loc.json", self.single
        yield "vidqa.json", self.videos
        yield "imgqa.json", self.images
        yield "rtl_train.json", self.reasoning
        yield "rtl_val.json", self.reasoning_list


def _account(duration: float, told: Sequence[tuple[float, float, str]]) -> dict[str, Any]:
    return {
        "duration": duration,
        "timestamps": [[start, end] for start, end, _ in told],
        "sentences": [words for _, _, words in told],
    }


def _plain(question: str) -> str:
    """A question as NExT-QA has it: no capital at its head, no question mark."""
    return question[:1].lower() + question[1:].removesuffix("?")


def _conversation(vid: str, turns: Sequence[QA]) -> Iterator[dict[str, Any]]:
    """One conversation about one still, as LLaVA-Instruct has it; nothing if there is nothing to say."""
    if not turns:
        return
    said: list[dict[str, str]] = []
    for index, qa in enumerate(turns):
        head = "<image>\n" if index == 0 else ""
        said += [{"from": "human", "value": head + qa.question}, {"from": "gpt", "value": qa.answer}]
    yield {"id": vid, "image": f"{vid}.jpg", "conversations": said}
