"""Fonts for the characters of class names."""

from functools import cache

from matplotlib import font_manager, rcParams
from matplotlib.ft2font import FT2Font

from ..errors import printable

MISSING = "\N{WHITE SQUARE}"  # in place of a character that no font has
PLACEHOLDERS = "Last Resort"  # a font with one placeholder glyph per script


def drawable(text: str) -> str:
    """`text` for matplotlib, whose fonts are extended: control characters are escaped, unknown ones become □."""
    families = rcParams["font.family"]
    shown = ""
    for character in printable(text):
        font = _font_with(character)
        if font and font.name not in families:
            families = rcParams["font.family"] = [*families, font.name]
        shown += character if font else MISSING
    return shown


def font_for(text: str) -> tuple[str, str]:
    """(file, text) for Pillow, which draws a text in one font: the one with most of its characters, □ for the others."""
    text = printable(text)
    candidates = {font.fname: font for font in (_default(), *filter(None, map(_font_with, text)))}
    file = max(candidates, key=lambda file: sum(ord(c) in _code_points(file) for c in text))
    known = _code_points(file)
    return file, "".join(c if ord(c) in known else MISSING if ord(MISSING) in known else "?" for c in text)


def _default() -> font_manager.FontEntry:
    """DejaVu Sans, which comes with matplotlib."""
    return next(font for font in _upright_fonts() if font.name == "DejaVu Sans")


@cache
def _upright_fonts() -> list[font_manager.FontEntry]:
    """The installed upright fonts, regular weights first."""
    fonts = [font for font in font_manager.fontManager.ttflist if font.style == "normal"]
    return sorted(fonts, key=lambda font: (abs(_weight(font) - 400), font.name))


@cache
def _font_with(character: str) -> font_manager.FontEntry | None:
    """The first installed font with a glyph for it, preferably the default one."""
    for font in (_default(), *_upright_fonts()):
        if PLACEHOLDERS not in font.name and ord(character) in _code_points(font.fname):
            return font
    return None


def _weight(font: font_manager.FontEntry) -> int:
    return font_manager.weight_dict.get(font.weight, 400) if isinstance(font.weight, str) else int(font.weight)


@cache
def _code_points(file: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(file).get_charmap())
    except RuntimeError:  # not a font that FreeType can read
        return frozenset()
