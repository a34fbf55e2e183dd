"""A folder of recordings: its cases, their tensors, and the random numbers the official code drew.

Alphabet: a case is one call of official code; `draw.NN` its random tensors in order, `in.*` inputs, `out.*` outputs,
`unet.NN.*` calls of the network, `step.NN.*` steps of inversion.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from errors import UserError


def error_of(ours: Any, recorded: Tensor) -> float:
    """Largest difference relative to the recorded peak; infinite where shapes differ or a number is not finite."""
    ours, recorded = torch.as_tensor(ours).detach().double(), recorded.double()
    if ours.shape != recorded.shape:
        return float("inf")
    peak = recorded.abs().max().item()
    error = (ours - recorded).abs().max().item() / (peak if peak > 0 else 1.0)
    return error if error == error else float("inf")


class Case:
    """One recorded call: its entry of the index, and its tensors by key, aliases resolved."""

    def __init__(self, folder: Path, entry: dict[str, Any]):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(k), str) for k in ("name", "method")):
            raise UserError(f"{folder / 'index.json'}: every case needs a name and a method; restore the file.")
        self.name, self.method, self.entry, self.folder = entry["name"], entry["method"], entry, folder
        self.config: dict[str, Any] = self._dict("config")
        self.scalars: dict[str, Any] = self._dict("scalars")
        self.tensors: dict[str, Tensor] = {}

    def _dict(self, key: str) -> dict[str, Any]:
        value = self.entry.get(key) or {}
        if not isinstance(value, dict):
            raise UserError(f"Case {self.name}: its {key!r} is not a table of names and values; restore index.json.")
        return value

    def load(self) -> Case:
        path = self.folder / str(self.entry.get("file"))
        if not path.is_file():
            raise UserError(f"Case {self.name}: the file {path} is missing; restore it or remove the case.")
        try:
            self.tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"Case {self.name}: {path} is not a safetensors file ({error}); restore it.") from None
        for key, other in self._dict("aliases").items():
            self.tensors[key] = self[other]
        return self

    def __contains__(self, key: str) -> bool:
        return key in self.tensors

    def __getitem__(self, key: str) -> Tensor:
        if key not in self.tensors:
            raise UserError(f"Case {self.name}: the tensor {key!r} is missing; restore its file.")
        return self.tensors[key]

    def series(self, prefix: str, suffix: str) -> list[Tensor]:
        """prefix.00.suffix, prefix.01.suffix, ..."""
        keys = sorted(k for k in self.tensors if k.startswith(prefix + ".") and k.endswith("." + suffix))
        return [self.tensors[k] for k in keys]


class Recording:
    """A folder of cases. Raises UserError where it cannot be read."""

    def __init__(self, folder: Path):
        self.folder, index = folder, folder / "index.json"
        if not index.is_file():
            raise UserError(f"{folder} holds no index.json; name a folder of recordings, such as tests/parity/data.")
        try:
            content = json.loads(index.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{index} is not JSON ({error}); restore it.") from None
        if not isinstance(content, dict) or content.get("format_version") != 1:
            raise UserError(f"{index} is not of format version 1, the only one known here.")
        if not isinstance(content.get("cases"), list) or not content["cases"]:
            raise UserError(f"{index} lists no cases; restore it.")
        self.cases = [Case(folder, entry) for entry in content["cases"]]

    def model(self, case: Case, name: str = "") -> Path:
        """The folder of a case's model, or of one of another name."""
        path = self.folder / "models" / (name or str(case.entry.get("model")))
        for part in ("unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"):
            if not (path / part).is_file():
                raise UserError(f"Case {case.name}: its model lacks {path / part}; restore it.")
        return path


class DrawsDiffer(Exception):
    """The product asked for a random number that the official code did not draw."""


KINDS = {torch.randn: "normal", torch.randint: "integer", torch.rand: "uniform"}


class Replayed(TorchFunctionMode):
    """Random draws come from the recording: normal, integer and uniform ones each in their own order."""

    def __init__(self, case: Case):
        super().__init__()
        self.left: dict[str, list[Tensor]] = {"normal": [], "integer": [], "uniform": []}
        for draw in case.entry.get("draws") or []:
            kind = {
                "randn": "normal",
                "randn_like": "normal",
                "randint": "integer",
                "rand": "uniform",
                "rand_like": "uniform",
                "random": "uniform",
            }
            name = str(draw.get("fn")).rsplit(".", 1)[-1]
            value = case[draw["key"]] if "shape" in draw else torch.tensor(draw["value"], dtype=torch.float64)
            self.left.get(kind.get(name, ""), []).append(value)
        if "in.call_with_defined_noise" in case:
            self.left["normal"].append(case["in.call_with_defined_noise"])

    def all_used(self) -> None:
        """Raises DrawsDiffer where noise of the official code was not asked for."""
        if self.left["normal"]:
            raise DrawsDiffer(f"{len(self.left['normal'])} normal tensors fewer than the official code")

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func not in KINDS:
            return func(*args, **kwargs)
        kind, asked = KINDS[func], func(*args, **{**kwargs, "generator": None})
        if not self.left[kind]:
            raise DrawsDiffer(f"one {kind} draw more than the official code's")
        value = self.left[kind].pop(0)
        if kind == "uniform" and value.ndim == 0:  # one number for the batch
            value = value.expand(asked.shape)
        if kind == "integer" and asked.ndim == 0 and value.numel() == 1:  # one for the batch
            value = value.reshape(())
        if value.shape != asked.shape:
            raise DrawsDiffer(f"a {kind} draw of shape {tuple(asked.shape)}, recorded {tuple(value.shape)}")
        if kind == "integer" and not ((value >= args[0]) & (value < args[1])).all():
            raise DrawsDiffer(f"integers in [{args[0]}, {args[1]}), recorded {value.tolist()}")
        return value.to(asked)
