"""ImageReward-v1.0 in small, as published."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file

from eval import published_reward
from tests.eval.image_reward_equality import MED, weights
from tests.published import words
from tests.published.settings import PUBLISHED


def write(folder: Path) -> None:
    words.write_word_pieces(folder)
    for path, text in PUBLISHED["image-reward"].items():
        (folder / path).write_text(text, "utf-8")
    (folder / published_reward.MED).write_text(json.dumps(MED, indent=4) + "\n", "utf-8")
    save_file(weights(), folder / published_reward.WEIGHTS, metadata={"format": "pt"})
