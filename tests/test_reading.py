"""Reading: samples and features as batches, in order, from any point on, and nothing replaced in silence."""

import json
import logging

import numpy as np
import pytest
import torch

from litakit.data.annotations import Annotation, Pair, TimedCaption
from litakit.data.reading import ReadError, SampleReader
from litakit.data.samples import Sample
from litakit.data.tasks import samples_of
from litakit.features import FeatureFolder, VideoFeatures
from litakit.features.links import EncoderFacts, SourceStamp
from litakit.messages import Message, from_conversation
from litakit.modeling.losses import IGNORED
from litakit.video import VideoInfo
from tests._small_lita import small_lita
from tests.conftest import GOLDEN

MASKS = json.loads((GOLDEN / "label_masks.json").read_text())


@pytest.fixture(scope="module")
def lita():
    return small_lita()


def features_of(number, shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(number)).half()


@pytest.fixture
def folder(lita, tmp_path):
    """Features of three videos and an image, of the small model's shape."""
    model, _ = lita
    shape = (model.config.num_visual_tokens, model.config.feature_width)
    facts = EncoderFacts("e" * 64, "small", 8, *shape, "float16")
    made = FeatureFolder.create(tmp_path / "features", facts)
    for number, (name, duration) in enumerate({"a.mp4": 20.0, "b.mp4": 9.0, "c.jpg": None}.items()):
        info = VideoInfo(name, "video", duration, 8, 1.0, 56, 56)
        video = VideoFeatures(
            features_of(number, shape), info, duration, 0.0, np.zeros(8), np.zeros(8, int), "pyav", "index"
        )
        made.add(name, video, f"{number}" * 64, SourceStamp(1, 1))
    return made


def with_path(samples, path):
    return [Sample(**{**vars(sample), "path": path}) for sample in samples]


def some_samples():
    told = (TimedCaption(1.5, 4.0, "A man pours milk."), TimedCaption(4.0, 8.0, "He stirs."))
    pairs = (Pair("what is it?", "A cup."), Pair("why?", "He is thirsty."))
    made = []
    for task in ("dvc", "event_loc"):
        made += with_path(
            samples_of(Annotation("a", "a", 20.0, told), task, source="s", split="t")[0], "a.mp4"
        )
    made += with_path(
        samples_of(Annotation("b", "b", None, told), "event_loc", source="s", split="t")[0], "b.mp4"
    )
    made += with_path(
        samples_of(Annotation("c", "c", None, (), pairs), "imgqa", source="s", split="t")[0], "c.jpg"
    )
    words = (Message("user", "What is a cup?"), Message("assistant", "A thing to drink from."))
    return [*made, Sample("w", None, None, "imgqa", words, (), "s", "t")]


def test_a_batch_of_videos_an_image_and_words_alone(lita, folder):
    model, processor = lita
    samples = some_samples()
    batch = SampleReader(samples, processor, folder).batch(range(len(samples)))
    inputs = batch.inputs
    assert batch.indices == tuple(range(7))
    ids, mask, labels = inputs["input_ids"], inputs["attention_mask"], inputs["labels"]
    assert ids.shape == mask.shape == labels.shape
    lengths = mask.sum(dim=1).tolist()
    assert all(mask[row, :length].all() for row, length in enumerate(lengths))  # padded on the right
    assert all((labels[row, length:] == IGNORED).all() for row, length in enumerate(lengths))
    shape = (model.config.num_visual_tokens, model.config.feature_width)
    expected = [features_of(number, shape) for number in (0, 0, 0, 1, 1, 2)]
    assert torch.equal(inputs["video_features"], torch.stack(expected))
    with torch.no_grad():
        loss = model(**{**inputs, "video_features": inputs["video_features"].float()}).loss
    assert torch.isfinite(loss)


def test_times_become_tokens_of_the_videos_own_length(lita, folder):
    _, processor = lita
    reader = SampleReader(some_samples(), processor, folder)
    learned = []
    for sample in reader.samples[:5]:
        row = reader.encode(sample)
        learned.append(processor.decode_answer([label for label in row.labels if label != IGNORED]))
    assert learned == [
        "<t7> <t20> A man pours milk. <t20> <t40> He stirs.",
        "<t7> <t20>",
        "<t20> <t40>",
        "<t16> <t44>",  # the annotation does not say how long the video is: its features do
        "<t44> <t88>",
    ]


def test_label_masks_are_the_published_ones(lita):
    _, processor = lita
    checked = 0
    for template in ("v1", "llama_2"):
        for key, golden in MASKS["results"][template].items():
            if "|" in key or golden["printed"]:
                continue
            said = from_conversation([tuple(turn) for turn in MASKS["conversations"][key]])
            sample = Sample("g", None, None, "imgqa", said, (), "s", "t")
            row = SampleReader([], processor, template=template).encode(sample)
            place = processor.video_token_id
            kept = [
                (token, label)
                for number, (token, label) in enumerate(zip(row.input_ids, row.labels, strict=True))
                if token != place or row.input_ids[number - 1] != place
            ]
            assert [-200 if token == place else token for token, _ in kept] == golden["input_ids"], key
            assert [label for _, label in kept] == golden["labels"], key
            checked += 1
    assert checked >= 20


def test_to_generate_the_last_answer_is_open_and_padding_is_on_the_left(lita, folder):
    model, processor = lita
    samples = some_samples()[1:]
    reader = SampleReader(samples, processor, folder, purpose="generate")
    batch = reader.batch([0, 2, 3, 4])
    assert "labels" not in batch.inputs
    assert batch.inputs["attention_mask"][:, -1].all()
    options = {"max_new_tokens": 6, "do_sample": False}
    model.eval()

    def generate(inputs):
        features = inputs.pop("video_features", None)
        extra = {} if features is None else {"video_features": features.float()}
        with torch.no_grad():
            made = model.generate(**inputs, **extra, **options)
        return made[:, inputs["input_ids"].shape[1] :]

    together = generate(dict(batch.inputs))
    for row, number in enumerate([0, 2, 3, 4]):
        alone = generate(dict(reader.batch([number]).inputs))
        assert together[row].tolist()[: alone.shape[1]] == alone[0].tolist()


def test_batches_come_in_order_and_go_on_from_any_point(lita, folder):
    _, processor = lita
    samples = [some_samples()[number % 7] for number in range(23)]
    reader = SampleReader(samples, processor, folder)
    whole = list(reader.batches(4))  # all held at once: memory is not used again while it is needed
    assert [batch.indices for batch in whole] == [
        tuple(range(first, min(first + 4, 23))) for first in range(0, 23, 4)
    ]
    for again in (list(reader.batches(4, start=8, threads=1)), list(reader.batches(4, start=8, threads=3))):
        assert len(again) == len(whole) - 2
        for one, other in zip(whole[2:], again, strict=True):
            assert one.indices == other.indices
            assert one.inputs.keys() == other.inputs.keys()
            assert all(torch.equal(one.inputs[name], other.inputs[name]) for name in one.inputs)


def broken(folder, kind):
    samples = some_samples()
    if kind == "no features":
        samples[1] = with_path([samples[1]], "gone.mp4")[0]
        return samples, 1, "holds no features of gone.mp4: make them with `litakit data features`"
    if kind == "cut off":
        path = folder.store.path("1" * 64)
        path.write_bytes(path.read_bytes()[:-10])
        return samples[:4], 3, "b.mp4: .*cut off, 10 bytes of features are missing"
    if kind == "removed":
        folder.store.path("1" * 64).unlink()
        return samples[:4], 3, "b.mp4: .*No such file"
    if kind == "too long":
        words = (Message("user", "word " * 3000), Message("assistant", "yes"))
        samples[1] = Sample("long", None, None, "imgqa", words, (), "s", "t")
        return samples, 1, "the conversation takes [0-9]+ tokens, the model reads 2048"
    assert kind == "no length"
    samples[1] = Sample(**{**vars(samples[1]), "duration": None, "path": "c.jpg"})
    return samples, 1, "the length of a is not known, nor are its times"


@pytest.mark.parametrize("kind", ["no features", "cut off", "removed", "too long", "no length"])
def test_what_cannot_be_read_is_raised_or_skipped_and_counted(lita, folder, kind, caplog):
    _, processor = lita
    samples, number, words = broken(folder, kind)
    with pytest.raises(ReadError, match=f"{samples[number].id}: .*{words}"):
        list(SampleReader(samples, processor, folder).batches(2))
    reader = SampleReader(samples, processor, folder, on_error="skip")
    with caplog.at_level(logging.WARNING):
        batches = list(reader.batches(2))
    read = [index for batch in batches for index in batch.indices]
    assert read == [index for index in range(len(samples)) if index != number]
    assert [(skip.number, skip.id) for skip in reader.skips] == [(number, samples[number].id)]
    assert f"sample {number}, {samples[number].id}, is skipped: " in caplog.text
    assert reader.report().startswith(f"1 samples skipped\n  sample {number}, {samples[number].id}: ")
    good = SampleReader(samples, processor, folder)
    for batch in batches:
        expected = good.batch(batch.indices)
        assert all(torch.equal(batch.inputs[name], expected.inputs[name]) for name in expected.inputs)


def test_a_batch_of_nothing_is_left_out(lita):
    _, processor = lita
    reader = SampleReader(some_samples()[:3], processor, None, on_error="skip")
    assert list(reader.batches(2)) == []
    assert len(reader.skips) == 3
    with pytest.raises(ReadError, match="it has a video, a, but there are no features to read"):
        SampleReader(some_samples(), processor).batch([0])


def test_a_sample_without_length_is_skipped_by_its_id(lita, folder):
    _, processor = lita
    samples = [Sample(**{**vars(some_samples()[1]), "duration": 0.0}), some_samples()[6]]
    with pytest.raises(ReadError, match="a#0: duration must be positive"):
        SampleReader(samples, processor, folder).batch([0])
    reader = SampleReader(samples, processor, folder, on_error="skip")
    assert [batch.indices for batch in reader.batches(2)] == [(1,)]
    assert [skip.id for skip in reader.skips] == ["a#0"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_error": "Raise"}, "expected on_error"),
        ({"purpose": "training"}, "expected purpose"),
        ({"template": "v7"}, "expected a chat template"),
    ],
)
def test_wrong_options_are_refused_at_once(lita, options, words):
    with pytest.raises(ValueError, match=words):
        SampleReader([], lita[1], **options)


def test_numbers_of_batches_are_checked(lita):
    with pytest.raises(ValueError, match="expected a batch size from 1 and a start from 0, got 2 and -3"):
        list(SampleReader([], lita[1]).batches(2, start=-3))


def test_features_of_another_model_are_refused(lita, tmp_path):
    _, processor = lita
    other = FeatureFolder.create(tmp_path, EncoderFacts("e" * 64, "other", 100, 356, 1024, "float16"))
    with pytest.raises(ValueError, match=r"holds 356 tokens a video, the processor asks for [0-9]+: "):
        SampleReader([], processor, other)
