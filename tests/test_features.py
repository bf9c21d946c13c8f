import errno
import json
import logging
import math
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from litakit.features import FeatureStore, VideoEncoder, VideoFeatures, content_digest, encoder_digest
from litakit.home import cache_limit_bytes, home_folder
from litakit.video import VideoError, probe
from tests._small_lita import FRAMES, LONGER, SHORT, small_lita, watching

KEYS = [f"{number:064x}" for number in range(1, 9)]


@pytest.fixture(scope="module")
def lita():
    return small_lita()


def features(dtype=torch.float32, num_tokens=12, seed=0) -> VideoFeatures:
    generator = torch.Generator().manual_seed(seed)
    return VideoFeatures(
        features=torch.randn(num_tokens, 32, generator=generator).to(dtype),
        info=probe(SHORT),
        duration=3.0,
        start=0.0,
        pts_seconds=np.linspace(0.0, 2.96, 8),
        frame_indices=np.arange(8),
        backend="pyav",
        sampling="index",
        notes=("a note",),
    )


def test_the_home_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("LITAKIT_HOME", str(tmp_path / "home"))
    assert FeatureStore().folder == tmp_path / "home" / "features"
    monkeypatch.delenv("LITAKIT_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("sys.platform", "linux")
    assert home_folder() == tmp_path / "xdg" / "litakit"
    monkeypatch.setattr("sys.platform", "darwin")
    assert home_folder() == Path.home() / "Library" / "Caches" / "litakit"


@pytest.mark.parametrize("value", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch, value):
    monkeypatch.setenv("LITAKIT_CACHE_GB", value)
    with pytest.raises(ValueError, match=f"LITAKIT_CACHE_GB must be a number of gigabytes.*got '{value}'"):
        cache_limit_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_put_comes_back_bit_for_bit(tmp_path, dtype):
    store, video = FeatureStore(tmp_path), features(dtype)
    path = store.put(KEYS[0], video)
    back = FeatureStore(tmp_path).get(KEYS[0])
    assert path == store.path(KEYS[0])
    assert back.features.dtype == dtype
    assert torch.equal(back.features, video.features)
    assert np.array_equal(back.pts_seconds, video.pts_seconds)
    assert np.array_equal(back.frame_indices, video.frame_indices)
    assert (back.duration, back.start, back.backend, back.sampling, back.notes) == (
        3.0,
        0.0,
        "pyav",
        "index",
        ("a note",),
    )
    assert back.info == video.info


def test_a_missing_key_gives_none_and_a_wrong_one_an_error(tmp_path):
    assert FeatureStore(tmp_path).get(KEYS[0]) is None
    with pytest.raises(ValueError, match=r"64 hexadecimal digits, got '\.\./x'"):
        FeatureStore(tmp_path).get("../x")


@pytest.mark.parametrize("damage", ["cut", "empty", "words", "no record", "no fields", "one bit"])
def test_a_damaged_file_counts_as_missing_and_is_removed(tmp_path, caplog, damage):
    store = FeatureStore(tmp_path)
    path = store.put(KEYS[0], features())
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "empty":
            path.write_bytes(b"")
        case "words":
            path.write_bytes(b"no tensors at all, only words")
        case "one bit":
            path.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
        case "no fields":
            save_file({"features": torch.zeros(1)}, path, metadata={"litakit": "[]"})
        case "no record":
            save_file({"features": torch.zeros(1)}, path)
    with caplog.at_level(logging.WARNING):
        assert store.get(KEYS[0]) is None
    assert "cannot be read" in caplog.text
    assert not path.exists()
    store.put(KEYS[0], features())
    assert store.get(KEYS[0]) is not None


@pytest.mark.parametrize("method", ["utime", "unlink"])
def test_others_files_are_read_though_they_cannot_be_touched(tmp_path, monkeypatch, method):
    store = FeatureStore(tmp_path)
    path = store.put(KEYS[0], features())
    if method == "unlink":
        path.write_bytes(b"words")

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EPERM, "not yours")

    monkeypatch.setattr(os, method, refuse)
    assert (store.get(KEYS[0]) is None) == (method == "unlink")
    assert path.exists()


def test_a_pipe_or_device_is_not_read_for_its_digest(lita, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/zero")):
        with pytest.raises(OSError, match="neither a regular file nor a folder"):
            content_digest(path)
        with pytest.raises(VideoError, match="neither a regular file nor a folder"):
            VideoEncoder(*lita, FeatureStore(tmp_path / "store")).encode(path)


def test_seconds_that_are_no_numbers_are_the_decoders_error_and_whole_ones_one_key(lita, tmp_path):
    encoder = VideoEncoder(*lita, FeatureStore(tmp_path))
    with pytest.raises(VideoError, match="a part needs 0 <= start"):
        encoder.encode(SHORT, start=math.nan)
    assert encoder.key(SHORT, start=1, end=2) == encoder.key(SHORT, start=1.0, end=2.0)


def test_a_file_of_another_schema_is_made_anew(tmp_path):
    store = FeatureStore(tmp_path)
    path = store.put(KEYS[0], features())
    record = {"litakit": json.dumps({"schema_version": 0})}
    tensors = {name: torch.zeros(1) for name in ("features", "pts_seconds", "frame_indices")}
    save_file(tensors, path, metadata=record)
    assert store.get(KEYS[0]) is None
    assert store.entries() == ()


def test_the_least_recently_used_goes_first(tmp_path):
    size = FeatureStore(tmp_path / "one").put(KEYS[0], features()).stat().st_size
    store = FeatureStore(tmp_path / "many", max_bytes=3.5 * size)
    for number, key in enumerate(KEYS[:3]):
        os.utime(store.put(key, features()), (1000 + number, 1000 + number))
    assert store.get(KEYS[0]) is not None  # now KEYS[1] is the oldest
    store.put(KEYS[3], features())
    left = {entry.key for entry in store.entries()}
    assert left == {KEYS[0], KEYS[2], KEYS[3]}
    assert store.num_bytes() <= 3.5 * size


def test_many_puts_stay_within_the_limit_and_other_processes_count(tmp_path):
    size = FeatureStore(tmp_path / "one").put(KEYS[0], features()).stat().st_size
    ours, theirs = (FeatureStore(tmp_path / "many", max_bytes=3 * size) for _ in range(2))
    for key in KEYS[:4]:
        theirs.put(key, features())
        assert theirs.num_bytes() <= 3 * size
    for key in KEYS[4:]:
        ours.put(key, features())
        assert ours.num_bytes() <= 3 * size
        assert ours.get(key) is not None


def test_features_larger_than_the_store_are_not_kept(tmp_path):
    store = FeatureStore(tmp_path, max_bytes=100)
    assert store.put(KEYS[0], features()) is None
    assert list(tmp_path.rglob("*.*")) == []


def test_clear_removes_what_is_ours_and_nothing_else(tmp_path):
    store = FeatureStore(tmp_path)
    size = store.put(KEYS[0], features()).stat().st_size
    part = store.path(KEYS[0]).with_name(".half.1-2.part.safetensors")
    part.write_bytes(b"half")
    precious = [tmp_path / "weights.safetensors", store.path(KEYS[0]).with_name("weights.safetensors")]
    for path in precious:
        path.write_bytes(b"precious")
    assert store.clear() == (1, size)
    assert not part.exists()
    assert all(path.exists() for path in precious)
    assert store.entries() == ()


def test_entries_say_what_is_kept_newest_first(tmp_path):
    store = FeatureStore(tmp_path)
    os.utime(store.put(KEYS[0], features()), (1000, 1000))
    store.put(KEYS[1], features(num_tokens=20))
    new, old = store.entries()
    assert (new.key, old.key, old.last_used) == (KEYS[1], KEYS[0], 1000)
    assert old.video == str(SHORT)
    assert old.duration == 3.0
    assert new.num_bytes == store.path(KEYS[1]).stat().st_size


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    store = FeatureStore(tmp_path)
    with small_files_only(), pytest.raises(OSError) as raised:
        store.put(KEYS[0], features(num_tokens=3000))
    assert raised.value.errno == errno.EFBIG
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


class small_files_only:  # noqa: N801
    """The system refuses to write more than 64 kB to a file, as a full disk would."""

    def __enter__(self):
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, self.limits[1]))

    def __exit__(self, *exception):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)


def test_the_digest_of_a_video_is_its_content(tmp_path):
    copy = tmp_path / "renamed.bin"
    shutil.copy(SHORT, copy)
    assert content_digest(copy) == content_digest(SHORT)
    with copy.open("r+b") as file:
        file.seek(5000)
        file.write(bytes([file.read(1)[0] ^ 1]))
    assert content_digest(copy) != content_digest(SHORT)


def test_the_digest_of_a_folder_is_its_names_and_content(tmp_path):
    shutil.copytree(FRAMES, tmp_path / "frames")
    frames = tmp_path / "frames"
    before = content_digest(frames)
    assert before == content_digest(FRAMES)
    first, second = frames / "000001.jpg", frames / "000002.jpg"
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    assert content_digest(frames) != before
    first.write_bytes(one)
    second.write_bytes(two)
    assert content_digest(frames) == before
    second.rename(frames / "000002a.jpg")
    assert content_digest(frames) != before


def test_the_digest_of_the_encoder_sees_every_weight_that_counts():
    model, _ = small_lita()
    before = encoder_digest(model)
    assert before == encoder_digest(small_lita()[0])
    with torch.no_grad():
        model.get_output_embeddings().weight[0, 0] += 1.0
        model.projector.weight[0, 0] += 1.0
        assert encoder_digest(model) == before  # a linear projector comes after what is kept
        last = list(model.vision_tower.parameters())[-1]
        last.view(-1)[-1] = torch.nextafter(last.view(-1)[-1], torch.tensor(torch.inf))
    assert encoder_digest(model) != before


def test_the_digest_of_the_encoder_sees_type_layout_and_mlp():
    model, _ = small_lita()
    before = encoder_digest(model)
    assert encoder_digest(small_lita(visual_layout="temporal")[0]) != before
    assert encoder_digest(model.to(torch.bfloat16)) != before
    mlp, _ = small_lita(projector="mlp")
    before = encoder_digest(mlp)
    with torch.no_grad():
        mlp.projector[2].bias[0] += 1.0
    assert encoder_digest(mlp) != before


def test_a_video_is_encoded_once_for_its_content_in_every_process(lita, tmp_path):
    model, processor = lita
    with watching(model) as seen:
        first = VideoEncoder(model, processor, FeatureStore(tmp_path / "store")).encode(SHORT)
    assert seen.frames == 8
    copy = tmp_path / "copy.mp4"
    shutil.copy(SHORT, copy)
    with watching(model) as seen:
        again = VideoEncoder(model, processor, FeatureStore(tmp_path / "store")).encode(copy)
    assert seen.frames == 0
    assert torch.equal(again.features, first.features)
    assert again.info.path == type(first.info.path)(copy)
    assert (again.duration, again.start, again.notes) == (first.duration, first.start, first.notes)
    assert np.array_equal(again.pts_seconds, first.pts_seconds)


def test_features_are_what_the_model_makes_of_the_frames(lita):
    from litakit.video import decode_frames

    model, processor = lita
    video = VideoEncoder(model, processor).encode(SHORT)
    frames = decode_frames(SHORT, 8, transform=processor.frame_transform)
    with torch.no_grad():
        expected = model.get_video_features(processor.pixel_values(frames))[0]
    assert torch.equal(video.features, expected)
    assert video.features.shape == (model.config.num_visual_tokens, 32)
    assert not video.features.requires_grad
    (video.features * torch.ones(1, requires_grad=True)).sum().backward()  # training may build on them


@pytest.mark.parametrize("change", [{"start": 1.0}, {"end": 2.0}, {"fps": 5.0}, {"duration": 8.0}])
def test_the_key_covers_part_and_timing(lita, change):
    encoder = VideoEncoder(*lita)
    assert encoder.key(FRAMES, **change) != encoder.key(FRAMES)


def test_the_key_covers_the_preprocessing_and_the_number_of_frames(lita):
    model, processor = lita
    keys = {VideoEncoder(model, processor).key(SHORT)}
    other_model, other = small_lita()
    other.image_processor.image_mean = [0.5, 0.5, 0.5]
    keys.add(VideoEncoder(model, other).key(SHORT))
    _, padded = small_lita(image_aspect_ratio="pad")
    keys.add(VideoEncoder(model, padded).key(SHORT))
    other_model.config.num_frames = 9
    keys.add(VideoEncoder(other_model, processor).key(SHORT))
    keys.add(VideoEncoder(model, processor).key(LONGER))
    assert len(keys) == 5


def test_a_full_disk_costs_the_cache_and_not_the_features(lita, tmp_path, caplog):
    model, processor = lita
    (tmp_path / "store").write_text("a file where the folder should be")
    encoder = VideoEncoder(model, processor, FeatureStore(tmp_path / "store"))
    with caplog.at_level(logging.WARNING):
        video = encoder.encode(SHORT)
    assert "could not be kept" in caplog.text
    assert torch.equal(video.features, VideoEncoder(model, processor).encode(SHORT).features)


def test_a_video_that_is_not_there_is_the_decoders_error(lita, tmp_path):
    encoder = VideoEncoder(*lita, FeatureStore(tmp_path))
    with pytest.raises(VideoError, match=r"missing\.mp4"):
        encoder.encode(tmp_path / "missing.mp4")
