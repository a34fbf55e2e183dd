"""Compiled kernels: Numba's for a CPU, Triton's for a GPU, behind one interface each, beside their plain twins."""
