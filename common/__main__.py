"""Commands beside the data sheets: python -m common COMMAND. Each is a file in cli/commands/ with a `main(argv)`."""

import argparse
import sys
from importlib import import_module

from .errors import Parser

COMMANDS = (
    "list", "fetch", "check", "predict", "export", "demo", "bench", "table", "report", "recommend", "validate_recommend", "sweep", "status",
)  # fmt: skip


def main(argv: list[str]) -> None:
    commands = {name: import_module(f".cli.commands.{name}", __package__) for name in COMMANDS}
    listing = "\n".join(f"  {name:18} {command.__doc__}" for name, command in commands.items())
    parser = Parser(
        prog="python -m common", epilog=f"commands:\n{listing}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help="see COMMAND --help")
    options = parser.parse_args(argv)
    commands[options.command].main(options.options)


if __name__ == "__main__":
    main(sys.argv[1:])
