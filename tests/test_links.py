import errno
import json
import logging
import os
import shutil
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from litakit.features import (
    EncoderFacts,
    FeatureFolder,
    FeatureStore,
    SourceStamp,
    VideoEncoder,
    VideoFeatures,
    list_encoders,
)
from litakit.video import VideoInfo
from tests._small_lita import FRAMES, SHORT, small_lita

FACTS = EncoderFacts("e" * 64, "models/clip", 8, 12, 32, "float16")
KEY = "ab" * 32


def features(dtype=torch.float16, duration=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    info = VideoInfo("v.mp4", "video", duration, 75, 25.0, 320, 240)
    values = torch.randn(FACTS.num_tokens, FACTS.width, generator=generator).to(dtype)
    return VideoFeatures(
        values, info, duration, 0.0, np.linspace(0.0, 2.9, 8), np.arange(8), "pyav", "index", ()
    )


@pytest.fixture
def data(tmp_path):
    """A data root with a video and a folder of frames, and an empty folder of features."""
    root = tmp_path / "root"
    (root / "set").mkdir(parents=True)
    shutil.copy(SHORT, root / "set" / "a.mp4")
    shutil.copytree(FRAMES, root / "set" / "frames")
    return root, FeatureFolder.create(tmp_path / "features", FACTS)


def add(folder, root, path, key=KEY, fps=None, **changes):
    folder.add(path, features(**changes), key, SourceStamp.of(root / path), fps)


def test_a_video_is_found_by_its_path_without_being_there(data):
    root, folder = data
    add(folder, root, "set/a.mp4")
    shutil.rmtree(root)
    again = FeatureFolder(folder.folder)
    assert again.encoder == FACTS
    assert again.key_of("set/a.mp4") == again.key_of("./set//a.mp4") == KEY
    link = again.link_of("set/a.mp4")
    assert (link.key, link.duration) == (KEY, 3.0)
    assert torch.equal(again.get("set/a.mp4").features, features().features)
    assert again.key_of("set/b.mp4") is None
    assert again.get("set/b.mp4") is None
    assert again.key_of("set/a.mp4", root=root) is None


def test_frames_are_found_by_path_and_rate(data):
    root, folder = data
    add(folder, root, "set/frames", fps=5.0)
    assert folder.key_of("set/frames", 5) == KEY
    assert folder.key_of("set/frames", 2.5) is None
    assert folder.key_of("set/frames") is None


def test_a_link_says_in_words_what_it_is(data):
    root, folder = data
    add(folder, root, "set/a.mp4")
    status = (root / "set" / "a.mp4").stat()
    record = json.loads(folder.link_path("set/a.mp4").read_text())
    assert record == {
        "schema_version": 1,
        "path": "set/a.mp4",
        "fps": None,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "key": KEY,
        "num_bytes": folder.store.path(KEY).stat().st_size,
        "duration": 3.0,
    }


@pytest.mark.parametrize("change", ["size", "time", "gone", "features gone", "features cut"])
def test_with_the_root_a_change_is_seen(data, change):
    root, folder = data
    video = root / "set" / "a.mp4"
    add(folder, root, "set/a.mp4")
    assert folder.key_of("set/a.mp4", root=root) == KEY
    status, kept = video.stat(), folder.store.path(KEY)
    match change:
        case "size":
            video.write_bytes(video.read_bytes() + b"more")
            os.utime(video, ns=(status.st_atime_ns, status.st_mtime_ns))
        case "time":
            os.utime(video, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        case "gone":
            video.unlink()
        case "features gone":
            kept.unlink()
        case "features cut":
            kept.write_bytes(kept.read_bytes()[:-1])
    assert folder.key_of("set/a.mp4", root=root) is None
    assert folder.key_of("set/a.mp4") == KEY  # training believes the link


def test_with_the_root_a_frame_that_came_is_seen(data):
    root, folder = data
    frames = root / "set" / "frames"
    add(folder, root, "set/frames", fps=5.0)
    status = frames.stat()
    assert folder.key_of("set/frames", 5.0, root=root) == KEY
    (frames / "999999.jpg").write_bytes(b"jpg")
    os.utime(frames, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert folder.key_of("set/frames", 5.0, root=root) is None


@pytest.mark.parametrize("path", ["../a.mp4", "set/../../a.mp4", "/set/a.mp4", "set\\a.mp4", ""])
def test_a_path_stays_below_the_root(data, path):
    with pytest.raises(ValueError, match="expected a path below the data root, with forward slashes, got"):
        data[1].key_of(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema_version": 1, "key": "ab"}'])
def test_a_damaged_link_counts_as_missing_and_is_made_anew(data, caplog, content):
    root, folder = data
    add(folder, root, "set/a.mp4")
    folder.link_path("set/a.mp4").write_text(content)
    with caplog.at_level(logging.WARNING):
        assert folder.key_of("set/a.mp4") is None
    assert "cannot be read" in caplog.text
    add(folder, root, "set/a.mp4")
    assert folder.key_of("set/a.mp4") == KEY


def test_a_link_of_another_schema_counts_as_missing(data):
    root, folder = data
    add(folder, root, "set/a.mp4")
    place = folder.link_path("set/a.mp4")
    place.write_text(place.read_text().replace('"schema_version": 1', '"schema_version": 0'))
    assert folder.key_of("set/a.mp4") is None


def test_nothing_is_ever_evicted_and_what_is_there_is_not_written_again(data, monkeypatch):
    root, folder = data
    monkeypatch.setenv("LITAKIT_CACHE_GB", "0")
    add(folder, root, "set/a.mp4")
    kept = folder.store.path(KEY)
    os.utime(kept, (1000, 1000))
    add(folder, root, "set/frames", fps=5.0, seed=1)  # said to be of the same content
    assert kept.stat().st_mtime == 1000
    assert folder.store.get(KEY) is not None


def test_what_a_killed_process_left_is_cleared_away(data):
    root, folder = data
    kept, link = folder.store.path(KEY), folder.link_path("set/a.mp4")
    for place in (kept, link):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_name(f".{place.stem}.123-0a0b.part{place.suffix}").write_bytes(b"half")
    other = kept.with_name(f".{'ac' * 32}.123-0a0b.part.safetensors")
    other.write_bytes(b"another process is at this one")
    add(folder, root, "set/a.mp4")
    parts = list(folder.folder.rglob("*.part*"))
    assert parts == [other]


def test_a_folder_says_whose_features_it_holds(tmp_path):
    lita = small_lita()
    facts = EncoderFacts.of(VideoEncoder(*lita), "models/lita")
    assert facts == EncoderFacts(
        VideoEncoder(*lita).identity, "models/lita", 8, lita[0].config.num_visual_tokens, 32, "float32"
    )
    FeatureFolder.create(tmp_path, facts)
    assert FeatureFolder.create(tmp_path, facts).encoder == facts
    assert list_encoders(tmp_path) == (facts,)


def test_features_of_several_encoders_are_kept_apart(data):
    root, folder = data
    other = FeatureFolder.create(folder.folder, EncoderFacts("f" * 64, "models/siglip", 8, 12, 32, "float32"))
    add(folder, root, "set/a.mp4")
    assert other.key_of("set/a.mp4") is None
    with pytest.raises(
        ValueError, match=r"features of 2 encoders, name one by its identity: e+ \(models/clip"
    ):
        FeatureFolder(folder.folder)
    assert FeatureFolder(folder.folder, "f" * 64).encoder.model == "models/siglip"


def test_a_folder_that_is_none_is_refused_with_what_to_do(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no folder of features: make it with `litakit data feat"):
        FeatureFolder(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="has no features of the encoder 000: make it with"):
        FeatureFolder(data[1].folder, "000")
    place = data[1].folder / "encoders" / f"{FACTS.identity}.json"
    for content in ("{", "[]", '{"schema_version": 9}'):
        place.write_text(content)
        with pytest.raises(ValueError, match=r"e\.json: cannot be read as the record of an encoder"):
            FeatureFolder(data[1].folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_reading_into_memory_gives_what_get_gives(data, dtype):
    root, folder = data
    add(folder, root, "set/a.mp4", dtype=dtype)
    batch = torch.full((3, FACTS.num_tokens, FACTS.width), 7.0, dtype=dtype)
    folder.read_into(KEY, batch[1])
    assert torch.equal(batch[1], folder.get("set/a.mp4").features)
    assert (batch[[0, 2]] == 7.0).all()


def test_a_long_head_is_read_too(tmp_path):
    values = torch.randn(3, 4)
    store = FeatureStore(tmp_path)
    store.path(KEY).parent.mkdir(parents=True)
    save_file({"features": values}, store.path(KEY), metadata={"litakit": "x" * 9000})
    folder = FeatureFolder.create(tmp_path, FACTS)
    out = torch.empty(3, 4)
    folder.read_into(KEY, out)
    assert torch.equal(out, values)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (torch.empty(12, 32), r"expected features of the shape \(12, 32\) in torch.float32, got .*float16"),
        (torch.empty(12, 31, dtype=torch.float16), r"shape \(12, 31\) .*, got \(12, 32\) in torch.float16"),
        (torch.empty(384, dtype=torch.float16), r"of the shape \(384,\) in .*, got \(12, 32\)"),
    ],
)
def test_features_that_do_not_fit_are_refused_with_the_file(data, out, message):
    root, folder = data
    add(folder, root, "set/a.mp4")
    with pytest.raises(ValueError, match=f"{KEY}.safetensors: .*{message}"):
        folder.read_into(KEY, out)


def test_memory_that_cannot_be_read_into_is_refused(data):
    root, folder = data
    add(folder, root, "set/a.mp4")
    with pytest.raises(ValueError, match="expected a contiguous tensor on the CPU to read into"):
        folder.read_into(KEY, torch.empty(12, 64, dtype=torch.float16)[:, ::2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-700], "cut off, [0-9]+ bytes of features are missing"),
        (lambda content: content[:300], "its head is cut off"),
        (lambda content: content[:5], "its head is cut off"),
        (lambda content: b"", "its head is cut off"),
        (lambda content: struct.pack("<Q", 2**62) + content[8:], "its head is cut off"),
        (lambda content: struct.pack("<Q", 2) + b"{}", r"cannot be read as features \('features'\)"),
        (lambda content: struct.pack("<Q", 2) + b"[]", "cannot be read as features"),
        (lambda content: b"no tensors at all, only words", "cannot be read as features"),
    ],
)
def test_a_file_that_is_cut_off_or_no_such_file_is_refused(data, damage, message):
    root, folder = data
    add(folder, root, "set/a.mp4")
    kept = folder.store.path(KEY)
    kept.write_bytes(damage(kept.read_bytes()))
    with pytest.raises(ValueError, match=f"{KEY}.safetensors: .*{message}"):
        folder.read_into(KEY, torch.empty(12, 32, dtype=torch.float16))


def test_features_that_are_gone_are_the_systems_error(data):
    with pytest.raises(FileNotFoundError) as raised:
        data[1].read_into(KEY, torch.empty(12, 32, dtype=torch.float16))
    assert (raised.value.errno, raised.value.filename) == (errno.ENOENT, str(data[1].store.path(KEY)))
