"""Text in CSV files, written so that no spreadsheet takes it for a formula.

A cell that begins with = + - @, a tab or a carriage return, possibly after apostrophes, gets an apostrophe in front (OWASP, "CSV
Injection"); `unescape` removes exactly that one. Numbers are written as they are.
"""

import re

FORMULA = re.compile(r"'*[=+\-@\t\r]")


def escape(text: str) -> str:
    return f"'{text}" if FORMULA.match(text) else text


def unescape(cell: str) -> str:
    """The text of a cell; that of files without `escape` is left as it is."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell
