"""Options in a file: the command line's own, under their own names, in YAML or TOML."""

import argparse
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import UserError

HERE = ("out", "resume", "config", "download", "help")  # of one start of a program, not of a run


def words(path: Path, parser: argparse.ArgumentParser) -> list[str]:
    """The file's options as words of the command line, which `parser` then checks as it checks all.

    Raises:
        UserError: no such file, neither YAML nor TOML, or an option that there is not.
    """
    known = _known(parser)
    found: list[str] = []
    for name, value in _read(path).items():
        if name not in known:
            close = get_close_matches(str(name), known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise UserError(f"{path}: unknown option {name!r}: {hint}")
        option = known[name].option_strings[-1]
        if known[name].nargs == 0:  # a switch
            if not isinstance(value, bool):
                raise UserError(f"{path}: {name} is {value!r}: expected true or false")
            found += [option] * value
        elif isinstance(value, bool | list | dict) or value is None:
            raise UserError(f"{path}: {name} is {value!r}: expected one value")
        else:
            found.append(f"{option}={value}")
    return found


def told(options: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The options of a run as such a file holds them; paths are absolute, so that they hold everywhere."""
    found: dict[str, Any] = {}
    for name in _known(parser):
        value = getattr(options, name)
        if value is None or value is False:
            continue
        if name == "image_size":
            value = "x".join(map(str, value))
        elif isinstance(value, Path) or (name == "weights" and value not in ("imagenet", "none")):
            value = str(Path(value).absolute())
        found[name] = value
    return found


def command(options: argparse.Namespace, parser: argparse.ArgumentParser) -> list[str]:
    """The options of a run as words of the command line, as few as say all; paths are absolute."""
    plain = told(parser.parse_args([]), parser)
    found: list[str] = []
    for name, value in told(options, parser).items():
        if value != plain.get(name):
            option = _known(parser)[name].option_strings[-1]
            found += [option] if value is True else [option, str(value)]
    return found


def _known(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {action.dest: action for action in parser._actions if action.dest not in HERE}


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".toml":
            import tomllib

            return tomllib.loads(text)
        import yaml

        content = yaml.safe_load(text)
    except (OSError, ValueError) as error:  # tomllib's and Unicode's errors are ValueErrors
        raise UserError(f"cannot read options from {path}: {error}") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise UserError(f"{path} is not valid YAML{line}: expected lines such as batch_size: 64") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no options: expected lines such as batch_size: 64")
    return content
