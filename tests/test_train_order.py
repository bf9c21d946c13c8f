"""The order of a run: every draw once, the same everywhere, and little padding."""

import math
import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from litakit.data import Mixture, load_mixture, prepare
from litakit.data.synthetic import write_dataset
from litakit.training.order import Draws, SampleOrder
from litakit.training.samples import ProcessBatches


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    write_dataset(root / "shapes" / "train", range(31, 51), videos=False)
    prepare(*load_mixture("shape-world"), root, root / "out")
    return root / "out"


def order_of(folder, size, batch_size, *, seed=0, **options):
    return SampleOrder(Draws(Mixture(folder, seed=seed, epoch_size=50), size), batch_size, **options)


sizes = st.integers(0, 700)
batch_sizes = st.integers(1, 9)
seeds = st.integers(0, 2**32 - 1)
windows = st.integers(1, 40)


@given(size=sizes, batch_size=batch_sizes, seed=seeds, window=windows)
def test_every_draw_comes_once_and_in_its_window(folder, size, batch_size, seed, window):
    order = order_of(folder, size, batch_size, seed=seed, window_batches=window)
    numbers = order[:]
    assert sorted(numbers) == list(range(size))
    assert all(
        number // order.window_size == place // order.window_size for place, number in enumerate(numbers)
    )


@given(size=st.integers(1, 500), batch_size=batch_sizes, seed=seeds, data=st.data())
def test_a_place_is_the_same_whatever_was_asked_before(folder, size, batch_size, seed, data):
    order = order_of(folder, size, batch_size, seed=seed)
    places = data.draw(st.lists(st.integers(0, size - 1), max_size=5))
    fresh = pickle.loads(pickle.dumps(order_of(folder, size, batch_size, seed=seed)))
    assert [fresh[place] for place in places] == [order[:][place] for place in places]


@given(batch_size=batch_sizes, seed=seeds, steps=st.integers(1, 12), per_step=st.sampled_from([2, 4, 6]))
def test_a_step_learns_the_same_samples_by_however_many_processes(folder, batch_size, seed, steps, per_step):
    order = order_of(folder, steps * per_step * batch_size, batch_size, seed=seed)
    expected = list(ProcessBatches(order))
    for num_processes in (1, 2, per_step):
        shares = [list(ProcessBatches(order, rank, num_processes)) for rank in range(num_processes)]
        together = [batch for turn in zip(*shares, strict=True) for batch in turn]
        assert together == expected


def test_this_order_stays_for_ever(folder):
    """Written down once: a change here breaks every run that is to be resumed."""
    assert order_of(folder, 24, 4, window_batches=3)[:] == EXPECTED


def test_another_process_has_the_same_order(folder):
    code = (
        "from litakit.data import Mixture\n"
        "from litakit.training.order import Draws, SampleOrder\n"
        f"mixture = Mixture({str(folder)!r}, epoch_size=50)\n"
        "print(SampleOrder(Draws(mixture, 200), 4)[:])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(order_of(folder, 200, 4)[:])


def test_seeds_and_epochs_differ(folder):
    order = order_of(folder, 200, 4)
    assert order[:] != order_of(folder, 200, 4, seed=1)[:]
    draws = order.draws
    assert [draws[n].id for n in range(50)] != [draws[n].id for n in range(50, 100)]
    assert draws[130] == Mixture(folder, epoch=2, epoch_size=50)[30]
    with pytest.raises(IndexError, match=r"^draw 200 of 200$"):
        draws[200]
    with pytest.raises(IndexError, match=r"^place 200 of 200$"):
        order[200]


def padding_share(order):
    """Bytes of padding among all bytes, as if a byte were a token."""
    lengths = torch.tensor([len(sample_text(order.draws[number])) for number in order[:]])
    batches = lengths.split(order.batch_size)
    filled = sum(int(batch.max()) * len(batch) for batch in batches)
    return 1 - int(lengths.sum()) / filled


def sample_text(sample):
    return "".join(message.content for message in sample.messages)


def test_batches_waste_little_padding(folder):
    size = math.prod((8, 32, 4))
    ordered = padding_share(order_of(folder, size, 8))
    as_drawn = padding_share(order_of(folder, size, 8, window_batches=1))
    assert ordered < as_drawn / 3, (ordered, as_drawn)


@pytest.mark.parametrize(("batch_size", "window"), [(0, 32), (4, 0)])
def test_nothing_to_order(folder, batch_size, window):
    with pytest.raises(ValueError) as caught:
        order_of(folder, 10, batch_size, window_batches=window)
    assert str(caught.value) == (
        f"expected at least 1 sample in a batch and 1 batch in a window, got {batch_size} and {window}"
    )


EXPECTED = [7, 2, 8, 5, 9, 10, 6, 1, 3, 4, 11, 0, 12, 15, 18, 17, 19, 22, 16, 14, 23, 20, 21, 13]
