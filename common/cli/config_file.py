"""Options in a YAML or TOML file, under their command-line names."""

import argparse
from difflib import get_close_matches
from os.path import expanduser, expandvars
from pathlib import Path
from typing import Any

from ..errors import UserError

NOT_IN_FILES = ("out", "resume", "config", "download", "help")  # of one invocation, not of a run


def read_argv(path: Path, parser: argparse.ArgumentParser) -> list[str]:
    """The options of a file as command-line arguments, for `parser` to check like any others.

    `~` and `$VAR` are expanded in paths, as a shell does on the command line.

    Raises:
        UserError: the file is missing, is neither YAML nor TOML, or names an unknown option.
    """
    known = _actions(parser)
    argv: list[str] = []
    for name, value in _read(path).items():
        if name not in known:
            close = get_close_matches(str(name), known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
            raise UserError(f"{path}: unknown option {name!r}: {hint}")
        option = known[name].option_strings[-1]
        if known[name].nargs == 0:  # a flag
            if not isinstance(value, bool):
                raise UserError(f"{path}: {name} is {value!r}: expected true or false")
            argv += [option] * value
        elif isinstance(known[name].nargs, int):
            if not isinstance(value, list | tuple):
                raise UserError(f"{path}: {name} is {value!r}: expected a list of {known[name].nargs} values")
            argv += [option, *map(str, value)]
        elif isinstance(value, bool | list | dict) or value is None:
            raise UserError(f"{path}: {name} is {value!r}: expected one value")
        else:
            is_path = known[name].type is Path or name == "weights"
            argv.append(f"{option}={expandvars(expanduser(str(value))) if is_path else value}")
    return argv


def to_dict(options: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The options of a run as in such a file, with absolute paths."""
    content: dict[str, Any] = {}
    for name in _actions(parser):
        value = getattr(options, name)
        if value is None or value is False:
            continue
        if name == "image_size":
            value = "x".join(map(str, value))
        elif isinstance(value, tuple):
            value = list(value)  # YAML has no tuples
        elif isinstance(value, Path) or (name == "weights" and value not in ("imagenet", "none")):
            value = str(Path(value).absolute())
        content[name] = value
    return content


def to_argv(options: argparse.Namespace, parser: argparse.ArgumentParser) -> list[str]:
    """The shortest command-line arguments that give these options, with absolute paths."""
    defaults = to_dict(parser.parse_args([]), parser)
    argv: list[str] = []
    for name, value in to_dict(options, parser).items():
        if value != defaults.get(name):
            option = _actions(parser)[name].option_strings[-1]
            values = value if isinstance(value, list) else [] if value is True else [value]
            argv += [option, *map(str, values)]
    return argv


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {action.dest: action for action in parser._actions if action.dest not in NOT_IN_FILES}


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
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"{path} is not valid YAML{line}: expected lines such as batch_size: 64") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} contains no options: expected lines such as batch_size: 64")
    return content
