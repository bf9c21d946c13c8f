"""Samples of a run, read by torch's data workers: the same batches, and every process takes every step."""

import pickle

import pytest
import torch
from torch.utils.data import DataLoader

from litakit.data.reading import ReadError
from litakit.data.samples import Sample
from litakit.messages import Message
from litakit.modeling.losses import IGNORED
from litakit.training.samples import RunSamples, hand_on
from tests._small_lita import small_lita

WORDS = (Message("user", "What is a cup?"), Message("assistant", "A thing to drink from."))


@pytest.fixture(scope="module")
def lita():
    return small_lita()


def sample(number, *, video=None):
    words = (WORDS[0], Message("assistant", "word " * (number % 5)))
    return Sample(f"s{number}", video, 9.0 if video else None, "imgqa", words, (), "s", "t", path=video)


def samples_of(lita, samples, **options):
    return RunSamples(samples, lita[1], **options)


def loaded(dataset, batches, num_workers):
    context = "spawn" if num_workers else None
    return list(
        DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=hand_on,
            num_workers=num_workers,
            multiprocessing_context=context,
        )
    )


def test_workers_read_the_same_batches(lita):
    dataset = samples_of(lita, [sample(number) for number in range(9)])
    batches = [[4, 0, 8], [1], [7, 2]]
    here, there = (loaded(dataset, batches, num_workers) for num_workers in (0, 2))
    assert [batch["indices"].tolist() for batch in here] == batches
    for one, other in zip(here, there, strict=True):
        assert one.keys() == other.keys() == {"input_ids", "attention_mask", "labels", "indices"}
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_dataset_travels_after_it_was_read_from(lita):
    dataset = samples_of(lita, [sample(number) for number in range(3)])
    first = dataset[2]
    again = pickle.loads(pickle.dumps(dataset))[2]
    assert torch.equal(first.inputs["input_ids"], again.inputs["input_ids"])
    assert len(dataset) == 3


def test_what_cannot_be_read_is_raised_or_leaves_a_batch_of_nothing(lita):
    samples = [sample(0), sample(1, video="gone.mp4")]
    with pytest.raises(ReadError, match=r"s1: it has a video, gone.mp4, but there are no features to read"):
        samples_of(lita, samples).__getitems__([0, 1])
    dataset = samples_of(lita, samples, on_error="skip")
    assert dataset.__getitems__([0, 1]).indices == (0,)
    nothing = hand_on(dataset.__getitems__([1]))
    assert nothing["labels"].tolist() == [[IGNORED]]
    assert nothing["indices"].tolist() == []
    model = lita[0].train()
    loss = model(**{name: value for name, value in nothing.items() if name != "indices"}).loss
    model.zero_grad()
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    assert model.projector.weight.grad is not None  # other processes wait for it
    model.zero_grad()
