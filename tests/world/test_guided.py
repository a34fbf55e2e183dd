"""What guidance does at noised true views, by priors whose answers are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from world import models
from world.train import guided

T = 700


@pytest.fixture
def codes():
    return torch.randn(4, 8, 16, 16, generator=torch.Generator().manual_seed(0))


def prior(answer):
    """A v network whose x0 is answer(text or None, place in the batch)."""
    scheduler = models.scheduler()
    a = scheduler.alphas_cumprod[T]

    def unet(x_t, t, embedded):
        x0 = torch.stack([answer(text or None, k) for k, text in enumerate(embedded)])
        return SimpleNamespace(sample=(a.sqrt() * x_t - x0) / (1 - a).sqrt())

    return SimpleNamespace(
        scheduler=scheduler,
        unet=unet,
        tokenizer=lambda texts, **_: {"input_ids": texts},
        text_encoder=lambda texts: SimpleNamespace(last_hidden_state=texts),
    )


def test_an_error_with_text_is_multiplied_and_one_that_both_answers_share_is_not(codes):
    texts = ["a toy"] * 4
    off = prior(lambda text, k: codes[k] + (0.1 if text else 0.0))
    assert guided.errors(off, codes, texts, T) == pytest.approx((0.01, 0.0, 0.75**2), abs=1e-4)
    shared = prior(lambda text, k: codes[k] + 0.1)
    assert guided.errors(shared, codes, texts, T) == pytest.approx((0.01, 0.01, 0.01), abs=1e-4)


def test_words_lead_where_guided_answers_are_of_the_toy_that_is_named(codes):
    prompts = [f"toy {k}" for k in range(4)]
    mean = codes.mean(0)
    knows = prior(lambda text, k: codes[prompts.index(text)] if text else mean)
    assert guided.led(knows, codes, prompts, T) == 100
    deaf = prior(lambda text, k: codes[2])
    assert guided.led(deaf, codes, prompts, T) == 25
