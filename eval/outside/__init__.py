"""Judges in environments of their own: published packages that cannot live beside this program's libraries.

Each is declared here, and becomes a metric like all others (`eval.metrics`), measured where it was asked for by
name (`score RUN --judge NAME`). `uv` makes its environment of pinned versions, `process` holds the line to it, and
`worker` runs in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from names import known

if TYPE_CHECKING:
    from eval.metric import Metric


@dataclass(frozen=True)
class Outside:
    """`name` is what --judge takes. `bounds` hold every score but for a tenth of their width; `packages` are pinned;
    `weights` is the folder of this program's that is given to it: "clip" or "reward" of the suite's judges, "" where
    the package brings its own from the network. `like` is the metric of ours that computes the same."""

    name: str
    title: str
    better: Literal["up", "down"]
    decimals: int
    bounds: tuple[float, float]
    packages: tuple[str, ...]
    licence: str
    weights: str = ""
    like: str = ""
    python: str = "3.11"
    unit: str = ""

    @property
    def key(self) -> str:
        """Of its column."""
        return self.name.replace(":", "_").replace("+", "_plus").replace("-", "_")

    @property
    def metric(self) -> Metric:
        from eval.metric import Metric  # which imports torch: `list` names judges without

        return Metric(
            f"outside_{self.key}", self.title, self.unit, self.better, self.decimals, needs=(self.name,),
            function=lambda seen: seen.judges[self.name].score(seen.rgb, seen.prompt),
            about=f"By another package: {self.packages[0]}.",
        )  # fmt: skip


PYIQA: dict[str, Any] = {
    "packages": ("pyiqa==0.1.16", "setuptools<81"),
    "licence": "pyiqa 0.1.16: PolyForm Noncommercial 1.0.0, no commercial use; its weights by their authors' licences",
}
OUTSIDE: dict[str, Outside] = {
    judge.name: judge
    for judge in (
        Outside("pyiqa:musiq", "MUSIQ", "up", 1, (0.0, 100.0), **PYIQA),
        Outside("pyiqa:maniqa", "MANIQA", "up", 3, (0.0, 1.0), **PYIQA),
        Outside("pyiqa:topiq_nr", "TOPIQ", "up", 3, (0.0, 1.0), **PYIQA),
        Outside("pyiqa:clipiqa+", "CLIP-IQA+", "up", 3, (0.0, 1.0), **PYIQA),
        Outside(
            "image-reward", "ImageReward (package)", "up", 2, (-1e3, 1e3),
            ("image-reward==1.5", "openai-clip==1.0.1", "transformers==4.48.3", "setuptools<81", "safetensors"),
            "image-reward 1.5: Apache 2.0", weights="reward", like="image_reward",
        ),
        Outside(
            "torchmetrics:clip_score", "CLIP score (torchmetrics)", "up", 2, (0.0, 100.0),
            ("torchmetrics==1.9.0", "transformers==5.24.0", "pillow"),
            "torchmetrics 1.9.0: Apache 2.0", weights="clip", like="clip_score",
        ),
        Outside(
            "hpsv2", "HPSv2.1", "up", 3, (-1.0, 1.0), ("hpsv2==1.2.0", "setuptools<81"),
            "hpsv2 1.2.0: Apache 2.0",
        ),
    )
}  # fmt: skip


def named(name: str) -> Outside:
    """Raises UserError with the nearest names."""
    return OUTSIDE[known("judge", name, OUTSIDE)]
