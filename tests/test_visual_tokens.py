import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from litakit.modeling import LAYOUTS, count_visual_tokens, pool_visual_tokens
from litakit.modeling.visual_tokens import slow_frame_indices
from tests.conftest import GOLDEN


def by_hand(x, layout, p, grid, num_cls=0):
    """The layouts' definitions, patch by patch, for one video x (T, S, D)."""
    frames = [frame.mean(dim=0) for frame in x]
    positions = [x[:, s].mean(dim=0) for s in range(x.shape[1])]
    slow = []
    for frame in [x[i] for i in slow_frame_indices(len(x), p)]:
        patches = frame[num_cls:].reshape(*grid, -1)
        for row in range(0, grid[0], p):
            for column in range(0, grid[1], p):
                slow.append(patches[row : row + p, column : column + p].flatten(0, 1).mean(dim=0))
    tokens = {
        "temporal": frames,
        "spatial": positions,
        "temporal_spatial": frames + positions,
        "spatial_pool": slow,
        "temporal_spatial_pool": frames + slow,
    }
    return torch.stack(tokens[layout])


def test_published_counts():
    counts = {layout: count_visual_tokens(layout, 100, (16, 16)) for layout in LAYOUTS}
    assert counts == {
        "temporal": 100,
        "spatial": 256,
        "temporal_spatial": 356,
        "spatial_pool": 256,
        "temporal_spatial_pool": 356,
    }


def test_golden_counts_for_few_frames():
    golden = json.loads((GOLDEN / "model.json").read_text())["other_T"]
    for key, shape in golden.items():
        layout, num_frames = key.split("|T=")
        x = torch.randn(1, int(num_frames), 256, 3)
        assert list(pool_visual_tokens(x, layout).shape) == [1, shape[1], 3]
        assert count_visual_tokens(layout, int(num_frames), (16, 16)) == shape[1]


@settings(deadline=None, max_examples=60)
@given(
    layout=st.sampled_from(LAYOUTS),
    num_frames=st.integers(1, 9),
    grid=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    slow_pool=st.integers(1, 4),
    num_cls=st.integers(0, 1),
    seed=st.integers(0, 1000),
)
def test_any_grid_and_p_as_defined(layout, num_frames, grid, slow_pool, num_cls, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, num_frames, num_cls + grid[0] * grid[1], 3)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    tokens = pool_visual_tokens(x, layout, slow_pool, grid)
    assert tokens.shape[1] == count_visual_tokens(layout, num_frames, grid, slow_pool, num_cls)
    expected = torch.stack([by_hand(video, layout, slow_pool, grid, num_cls) for video in x])
    torch.testing.assert_close(tokens, expected, atol=1e-12, rtol=0)


def test_slow_tokens_frame_by_frame_then_row_by_row():
    # 4 frames of a 4 x 4 grid; patch value = 100 * frame + 10 * row + column
    index = torch.arange(4.0)
    x = 100 * index[:, None, None] + 10 * index[None, :, None] + index[None, None, :]
    tokens = pool_visual_tokens(x.reshape(1, 4, 16, 1), "spatial_pool").flatten().tolist()
    first = [5.5, 7.5, 25.5, 27.5]  # means of the four 2 x 2 cells of frame 0
    assert tokens == [100 * frame + value for frame in range(4) for value in first]


def test_slow_frames_round_half_to_even():
    # linspace(0, 9, 4) = 0, 3, 6, 9; linspace(0, 2, 4) = 0, 0.67, 1.33, 2; linspace(0, 1, 3 * 3) has 0.5
    assert slow_frame_indices(10) == [0, 3, 6, 9]
    assert slow_frame_indices(2, 3) == [0, 0, 0, 0, 0, 1, 1, 1, 1]


@settings(deadline=None, max_examples=20)
@given(layout=st.sampled_from(LAYOUTS), seed=st.integers(0, 1000))
def test_pooling_commutes_with_a_linear_projector(layout, seed):
    torch.manual_seed(seed)
    x = torch.randn(1, 5, 16, 6, dtype=torch.float64)
    linear = torch.nn.Linear(6, 4, dtype=torch.float64)
    torch.testing.assert_close(linear(pool_visual_tokens(x, layout)), pool_visual_tokens(linear(x), layout))


def test_videos_of_a_batch_do_not_mix():
    x = torch.randn(3, 4, 16, 2)
    together = pool_visual_tokens(x, "temporal_spatial_pool")
    one_by_one = torch.cat([pool_visual_tokens(video[None], "temporal_spatial_pool") for video in x])
    torch.testing.assert_close(together, one_by_one)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(1, 2, 4, 1), "fast"), "visual layout must be one of temporal, spatial, .*, got 'fast'"),
        ((torch.zeros(2, 4, 1), "temporal"), r"\(batch, frames, patches, width\), got \(2, 4, 1\)"),
        ((torch.zeros(1, 2, 4, 1), "temporal", 0), "slow_pool must be at least 1, got 0"),
        ((torch.zeros(1, 0, 4, 1), "temporal"), "frames must be at least 1, got 0"),
        ((torch.zeros(1, 2, 7, 1), "spatial_pool"), "7 features a frame are no square grid"),
        ((torch.zeros(1, 2, 4, 1), "spatial_pool", 2, (3, 3)), "3 x 3 needs 9 patches a frame, got 4"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        pool_visual_tokens(*arguments)
