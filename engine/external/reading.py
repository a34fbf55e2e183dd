"""From a TOML file to a Spec: whom it extends, which types its entries have, and whether they go together."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

from engine.external.spec import GIVEN, LAYOUTS, ORBIT, Log, Renders, Spec, asked
from errors import UserError, first_line
from files import read_text
from names import RECIPES, known

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SPECS = Path(__file__).parent / "specs"
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,60}", re.ASCII)
DEPTH = 5  # specs that extend one another, at most


def read(named: str) -> Spec:
    """The spec NAME of specs/, NAME=FOLDER where its program lies, or FILE.toml. Raises UserError, which says what is
    wrong with it, before anything is started."""
    name, _, folder = named.partition("=")
    file = _file(name, Path.cwd(), shipped())
    told = _entries(file, 0)
    if folder:
        told["folder"] = str(Path(folder).expanduser().absolute())
    return _checked(told, file)


def shipped() -> dict[str, str]:
    """The specs of specs/ that are an engine, by name, with what each is."""
    found = {file.stem: _toml(file) for file in sorted(SPECS.glob("*.toml"))}
    return {name: str(told["about"]) for name, told in found.items() if "about" in told}


def _file(name: str, beside: Path, engines: Iterable[str]) -> Path:
    if not name.endswith(".toml"):
        return SPECS / f"{known('external engine', name, engines)}.toml"
    file = beside / Path(name).expanduser()
    if not file.is_file():
        raise UserError(f"There is no spec {file}: name a TOML file, or one of {', '.join(shipped())}.")
    return file.absolute()


def _entries(file: Path, depth: int) -> dict[str, Any]:
    """What a spec says, over what those say that it extends, with its folder absolute."""
    told = _toml(file)
    told.setdefault("name", file.stem)
    if isinstance(told.get("folder"), str):
        told["folder"] = str(file.parent / Path(told["folder"]).expanduser())
    if (extended := told.pop("extends", None)) is None:
        return told
    if not isinstance(extended, str) or depth > DEPTH:
        raise UserError(
            f"The spec {file}: extends takes the name, or the file, of a spec that does not extend this one."
        )
    base = _entries(_file(extended, file.parent, [spec.stem for spec in SPECS.glob("*.toml")]), depth + 1)
    return {**base, **{key: _over(key, base.get(key), value) for key, value in told.items()}}


def _over(key: str, base: Any, value: Any) -> Any:
    """A value over that of the spec extended: tables entry by entry, `arguments` after those before."""
    if isinstance(base, dict) and isinstance(value, dict):
        return {**base, **value}
    return [*base, *value] if key == "arguments" and isinstance(base, list) and isinstance(value, list) else value


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(file))
    except (OSError, ValueError) as error:
        raise UserError(f"The spec {file} cannot be read: {first_line(error)}.") from error


def _checked(told: dict[str, Any], file: Path) -> Spec:
    """The spec of what a file and those it extends say. Raises UserError for what no engine could run with."""

    def wrong(what: str) -> UserError:
        return UserError(f"The spec {file}: {what}.")

    told = dict(told)
    try:
        more = _list("arguments", told.pop("arguments", []))
        tables = {"renders": _table(Renders, told.pop("renders", {})), "log": _table(Log, told.pop("log", {}))}
        made = Spec(file=file, **_values(Spec, told), **tables)
        made = replace(made, command=(*made.command, *more))
        _usable(made)
    except ValueError as error:
        raise wrong(str(error)) from error
    return made


def _table(kind: type[Any], told: Any) -> Any:
    if not isinstance(told, dict):
        raise ValueError(f"{told!r} stands where [{kind.__name__.lower()}] is a table")
    return kind(**_values(kind, told, f"{kind.__name__.lower()}."))


def _values(kind: type[Any], told: dict[str, Any], within: str = "") -> dict[str, Any]:
    """The entries in their types. Raises ValueError for one that is unknown, or of another type."""
    readers = {name: READ[type_] for name, type_ in get_type_hints(kind).items() if type_ in READ}
    for name in told:
        try:
            known("entry", name, readers)
        except UserError as error:
            raise ValueError(
                str(error).replace("There is no entry", f"there is no entry {within or 'named'}").rstrip(".")
            ) from error
    return {name: readers[name](f"{within}{name}", value) for name, value in told.items()}


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{name} takes a text in quotes, not {value!r}")
    return value


def _path(name: str, value: Any) -> Path:
    return Path(_text(name, value))


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ValueError(f"{name} takes a number above 0, not {value!r}")
    return float(value)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} takes a whole number above 0, not {value!r}")
    return value


def _list(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(
            f'{name} takes a list of arguments, such as ["{{python}}", "train.py"], not {value!r}: no shell reads it'
        )
    return tuple(_text(f"an argument of {name}", part) for part in value)


def _texts(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is a table of texts, not {value!r}")
    return {key: _text(f"{name}.{key}", part) for key, part in value.items()}


def _numbers(name: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or any(type(part) not in (int, float) for part in value.values()):
        raise ValueError(f"{name} is a table of numbers, not {value!r}")
    return {key: float(part) for key, part in value.items()}


def _span(name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2 or not 0 <= value[0] < value[1] <= 1:
        raise ValueError(f"{name} takes two shares of the frames, such as [0.0, 0.5], not {value!r}")
    return float(value[0]), float(value[1])


READ: dict[Any, Callable[[str, Any], Any]] = {
    str: _text,
    Path: _path,
    float: _number,
    int: _whole,
    int | None: _whole,
    tuple[str, ...]: _list,
    tuple[float, float]: _span,
    Mapping[str, str]: _texts,
    Mapping[str, float]: _numbers,
}


def _usable(spec: Spec) -> None:
    """Raises ValueError for entries that do not go together."""
    if not NAME.fullmatch(spec.name):
        raise ValueError(f"its name {spec.name!r} cannot be that of a folder: take letters, digits, - and _")
    if spec.name.lower() in {name.lower() for name in RECIPES}:
        raise ValueError(f"its name {spec.name} is that of a method of this benchmark: give it another")
    if not spec.command:
        raise ValueError("it has no command: say how the program is started, as a list")
    _placeholders(spec)
    if not any(spec.asks_for(name) for name in ("prompt",)):
        raise ValueError("no argument has {prompt}: every object would be the same")
    if not spec.asks_for("out"):
        raise ValueError(
            "nothing has {out}, the folder that a job may write to: its renders could not be told from others'"
        )
    _layout(spec)
    for name in ("step", "diverged"):
        _pattern(f"log.{name}", getattr(spec.log, name))


def _placeholders(spec: Spec) -> None:
    """Raises ValueError for one that nobody fills."""
    texts = {f"the argument {part!r}": part for part in spec.command}
    texts |= {f"environment.{name}": part for name, part in spec.environment.items()}
    texts |= {f"files.{name}": part for name, part in spec.files.items()}
    texts |= {"renders.files": spec.renders.files}
    if double := sorted(set(GIVEN) & set(spec.values)):
        raise ValueError(f"values.{double[0]} has the name of what is filled in for every job: give it another")
    for where, text in texts.items():
        try:
            names = asked(text)
        except ValueError as error:
            raise ValueError(f"{where}: {error}; a brace that stands for itself is written twice") from error
        for name, how in names:
            if name not in (*GIVEN, *spec.values):
                nobody = f"{where} has {{{name}}}, which nobody fills in: there are"
                raise ValueError(
                    f"{nobody} {', '.join((*GIVEN, *spec.values))}; a brace that stands for itself is written twice"
                )
            if how not in ("", "quoted", "plain"):
                raise ValueError(f"{where} has {{{name}:{how}}}: after the colon stands quoted or plain")
    for name in spec.files:
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"files.{name} leads out of {{out}}: name a file below it")


def _layout(spec: Spec) -> None:
    renders = spec.renders
    if renders.layout not in LAYOUTS:
        raise ValueError(f"renders.layout is {renders.layout!r}: it is one of {', '.join(LAYOUTS)}")
    if not renders.files and renders.layout != "threestudio":
        raise ValueError(
            'it does not say where renders lie: give renders.files, a pattern below {out} such as "views/*.png"'
        )
    if Path(renders.files).is_absolute() or ".." in Path(renders.files).parts:
        raise ValueError("renders.files leads out of {out}: it is a pattern below that folder")
    if renders.orbit and set(renders.orbit) != set(ORBIT):
        raise ValueError(f"renders.orbit says {', '.join(ORBIT)}, all of them, or is left out")


def _pattern(name: str, text: str) -> None:
    try:
        if text and not re.compile(text).groups:
            raise ValueError(f"{name} has no group (...) around the number")
    except re.error as error:
        raise ValueError(f"{name} is no regular expression: {error}") from error
