"""Numeric parity with the published implementations: replay recorded inputs and random draws, compare the numbers.

    python -m tests.parity DIR

DIR holds index.json, cases/*.safetensors and models/ in Stable Diffusion's folder format, as tests/parity/data does.

README.md beside this file is the map: which file does what, how to add a case, what is skipped and why.
"""
