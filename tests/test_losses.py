import pytest
import torch

from litakit.modeling.losses import next_token_loss


def test_loss_is_a_mean_over_supervised_tokens():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 7), torch.tensor([[-100, 3, 1, -100, 2], [-100, -100, -100, -100, 6]])
    terms = [
        -logits[row, at - 1].log_softmax(-1)[label]
        for row, at, label in [(0, 1, 3), (0, 2, 1), (0, 4, 2), (1, 4, 6)]
    ]
    assert next_token_loss(logits, labels).item() == pytest.approx(sum(terms).item() / 4, rel=1e-5)
    assert next_token_loss(logits, labels, num_items=8).item() == pytest.approx(
        sum(terms).item() / 8, rel=1e-5
    )
    assert next_token_loss(logits, torch.full((2, 5), -100)).item() == 0
    with pytest.raises(ValueError, match=r"batch and length \(2, 5\), got \(2, 4\)"):
        next_token_loss(logits, labels[:, 1:])
