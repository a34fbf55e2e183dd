"""Training of the world's models: `python -m world.train MODEL`, and `--check` of their quality."""

import os

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # torchvision is not needed, and progress is our own
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
