import pytest
from transformers import CLIPConfig, PreTrainedConfig

from litakit.modeling import LitaConfig
from tests._tiny import tiny_model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visual_layout": "slow_fast"}, "visual_layout must be one of temporal, .*, got 'slow_fast'"),
        ({"time_token_ids": [1, 2]}, "expected 10 time_token_ids .*, got 2"),
        ({"video_token_id": 71}, r"rows of the vocabulary of 71 tokens .*, got \[71\]"),
        ({"video_token_id": 65, "time_token_ids": list(range(60, 70))}, "65 is also one of time_token_ids"),
    ],
)
def test_configurations_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_model(**changes)


def test_configuration_defaults_are_the_published_model():
    config = LitaConfig()
    assert (config.num_frames, config.num_time_tokens, config.visual_layout) == (
        100,
        100,
        "temporal_spatial_pool",
    )
    vocab_size = config.text_config.vocab_size
    assert config.video_token_id == vocab_size - 1
    assert config.time_token_ids == list(range(vocab_size - 101, vocab_size - 1))
    as_dict = LitaConfig(
        vision_config={"model_type": "clip_vision_model", "image_size": 224, "patch_size": 14}
    )
    assert as_dict.num_visual_tokens == 356
    assert isinstance(as_dict.vision_config, PreTrainedConfig)
    assert as_dict.count_visual_tokens(8) == 8 + 256


def test_of_a_clip_with_a_text_half_the_vision_half_is_taken():
    whole = CLIPConfig(vision_config={"image_size": 28, "patch_size": 14, "hidden_size": 24})
    config = LitaConfig(vision_config=whole)
    assert (config.vision_grid, config.feature_width) == ((2, 2), 24)
