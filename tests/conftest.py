"""Before any test imports transformers: as the command line has it, bars are of jobs, not of files."""

import os

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
