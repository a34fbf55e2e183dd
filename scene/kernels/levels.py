"""The geometry of a hash grid, which its kernels and their plain twin share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEATURES = 2  # of a level, where compiled kernels serve


@dataclass(frozen=True)
class Levels:
    """The geometry of a hash grid: for each level its resolution and its first row in its table. The first `dense`
    levels lie in the first table, indexed directly, the others in the second, `mask` + 1 rows each, hashed."""

    resolutions: np.ndarray
    offsets: np.ndarray
    dense: int
    mask: int

    def spans(self, active: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The first level and the end of those `active` in either table."""
        return (0, min(self.dense, active)), (self.dense, max(self.dense, active))
