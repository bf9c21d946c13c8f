"""Encoding many videos: each once, whoever is killed; what cannot be is named, and nothing half-written."""

import errno
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel
from typer.testing import CliRunner

from litakit.cli import app
from litakit.data.annotations import AnnotationError
from litakit.data.encode import EncodeJob, FeatureWork, feature_jobs
from litakit.data.jobs import JobRecord, run_jobs
from litakit.data.manifests import load_manifest
from litakit.features import FeatureFolder, FeatureStore, VideoEncoder, encoder_digest, list_encoders
from litakit.modeling import LitaForConditionalGeneration, published
from litakit.modeling.checkpoints import convert, load_model
from litakit.modeling.vision import load_vision
from tests._published import CHECKPOINT, VISION
from tests._small_lita import FRAMES, small_lita
from tests.conftest import GOLDEN
from tests.video_files import constant_rate

VIDEOS = [f"set/{name}.mp4" for name in "abcd"]
JOBS = [EncodeJob(path, path) for path in VIDEOS]
MANIFEST = """
name: own
title: Our own
about: Small clips.
licence: none
obtain: here
media: {kind: video, folder: set, suffixes: [.mp4, .webm]}
parts:
  - {split: train, annotations: [train.json], reader: captions_json, tasks: [dvc], use: train}
  - {split: train, annotations: [more.json], reader: captions_json, tasks: [event_loc], use: train}
  - split: val
    annotations: [val.json]
    reader: captions_json
    tasks: [dvc]
    use: evaluation
    media: {kind: frames, folder: frames, fps: 5}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    for part in small_lita():
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number, path in enumerate(VIDEOS):
        constant_rate(folder / Path(path).name, 25, 20 + number)
    return folder


@pytest.fixture
def root(tmp_path, videos):
    """A data root with four videos, a folder of frames, and annotations that name them and some more."""
    root = tmp_path / "root"
    shutil.copytree(videos, root / "set")
    shutil.copytree(FRAMES, root / "frames" / "v")
    return root


def annotate(root, **files):
    for name, named in files.items():
        entries = {video: {"duration": 1.0, "timestamps": [[0, 1]], "sentences": ["x"]} for video in named}
        (root / f"{name}.json").write_text(json.dumps(entries))


def tree(folder):
    """Every file below a folder but locks, as bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".locks" not in path.relative_to(folder).parts
    }


def statuses(report):
    return [record.status for record in report.records]


def clean_run(model, root, tmp_path):
    report = run_jobs(FeatureWork(model, root, tmp_path / "clean"), JOBS)
    assert statuses(report) == ["made"] * len(JOBS)
    return tree(tmp_path / "clean")


# Keys


def published_with_its_tower_beside(tmp_path):
    return CHECKPOINT


def converted(tmp_path):
    return convert(CHECKPOINT, tmp_path / "converted")


def with_an_mlp(tmp_path):
    for part in small_lita(projector="mlp", visual_layout="temporal"):
        part.save_pretrained(tmp_path / "mlp")
    return tmp_path / "mlp"


@pytest.mark.parametrize("make", [published_with_its_tower_beside, converted, with_an_mlp])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_eyes_alone_see_and_are_called_as_the_whole_model(tmp_path, videos, make, dtype):
    folder = make(tmp_path)
    eyes = VideoEncoder(*load_vision(folder, dtype=dtype, device="cpu"))
    whole = VideoEncoder(*load_model(folder, dtype=dtype, device="cpu"))
    assert eyes.identity == whole.identity
    video = videos / "a.mp4"
    assert eyes.key(video) == whole.key(video)
    assert torch.equal(eyes.encode(video).features, whole.encode(video).features)
    assert all(weight.is_meta for weight in eyes.model.language_model.parameters())
    assert not any(weight.is_meta for weight in eyes.model.vision_tower.parameters())


def test_a_vision_tower_alone_looks_as_the_published_model_with_it():
    alone = VideoEncoder(*load_vision(VISION, device="cpu"))
    assert alone.identity == VideoEncoder(*load_model(CHECKPOINT, device="cpu")).identity


def test_an_adapter_looks_with_its_bases_eyes_or_its_towers(tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    shutil.copy(CHECKPOINT / "config.json", adapter)
    fields = json.loads((adapter / "config.json").read_text())
    (adapter / "config.json").write_text(json.dumps(fields | {"mm_vision_tower": str(VISION)}))
    torch.save({"model.mm_projector.weight": torch.zeros(64, 64)}, adapter / "mm_projector.bin")
    expected = VideoEncoder(*load_vision(VISION, device="cpu")).identity
    for base in (GOLDEN / "ckpt" / "vicuna-v1-3-tiny", CHECKPOINT):
        assert VideoEncoder(*load_vision(adapter, base=base, device="cpu")).identity == expected
    with pytest.raises(ValueError, match="holds an adapter only: name the folder of its base model"):
        load_vision(adapter)


def test_what_cannot_see_is_refused(model):
    with pytest.raises(ValueError, match="vicuna-v1-3-tiny: a llama looks at nothing: expected the folder"):
        load_vision(GOLDEN / "ckpt" / "vicuna-v1-3-tiny")
    for folder in (model, CHECKPOINT, VISION):
        with pytest.raises(ValueError, match="is no adapter: leave out the base"):
            load_vision(folder, base=CHECKPOINT)


def test_an_old_and_chatty_configuration_is_the_same_encoder(tmp_path):
    """Files of CLIP from 2021 say forty things more; a checkpoint that holds the weights needs no file."""
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"image_size": 56, "patch_size": 14}
    text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(vision_config=vision, text_config=text)).save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}).save_pretrained(
        tmp_path
    )
    quiet = VideoEncoder(*load_vision(tmp_path, device="cpu"))
    fields = json.loads((tmp_path / "config.json").read_text())
    chatter = {
        "dropout": 0.0,
        "torchscript": False,
        "use_bfloat16": False,
        "pruned_heads": {},
        "prefix": None,
    }
    fields["vision_config"] |= chatter | {"is_decoder": False, "projection_dim": 16, "top_k": 50}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    chatty = VideoEncoder(*load_vision(tmp_path, device="cpu"))
    assert chatty.identity == quiet.identity
    by_another_way = published.vision_config(tmp_path, str(tmp_path))
    assert by_another_way.to_diff_dict() != quiet.model.config.vision_config.to_diff_dict()
    chatty.model.config.vision_config = by_another_way
    assert encoder_digest(chatty.model) == encoder_digest(quiet.model)
    by_another_way.layer_norm_eps = 1e-3
    assert encoder_digest(chatty.model) != encoder_digest(quiet.model)


# One process


def test_videos_are_encoded_once_as_the_whole_model_does(model, root, tmp_path):
    jobs = [*JOBS, EncodeJob("frames/v at 5 fps", "frames/v", 5.0)]
    work = FeatureWork(model, root, tmp_path / "features")
    assert statuses(run_jobs(work, jobs)) == ["made"] * 5
    before = tree(tmp_path / "features")
    assert statuses(run_jobs(FeatureWork(model, root, tmp_path / "features"), jobs)) == ["kept"] * 5
    assert tree(tmp_path / "features") == before
    whole = VideoEncoder(*load_model(model, device="cpu"))
    folder = FeatureFolder(tmp_path / "features")
    assert folder.encoder.identity == whole.identity
    for job in jobs:
        key, video = folder.key_of(job.path, job.fps), whole.encode(root / job.path, fps=job.fps)
        assert key == whole.key(root / job.path, fps=job.fps)
        assert folder.link_of(job.path, job.fps).duration == video.duration
        out = torch.empty(folder.encoder.num_tokens, folder.encoder.width)
        folder.read_into(key, out)
        assert torch.equal(out, video.features)


def test_a_chat_finds_the_features_that_were_made_for_training(model, root, tmp_path, monkeypatch):
    run_jobs(FeatureWork(model, root, tmp_path / "features"), JOBS[:1])
    store = FeatureStore(tmp_path / "features", max_bytes=float("inf"))
    chat = VideoEncoder(*load_model(model, device="cpu"), store)
    monkeypatch.setattr(chat, "_encode_now", lambda *args: pytest.fail("it was encoded again"))
    assert chat.encode(root / VIDEOS[0]).duration == pytest.approx(0.8)


def test_a_video_that_changed_is_encoded_anew(model, root, tmp_path):
    work = FeatureWork(model, root, tmp_path / "features")
    run_jobs(work, JOBS)
    before = FeatureFolder(tmp_path / "features").key_of(VIDEOS[1])
    constant_rate(root / VIDEOS[1], 25, 60)
    assert statuses(run_jobs(work, JOBS)) == ["kept", "made", "kept", "kept"]
    folder = FeatureFolder(tmp_path / "features")
    assert folder.key_of(VIDEOS[1]) != before
    assert folder.get(VIDEOS[1]).duration == pytest.approx(2.4)
    # Touched only: the bytes are read again, and nothing is encoded.
    os.utime(root / VIDEOS[0], (1000, 1000))
    work.encoder.encode = lambda *args, **kwargs: pytest.fail("it was encoded again")
    assert statuses(run_jobs(work, JOBS)) == ["made", "kept", "kept", "kept"]


def test_a_video_of_the_same_content_is_not_encoded_again(model, root, tmp_path):
    shutil.copy(root / VIDEOS[0], root / "set" / "copy.mp4")
    work = FeatureWork(model, root, tmp_path / "features")
    jobs = [JOBS[0], EncodeJob("copy", "set/copy.mp4")]
    assert statuses(run_jobs(work, jobs)) == ["made", "made"]
    assert len(FeatureStore(tmp_path / "features").entries()) == 1
    folder = FeatureFolder(tmp_path / "features")
    assert folder.key_of("set/copy.mp4") == folder.key_of(VIDEOS[0]) is not None


def test_what_cannot_be_encoded_is_named_and_the_others_are_made(model, root, tmp_path):
    (root / VIDEOS[1]).write_bytes((root / VIDEOS[1]).read_bytes()[:500])
    (root / VIDEOS[2]).unlink()
    os.mkfifo(root / "set" / "pipe.mp4")
    (root / "empty").mkdir()
    jobs = [*JOBS, EncodeJob("pipe", "set/pipe.mp4"), EncodeJob("empty", "empty", 5.0), EncodeJob("e", "e")]
    jobs[-1] = EncodeJob("escaped", "../x.mp4", fault="it leads out of the data root")
    report = run_jobs(FeatureWork(model, root, tmp_path / "features"), jobs)
    made, corrupt, gone, last, pipe, empty, escaped = report.records
    assert made.status == last.status == "made"
    assert corrupt.reason.startswith("not a readable video (")
    assert gone == JobRecord(VIDEOS[2], "failed", f"missing: expected {VIDEOS[2]}")
    assert "neither a regular file nor a folder" in pipe.reason
    assert empty.status == "failed"
    assert escaped == JobRecord("escaped", "failed", "it leads out of the data root")
    assert len(report.failures) == 5
    assert len(FeatureStore(tmp_path / "features").entries()) == 2


def test_a_video_that_changes_while_it_is_read_fails(model, root, tmp_path):
    work = FeatureWork(model, root, tmp_path / "features")
    encode = work.encoder.encode

    def slowly(source, **kwargs):
        video = encode(source, **kwargs)
        with Path(source).open("ab") as file:
            file.write(b"more")
        return video

    work.encoder.encode = slowly
    assert work(JOBS[0]) == JobRecord(VIDEOS[0], "failed", "it was changed while it was read")
    assert FeatureStore(tmp_path / "features").entries() == ()
    work.encoder.encode = encode
    assert work(JOBS[0]).status == "made"


@pytest.mark.parametrize("file", ["features", "link"])
def test_a_disk_that_takes_no_more_leaves_nothing_half_written(model, root, tmp_path, monkeypatch, file):
    work = FeatureWork(model, root, tmp_path / "features")
    expected = clean_run(model, root, tmp_path)
    assert statuses(run_jobs(work, JOBS[:1])) == ["made"]
    before = tree(tmp_path / "features")
    if file == "features":
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        monkeypatch.setattr(work.encoder, "encode", work.encoder.encode)
        try:
            report = run_jobs(work, JOBS)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert statuses(report) == ["kept", "failed", "failed", "failed"]
        assert all("File too large" in record.reason for record in report.failures)
    else:
        with monkeypatch.context() as patch:
            patch.setattr("litakit.features.links.write_atomic", full_disk)
            with pytest.raises(OSError, match="No space left on device"):  # the others would fail, too
                run_jobs(work, JOBS)
    left = tree(tmp_path / "features")
    links = {name: content for name, content in left.items() if not name.endswith(".safetensors")}
    assert links == {name: content for name, content in before.items() if not name.endswith(".safetensors")}
    assert file == "link" or left == before
    assert statuses(run_jobs(work, JOBS)) == ["kept", "made", "made", "made"]
    assert tree(tmp_path / "features") == expected


def full_disk(path, content):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_a_folder_that_cannot_be_and_a_model_that_is_none_end_the_run(model, root, tmp_path):
    (tmp_path / "file").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="file"):
        run_jobs(FeatureWork(model, root, tmp_path / "file"), JOBS)
    with pytest.raises(FileNotFoundError, match="expected a model's configuration"):
        run_jobs(FeatureWork(tmp_path, root, tmp_path / "features"), JOBS)


def test_the_work_travels_without_its_model(model, root, tmp_path, monkeypatch):
    monkeypatch.chdir(root.parent)
    work = FeatureWork(model, "root", "features", device="cpu", dtype="float32")
    assert work(JOBS[0]).status == "made"
    sent = pickle.dumps(work)
    assert len(sent) < 1000
    monkeypatch.chdir("/")
    assert pickle.loads(sent)(JOBS[0]) == JobRecord(VIDEOS[0], "kept")


# Several processes, and processes that are killed. The children are forked by a process that has run nothing
# of torch yet; it is another than pytest's.


def python(code, *arguments):
    command = [
        sys.executable,
        "-c",
        f"import sys; from tests.test_encode import *; {code}",
        *map(str, arguments),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        command, check=False, cwd=GOLDEN.parents[1], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def forked(do):
    """Do something in a process of its own, and return its number."""
    pid = os.fork()
    if pid == 0:
        try:
            do()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  a child that failed must not run pytest on
            sys.stderr.write(f"{error!r}\n")
            os._exit(3)
    return pid


def check_killed(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def kill_in_write(number, model, root, features):
    """Encode, and be killed when half of some file is written: that of the so-manieth fsync."""
    fsync, count = os.fsync, 0

    def killed(file):
        nonlocal count
        count += 1
        if count == number:
            os.ftruncate(file, os.fstat(file).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(file)

    os.fsync = killed
    run_jobs(FeatureWork(model, root, features), JOBS)


def kill_after(seconds, model, root, features):
    """Encode, and be killed some time after the model was loaded."""
    work = FeatureWork(model, root, features)
    assert work.folder
    threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGKILL]).start()
    run_jobs(work, JOBS)
    time.sleep(60)  # so fast that it was done


def killed_again_and_again(*folders):
    for number in (1, 2, 2, 2, 1):
        check_killed(forked(lambda number=number: kill_in_write(number, *folders)))
        check_whole(folders[2])
        sys.stdout.write(f"{sum('.part' in name for name in tree(Path(folders[2])))} ")
    for seconds in (0.02, 0.2, 0.6):
        check_killed(forked(lambda seconds=seconds: kill_after(seconds, *folders)))
        check_whole(folders[2])
    report = run_jobs(FeatureWork(*folders), JOBS)
    assert not report.failures


def check_whole(features):
    """What can be found is whole, however much is missing."""
    if not list_encoders(features):
        return
    folder = FeatureFolder(features)
    for path in VIDEOS:
        assert folder.key_of(path) is None or folder.get(path) is not None


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again_it_is_as_if_nothing_had_been(model, root, tmp_path):
    expected = clean_run(model, root, tmp_path)
    parts_left = python("killed_again_and_again(*sys.argv[1:])", model, root, tmp_path / "features")
    assert parts_left.split()[0] == "1"  # killed in the middle of a file: the part lies there
    assert tree(tmp_path / "features") == expected


def side_by_side(model, root, features, out):
    """Two processes do the same list; both are ready before either starts."""

    def encode(name):
        work = FeatureWork(model, root, features)
        assert work.folder
        Path(out, f"{name}.ready").touch()
        while len(list(Path(out).glob("*.ready"))) < 2:
            time.sleep(0.01)
        records = run_jobs(work, JOBS).records
        Path(out, f"{name}.json").write_text(json.dumps([record.status for record in records]))

    pids = [forked(lambda name=name: encode(name)) for name in "ab"]
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.slow
def test_two_processes_at_once_encode_each_video_once(model, root, tmp_path):
    expected = clean_run(model, root, tmp_path)
    python("side_by_side(*sys.argv[1:])", model, root, tmp_path / "features", tmp_path)
    by_process = [json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab"]
    for both in zip(*by_process, strict=True):
        assert sorted(both) == ["kept", "made"]
    assert tree(tmp_path / "features") == expected


def test_what_another_process_is_at_is_left_to_it(model, root, tmp_path):
    work, other = (FeatureWork(model, root, tmp_path / "features") for _ in range(2))
    digest = work.folder.link_path(VIDEOS[0]).stem
    with other._lock("path", digest) as is_held:
        assert is_held
        assert work(JOBS[0]) is None
    key = work.encoder.key(root / VIDEOS[0])
    with other._lock("content", key):
        assert work(JOBS[0]) is None
    assert work(JOBS[0]).status == "made"
    with other._lock("path", digest):
        assert work(JOBS[0]).status == "kept"  # what is there is seen without a lock


# The list of videos


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / "own.yaml").write_text(MANIFEST)
    return tmp_path / "own.yaml"


def parts_of(path):
    loaded = load_manifest(path)
    return [(loaded, part) for part in loaded.parts]


def test_every_different_video_is_a_job_and_what_is_not_there_a_failed_one(root, manifest, caplog):
    annotate(root, train=["b", "a", "gone", "../../x"], more=["a.mp4", "c"])
    jobs = feature_jobs(parts_of(manifest), root)
    assert jobs == [
        EncodeJob("set/b.mp4", "set/b.mp4"),
        EncodeJob("set/a.mp4", "set/a.mp4"),
        EncodeJob("set/gone.mp4", "set/gone.mp4", fault="missing: expected set/gone.mp4"),
        EncodeJob(
            "set/../../x.mp4",
            "set/../../x.mp4",
            fault="'../../x' is no name of a video: it leads out of the data root",
        ),
        EncodeJob("set/c.mp4", "set/c.mp4"),
    ]
    assert caplog.messages == ["left out, since its annotations are not here: own val (val.json)"]
    annotate(root, val=["v"])
    assert feature_jobs(parts_of(manifest)[2:], root) == [EncodeJob("frames/v at 5 fps", "frames/v", 5.0)]


def test_a_list_that_cannot_be_made_is_an_error(root, manifest):
    with pytest.raises(AnnotationError, match=r"no annotation file below .*: expected those of own train"):
        feature_jobs(parts_of(manifest), root)
    with pytest.raises(NotADirectoryError, match="no such data root"):
        feature_jobs(parts_of(manifest), root / "nothing")
    (root / "train.json").write_text("{")
    with pytest.raises(AnnotationError, match=r"train\.json"):
        feature_jobs(parts_of(manifest), root)


# The command


def command(*arguments):
    result = CliRunner().invoke(app, ["data", "features", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_makes_lists_failures_and_says_so_by_its_exit_code(model, root, manifest, tmp_path):
    annotate(root, train=["a", "b"], val=["v"])
    options = ("--root", root, "--model", model, "--device", "cpu")
    assert command(manifest, *options, "--split", "train")[:2] == (0, "2 made, 0 there before, 0 failed\n")
    assert len(tree(root / "features")) == 1 + 2 * 2
    annotate(root, train=["a", "b", "gone"])
    (root / "set" / "b.mp4").write_bytes(b"words")
    code, out, err = command(manifest, *options)
    assert code == 1
    head, *failures = out.splitlines()
    assert head == "1 made, 1 there before, 2 failed"
    assert failures[0].startswith("  set/b.mp4: not a readable video")
    assert failures[1:] == ["  set/gone.mp4: missing: expected set/gone.mp4"]
    assert "features" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.yaml", "--model", "tiny"], "nothing.yaml: cannot be read"),
        (["own.yaml", "--model", "nothing"], "no model at nothing: expected 'tiny' or a folder"),
        (
            ["own.yaml", "--model", "tiny", "--split", "test"],
            "no part of the split 'test'; there are train, val",
        ),
        (["own.yaml", "--model", "tiny", "--root", "nothing"], "nothing: no such data root"),
        (
            ["own.yaml", "--model", "tiny", "--workers", "2"],
            "ray_address, num_workers and gpus_per_worker are",
        ),
        (["lita", "--model", "tiny"], "no annotation file below"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(root, manifest, monkeypatch, arguments, message):
    monkeypatch.chdir(manifest.parent)
    annotate(root, train=["a"])
    if "--root" not in arguments:
        arguments = [*arguments, "--root", str(root)]
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_the_eyes_take_no_words(model):
    eyes, processor = load_vision(VISION, device="cpu")
    assert isinstance(eyes, LitaForConditionalGeneration)
    assert processor.frame_transform.size == 224
