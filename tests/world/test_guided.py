"""What guidance does at noised true views, by priors whose answers are known."""

from __future__ import annotations

import pytest
import torch

from priors.base import Prior
from priors.schedule import Schedule, per_item
from world.train import guided

T = 700


@pytest.fixture
def codes():
    return torch.randn(4, 8, 16, 16, generator=torch.Generator().manual_seed(0))


class Known(Prior):
    """Its x0 is answer(text or None, place among those that have one, or none)."""

    latent_shape, image_size, schedule = (8, 16, 16), 64, Schedule.scaled_linear()

    def __init__(self, answer):
        self.answer, self.texts = answer, [""]

    def embed(self, prompts):
        self.texts += [text for text in dict.fromkeys(prompts) if text not in self.texts]
        return torch.tensor([float(self.texts.index(text)) for text in prompts]).view(-1, 1, 1)

    def network(self, x_t, t, text):
        texts, half = [self.texts[int(k)] for k in text.flatten()], len(x_t) // 2
        x0 = torch.stack([self.answer(text or None, k % half) for k, text in enumerate(texts)])
        return (x_t - per_item(self.schedule.a(t), x_t) * x0) / per_item(self.schedule.sigma(t), x_t)

    def encode(self, image, rng):
        raise NotImplementedError

    decode = encode


def test_an_error_with_text_is_multiplied_and_one_that_both_answers_share_is_not(codes):
    texts = ["a toy"] * 4
    off = Known(lambda text, k: codes[k] + (0.1 if text else 0.0))
    assert guided.errors(off, codes, texts, T) == pytest.approx((0.01, 0.0, 0.75**2), abs=1e-4)
    shared = Known(lambda text, k: codes[k] + 0.1)
    assert guided.errors(shared, codes, texts, T) == pytest.approx((0.01, 0.01, 0.01), abs=1e-4)


def test_words_lead_where_guided_answers_are_of_the_toy_that_is_named(codes):
    prompts = [f"toy {k}" for k in range(4)]
    mean = codes.mean(0)
    knows = Known(lambda text, k: codes[prompts.index(text)] if text else mean)
    assert guided.led(knows, codes, prompts, T) == 100
    deaf = Known(lambda text, k: codes[2])
    assert guided.led(deaf, codes, prompts, T) == 25


def test_a_prior_that_says_a_third_errs_by_a_third_of_the_scale(codes):
    off = Known(lambda text, k: codes[k] + (0.3 if text else 0.0))
    off.text_share = 1 / 3
    assert guided.errors(off, codes, ["a toy"] * 4, T) == pytest.approx((0.01, 0.0, 0.75**2), abs=1e-4)
