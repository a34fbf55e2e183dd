"""Stable-Diffusion-format folders as people have them: which files a part is read from, and what is refused.

The files follow diffusers' and transformers' rule of names, in which a *variant* may say the precision:

    STEM.safetensors           STEM-00001-of-00002.safetensors           STEM.safetensors.index.json
    STEM.fp16.safetensors      STEM.fp16-00001-of-00002.safetensors      STEM.safetensors.index.fp16.json
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from errors import UserError, first_line
from files import digest_once, read_json, read_text

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
LIKED = ("", "fp32", "fp16", "bf16")  # variants, the first found is read; LoRAs and the like are none
SETTINGS = (".json", ".txt")  # .txt: the merges of a tokenizer
POINTER = b"version https://git-lfs"  # what git leaves where its large files were not fetched
MARK = "\ufeff".encode()  # of byte order, which some editors put in front of a text
BUFFER = "position_ids"  # computed, not learnt: older folders have it, newer do not
UNUSED = (BUFFER, "text_projection.weight")  # what may be in a folder beside a model's own tensors
SECOND = ("text_encoder_2", "text_encoder_3")  # of SDXL, of SD 3: a prior has one text
CLASSES = {  # what a part's configuration calls itself, where it does
    "unet": ("_class_name", ("UNet2DConditionModel",)),
    "vae": ("_class_name", ("AutoencoderKL",)),
    "text_encoder": ("model_type", ("clip_text_model", "clip")),
}
NUMBERS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")  # of weights, in safetensors' words; others are quantised


def checked(path: str | Path) -> Path:
    """The folder, which has every part of a prior. Raises UserError where it has not."""
    folder = Path(path)
    near = f"; did you mean {meant}?" if (meant := _near(folder)) else "."
    if not folder.is_dir():
        raise UserError(f"There is no prior at {path}: give the path of a folder in Stable Diffusion's format{near}")
    if lacks := missing(folder):
        raise UserError(f"The folder {path} is no Stable Diffusion prior: it lacks {', '.join(lacks)}{near}")
    if second := [name for name in SECOND if (folder / name).exists()]:
        raise UserError(
            f"The folder {path} is not of Stable Diffusion 1 or 2: it has a {second[0]}; a prior has one text."
        )
    return folder


def missing(folder: Path) -> list[str]:
    """The parts of a prior that a folder has not."""
    return [part for part in PARTS if not (folder / part).is_dir()]


def _near(folder: Path) -> Path | None:
    """A prior one level above or below, or in a folder of the hub's cache, for people who name another folder of it."""
    around = [folder.absolute().parent, *sorted(folder.glob("*/")), *sorted(folder.glob("snapshots/*/"))]
    return next((other for other in around if not missing(other)), None)


def checksum(path: str | Path) -> str:
    """sha256, as hex, over the names and contents of the settings and weights that a prior is read from.

    Raises UserError where the folder is no prior, or a file cannot be read."""
    folder = checked(path)
    read = [file for part in PARTS for file in (folder / part).iterdir() if is_read(file)]
    read += [file for part in STEMS for file in weights(folder / part)[1]]
    if odd := [file for file in read if file.exists() and not (file.is_file() or file.is_dir())]:
        raise UserError(f"The prior's {odd[0]} is no file: fetch it again.")  # a pipe would be waited for
    try:
        return digest_once({*read, *folder.glob("views.json")}, within=folder)
    except OSError as error:  # a link into a cache that was cleared, most often
        raise UserError(f"The prior's {error.filename} cannot be read ({error.strerror}): fetch it again.") from error


def refuse_other_class(folder: Path) -> None:
    """Raise UserError where a part has no configuration, or one of another class: a library would build something all
    the same."""
    config = read_json(folder / "config.json", "fetch it again")
    key, known = CLASSES[folder.name]
    if (named := config.get(key, known[0])) not in known:
        raise UserError(f"The {folder.name} of a prior is a {known[0]}, where {folder / 'config.json'} says {named}.")


def refuse_unsound(folder: Path, model: Any) -> None:
    """Raise UserError where a weight is no finite number, or is in none of the files that an index names for it."""
    for name, tensor in model.state_dict().items():
        if tensor.is_meta:  # diffusers believes the index
            raise UserError(f"The weights in {folder} lack {name}, which their index names: fetch them again.")
        if not tensor.isfinite().all():
            raise UserError(f"The weights in {folder} are damaged: {name} is not finite; fetch them again.")


def refuse_quantised(files: Iterable[Path]) -> None:
    """Raise UserError where weights are whole numbers, which mean nothing without the scales of a method of
    quantisation, or a file is damaged."""
    for file in files:
        kinds = _kinds(file)
        for name, kind in kinds.items():
            if kind not in NUMBERS and not name.endswith(BUFFER):
                raise UserError(
                    f"The weights in {file} are quantised ({name} is {kind}): take a model of 16 or 32 bits."
                )


def _kinds(file: Path) -> dict[str, str]:
    """The kinds of numbers of a file's tensors. Raises UserError where it is damaged."""
    try:
        with safe_open(file, "pt") as tensors:
            return {name: tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
    except OSError as error:  # a link into a cache that was cleared, most often
        raise UserError(f"The weights in {file} cannot be read ({first_line(error)}): fetch the file again.") from error
    except SafetensorError as error:
        with file.open("rb") as stream:
            pointer = stream.read(len(POINTER)) == POINTER
        cause = "it is a pointer of Git LFS" if pointer else first_line(error)
        raise UserError(f"The weights in {file} cannot be read ({cause}): fetch the file again.") from error


def is_read(file: Path) -> bool:
    """Whether a file has settings. Those that systems hide beside others, as macOS does, have none."""
    return file.suffix in SETTINGS and not file.name.startswith(".")


def weights(folder: Path, stem: str | None = None) -> tuple[str, list[Path]]:
    """The variant that is read ("" where its files name none) of a part's weights, and its files; `stem` is what they
    are called, where it is not a prior's part.

    Raises UserError where there are none, a shard is not there, or several variants are that nothing ranks."""
    stem = re.escape(stem or STEMS[folder.name])
    whole = re.compile(rf"{stem}(?:\.(?P<variant>\w+))?\.safetensors")
    index = re.compile(rf"{stem}\.safetensors\.index(?:\.(?P<variant>\w+))?\.json")
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if match := whole.fullmatch(file.name):
            found.setdefault(match["variant"] or "", []).append(file)
        elif match := index.fullmatch(file.name):
            found.setdefault(match["variant"] or "", []).extend(shards(file))
    if not found:
        raise UserError(f"There are no weights in {folder}: safetensors files are needed, and no others are read.")
    chosen = [variant for variant in LIKED if variant in found] or sorted(found)
    if chosen[0] not in LIKED and len(chosen) > 1:
        raise UserError(f"The folder {folder} has the weights of {' and '.join(chosen)}: keep those that are meant.")
    return chosen[0], found[chosen[0]]


def shards(index: Path) -> list[Path]:
    """The files that an index names. Raises UserError where one of them is not there, or it names none."""
    found = read_json(index, "fetch the folder again").get("weight_map")
    names = list(found.values()) if isinstance(found, dict) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"The file {index} does not say which files have the weights: fetch it again.")
    files = sorted({index.parent / name for name in names})
    if missing := [file.name for file in files if not file.is_file()]:
        raise UserError(f"The weights in {index.parent} lack {missing[0]}, which {index.name} names: fetch it.")
    return files


def refuse_parts(folder: Path, info: dict[str, Any]) -> None:
    """Raise UserError where weights were loaded in part, by what diffusers' or transformers' loading info says."""
    if said := amiss(info):
        raise UserError(
            f"The weights in {folder} are not all of this model's: they {said}; "
            "fetch them again, or merge an adapter into them."
        )


def amiss(info: dict[str, Any]) -> str:
    """What tensors a file and a model do not share, as words that follow "they"; "" where they share all. Missing ones
    would be random; those that a model does not know are of another one, or of adapters."""
    faults = {
        "lack": [key for key in info["missing_keys"] if not key.endswith(BUFFER)],
        "hold, in another shape,": [key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]],
        "hold what the model does not know:": [key for key in info["unexpected_keys"] if not key.endswith(UNUSED)],
    }
    return ", and they ".join(f"{fault} {counted(keys)}" for fault, keys in faults.items() if keys)


def compared(model: Mapping[str, Tensor], file: Mapping[str, Tensor]) -> dict[str, Any]:
    """Loading info of a state dict that no library loads."""
    common = set(model) & set(file)
    return {
        "missing_keys": set(model) - common,
        "unexpected_keys": set(file) - common,
        "mismatched_keys": {key for key in common if model[key].shape != file[key].shape},
    }


def counted(keys: Iterable[str]) -> str:
    """The first of some names, and how many more there are."""
    first, *others = sorted(keys)
    return first + (f" and {len(others)} more" if others else "")


@contextmanager
def without_marks(folder: Path) -> Iterator[Path]:
    """The folder for as long as it is read, or one of links to its files, where the mark of byte order stands before a
    text: diffusers and transformers refuse it."""
    marked = [file for file in folder.iterdir() if is_read(file) and file.read_bytes().startswith(MARK)]
    if not marked:
        yield folder
        return
    with TemporaryDirectory() as aside:
        for file in folder.iterdir():
            if file in marked:
                (Path(aside) / file.name).write_text(read_text(file), "utf-8")
            else:
                (Path(aside) / file.name).symlink_to(file.resolve())
        yield Path(aside)


def refuse_lost_words(folder: Path) -> None:
    """Raise UserError where a tokenizer has no words: transformers would make one that takes all texts for the same."""
    if (folder / "tokenizer.json").is_file():
        return
    if missing := [name for name in ("vocab.json", "merges.txt") if not (folder / name).is_file()]:
        raise UserError(f"The tokenizer in {folder} has no words: it lacks {' and '.join(missing)}; fetch it again.")


def refuse_other_words(folder: Path, tokenizer: Any, size: int) -> None:
    """Raise UserError where a tokenizer of CLIP's kind takes unlike letters for the same, has not as many words as its
    text encoder, or cannot put its own words together."""
    letters = list(string.ascii_lowercase)
    if len({tuple(ids) for ids in tokenizer(letters).input_ids}) < len(letters):
        raise UserError(f"The tokenizer in {folder} takes unlike texts for the same: fetch the folder again.")
    if len(tokenizer) != size:
        raise UserError(
            f"The tokenizer in {folder} is another model's: it has {len(tokenizer)} words, the text encoder {size}."
        )
    words = [w.removesuffix("</w>") for w in tokenizer.get_vocab() if w.endswith("</w>")]
    word = max((w for w in words if w.isascii() and w.isalpha()), key=len, default="")
    if len(tokenizer(word, add_special_tokens=False).input_ids) > 1:
        raise UserError(f"The tokenizer in {folder} does not know its word {word!r}: its merges are not its words'.")
