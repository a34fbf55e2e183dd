"""The noise schedule and the algebra between x0, x_t, eps and v.

Alphabet: abar cumulative product of 1 - beta, (T,); a = sqrt(abar_t); sigma = sqrt(1 - abar_t); s~ = sigma / a.
Timesteps below 0 use abar_0, as the official SDI's first inversion step does (METHODS 2).
"""

from __future__ import annotations
