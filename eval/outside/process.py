"""The line to a judge in an environment of its own: a process that is started once, and asked for each job."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from errors import UserError
from eval.encoders import eight_bits
from eval.outside import Outside
from files import read_text

WORKER = Path(__file__).with_name("worker.py")
SLACK = 0.1  # of the width of a judge's bounds


class Lost(Exception):
    """The judge gave no scores, and will give none: in a sentence."""


class OutsideJudge:
    """A judge as the scorer has them: `checksum` covers its versions, its weights and the code that runs it."""

    def __init__(self, declared: Outside, weights: Path | None, identity: str, device: str = "cpu"):
        """`identity` tells the weights from others; "" where the package brings its own, whose versions are pinned."""
        self.declared, self.weights, self.device = declared, weights, device
        facts = [declared.name, declared.packages, declared.python, identity, read_text(WORKER)]
        self.checksum = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        self._process: subprocess.Popen[str] | None = None

    def open(self) -> None:
        """Make its environment and open it. Raises UserError where that cannot be done, with the reason."""
        if self._process is not None:
            return
        uv = shutil.which("uv")
        if uv is None:
            raise UserError(f"The judge {self.declared.name} needs uv to make its environment: pip install uv.")
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - until `close`
        with_packages = [part for package in self.declared.packages for part in ("--with", package)]
        command = [uv, "run", "--isolated", "--no-project", "--python", self.declared.python, *with_packages]
        self._process = subprocess.Popen(
            [*command, "python", str(WORKER)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, encoding="utf-8",
            env=os.environ | {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "PYTHONSAFEPATH": "1"},
        )  # fmt: skip
        asked = {"name": self.declared.name, "weights": str(self.weights or ""), "device": self.device}
        try:
            self._asked(asked)
        except Lost as error:
            self.close()
            hint = "" if self.weights else "; the first time it needs the network, for its packages and its weights"
            raise UserError(f"The judge {self.declared.name} cannot be opened ({error}){hint}.") from error

    def score(self, images: Float[Tensor, "V 3 H W"], prompt: str) -> Float[Tensor, " V"]:
        """A number a view. Raises Lost where the judge fails, and for what no score of its can be."""
        self.open()
        pixels = eight_bits(images).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        with tempfile.TemporaryDirectory(prefix="judged-") as folder:
            file = Path(folder, "pictures")
            pixels.tofile(file)
            told = self._asked({"file": str(file), "shape": list(pixels.shape), "prompt": prompt})
        scores = told.get("scores", [])
        low, high = self.declared.bounds
        slack = SLACK * (high - low)
        if len(scores) != len(images) or any(not low - slack <= value <= high + slack for value in scores):
            shown = next(
                (v for v in scores if not math.isfinite(v) or not low - slack <= v <= high + slack), len(scores)
            )
            raise Lost(f"it gave {shown:g} where {len(images)} numbers from {low:g} to {high:g} are expected")
        return torch.tensor(scores, dtype=torch.float64).float()

    def _asked(self, question: dict[str, Any]) -> dict[str, Any]:
        process: Any = self._process
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
        except (OSError, ValueError):
            raise Lost(f"it ended with code {process.wait()}: {self._last_words()}") from None
        if "error" in answer:
            raise Lost(answer["error"])
        return answer

    def _last_words(self) -> str:
        """The line of its errors that says most: uv's begin with a word of their own."""
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        said = [line for line in lines if line.lower().startswith(("error", "cause", "caused by", "├", "╰", "×"))]
        return (said or lines or ["without a word"])[-1][:300].rstrip(".")

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # of what it never read, where it ended before
                    pipe.close()  # type: ignore[union-attr]
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._errors.close()
