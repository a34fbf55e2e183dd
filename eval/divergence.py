"""How a job ended. "Div." of Table 1 (arXiv 2405.15891) counts what ran out of memory or left an empty volume.

ok              it has views, and something is on them
empty           the mean opacity over its views is below .01
non-finite      a gradient was not a number, or infinite
out-of-memory   the device had no more
failed          it ended for a reason that is not the rule's: it does not count as diverged
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jaxtyping import Float

from eval.metric import Metric, Seen
from records import EMPTY

if TYPE_CHECKING:
    from torch import Tensor

DIVERGED = ("empty", "non-finite", "out-of-memory")
STATUSES = ("finished", "non-finite", "out-of-memory", "crashed", "missing")  # that a record can have


def classify(record: dict[str, Any], opacity: Float[Tensor, "V 1 H W"] | None) -> str:
    """The status of a job from its record and the opacities of its views; None where opacities are not known, as for
    pictures made elsewhere."""
    status = record.get("status", "finished")
    if status in ("non-finite", "out-of-memory"):
        return status
    if status != "finished":
        return "failed"
    return "empty" if opacity is not None and opacity.mean() < EMPTY else "ok"


def coverage(seen: Seen) -> Float[Tensor, " V"]:
    """The mean opacity of each view."""
    assert seen.opacity is not None
    return seen.opacity.mean((1, 2, 3))


OPACITY = Metric("opacity", "Opacity", "", None, 2, 0.05, needs=("opacity",), function=coverage, group="hidden",
                 bounds=(0.0, 1.0), about="Mean opacity of a view.")  # fmt: skip
