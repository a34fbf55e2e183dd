"""Lists of prompts in files, as people have them: a text a line, JSON, or CSV.

.txt    a text a line; empty lines count for nothing
.json   ["text", ...], [{"prompt": "text"}, ...], or one object with such a list: {"prompts": [...]}
.csv    a column `prompt`, `text` or `caption`; of a file with one column, each line
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path
from typing import Any

from errors import UserError, first_line
from files import read_text

KINDS = (".txt", ".json", ".csv")
FIELDS = ("prompt", "text", "caption")  # of an object, or a column
FORMS = "give a text a line, a list in JSON, or a CSV with a column prompt"
LARGEST = 16 << 20  # bytes of a list: more is no list of prompts
MARKS = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"})


def normal(text: str) -> str:
    """A text as it is compared: lower case, plain quotation marks and dashes, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(MARKS).casefold().split())


def is_list(request: str) -> bool:
    """Whether a request names a file of prompts."""
    return Path(request).suffix.lower() in KINDS


def texts_of(path: Path) -> list[str]:
    """The texts of a file, in order, with those that it has twice: a place in it may be a number elsewhere.

    Raises UserError where it is not there, cannot be read, or has none."""
    read = {".txt": _lines, ".json": _from_json, ".csv": _from_csv}[path.suffix.lower()]
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"The file {path} is no list of prompts: it has more than {LARGEST >> 20} MB.")
        texts = [" ".join(text.split()) for text in read(read_text(path))]
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}: name a list of prompts, {', '.join(KINDS)}.") from error
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise UserError(
            f"The prompts in {path} cannot be read ({first_line(error)}): give a text a line, a list in JSON, or a CSV "
            "with a column prompt."
        ) from error
    if not all(texts) or not texts:
        raise UserError(f"The file {path} has {'an empty prompt' if texts else 'no prompts'}: give it a text each.")
    return texts


def _lines(content: str) -> list[str]:
    return [line for line in content.splitlines() if line.strip()]


def _from_json(content: str) -> list[str]:
    held = json.loads(content)
    if isinstance(held, dict):
        lists = [value for value in held.values() if isinstance(value, list)]
        held = held.get("prompts", lists[0] if len(lists) == 1 else None)
    if not isinstance(held, list):
        raise ValueError('no list, nor an object with the list "prompts"')
    return [_text(item) for item in held]


def _text(item: Any) -> str:
    text = next((item[key] for key in FIELDS if key in item), None) if isinstance(item, dict) else item
    if not isinstance(text, str):
        raise ValueError(f"{str(item)[:40]!r} is no text, nor an object with one of {', '.join(FIELDS)}")
    return text


def _from_csv(content: str) -> list[str]:
    rows = [row for row in csv.reader(io.StringIO(content), strict=True) if any(cell.strip() for cell in row)]
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    column = next((head.index(name) for name in FIELDS if name in head), None)
    if column is not None:
        if short := next((k for k, row in enumerate(rows, 1) if len(row) <= column), None):
            raise ValueError(f"row {short} has no {head[column]}")
        return [row[column] for row in rows[1:]]
    if any(len(row) > 1 for row in rows):
        raise ValueError(f"no column {', '.join(FIELDS)}")
    return [row[0] for row in rows]
