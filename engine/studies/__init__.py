"""Experiments on the loop: ablations, sweeps, the ladder of diagnosis."""
