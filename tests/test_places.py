import pytest
import torch

from tests._tiny import tiny_ids, tiny_model, tiny_pixels


def test_places_and_videos_must_match():
    model = tiny_model()  # 6 + 16 = 22 tokens a video
    ids, pixels = torch.tensor([tiny_ids(model, 7)]), tiny_pixels()
    with pytest.raises(ValueError, match=r"hold 22 places .*but 0 visual tokens were given"):
        model(input_ids=ids)
    with pytest.raises(ValueError, match=r"hold 22 places .* are 44 tokens \(2 videos of 22\)"):
        model(input_ids=ids, pixel_values_videos=tiny_pixels(2))
    with pytest.raises(ValueError, match=r"hold 21 places .* are 22 tokens"):
        model(input_ids=ids[:, 3:], pixel_values_videos=pixels)
    with pytest.raises(ValueError, match=r"hold 0 places .* are 44 tokens"):
        model(input_ids=torch.tensor([[1, 5]]), pixel_values_videos=tiny_pixels(2))
    with pytest.raises(ValueError, match=r"got \(6, 3, 16, 16\)"):
        model.get_video_features(pixels[0])
    with pytest.raises(
        ValueError, match=r"video_features must have the shape \(videos, tokens, 16\), got \(1, 22, 17\)"
    ):
        model(input_ids=ids, video_features=torch.zeros(1, 22, 17))
    with pytest.raises(ValueError, match="either pixel_values_videos or video_features, got both"):
        model(input_ids=ids, pixel_values_videos=pixels, video_features=torch.zeros(1, 22, 16))
    with pytest.raises(ValueError, match="either pixel_values_videos or video_features, got both"):
        model.generate(ids, pixel_values_videos=pixels, video_features=torch.zeros(1, 22, 16))
    with pytest.raises(ValueError, match=r"\(videos, tokens, 16\), got \(22, 16\)"):
        model(input_ids=ids, video_features=torch.zeros(22, 16))
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model(pixel_values_videos=pixels)


@pytest.mark.parametrize("shape", [(1, 6, 16, 16, 3), (1, 0, 3, 16, 16), (0, 6, 3, 16, 16)])
def test_pixels_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(videos, frames, 3, height, width\), got \("):
        tiny_model().get_video_features(torch.zeros(shape))


def test_pixels_that_are_not_normalised_are_refused():
    with pytest.raises(ValueError, match=r"floating-point pixels, got torch.uint8: LitaProcessor makes them"):
        tiny_model().get_video_features(torch.zeros(1, 6, 3, 16, 16, dtype=torch.uint8))


@pytest.mark.parametrize(
    "options", [{"num_beams": 3}, {"do_sample": True, "num_return_sequences": 3, "top_k": 1}]
)
def test_the_videos_of_a_row_go_along_with_its_beams_and_samples(options):
    model, pixels = tiny_model(), tiny_pixels(3)
    rows = [[1, *[70] * 22, 7, *[70] * 22, 8], [1, 5, *[9] * 22, *[70] * 22, 8]]
    together = model.generate(
        torch.tensor(rows), pixel_values_videos=pixels, max_new_tokens=6, **options
    ).unflatten(0, (2, -1))
    for row, videos, out in zip(rows, (pixels[:2], pixels[2:]), together, strict=True):
        alone = model.generate(torch.tensor([row]), pixel_values_videos=videos, max_new_tokens=6, **options)
        assert torch.equal(out, alone)
    greedy = model.generate(torch.tensor(rows), pixel_values_videos=pixels, max_new_tokens=6)
    if "do_sample" in options:
        assert torch.equal(together, greedy[:, None].expand_as(together))


def test_videos_fill_places_in_reading_order():
    model = tiny_model()
    video = [70] * 22
    rows = [[1, *video, 7], [1, 2, *[9] * 22]]
    pixels = tiny_pixels(2)
    with torch.no_grad():
        by_row = model(input_ids=torch.tensor(rows), pixel_values_videos=pixels).logits
        in_order = model(input_ids=torch.tensor(rows), pixel_values_videos=pixels[:1]).logits
        swapped = model(input_ids=torch.tensor(rows[::-1]), pixel_values_videos=pixels.flip(0)).logits
        two = model(input_ids=torch.tensor([[1, *video, 7, *video]]), pixel_values_videos=pixels).logits
    assert torch.equal(by_row, in_order)
    torch.testing.assert_close(by_row, swapped.flip(0))
    torch.testing.assert_close(two[:, :24], by_row[:1], atol=1e-4, rtol=1e-4)
