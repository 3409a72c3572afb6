"""README.md and docs/: tables are generated, commands parse, links resolve, the example data sheet runs."""

import argparse
import re
import runpy
import shlex
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
}

sys.path.insert(0, str(ROOT))

from benchmarks import readme


def test_tables_are_generated() -> None:
    """`python benchmarks/readme.py` writes them."""
    pages = {page.relative_to(ROOT).as_posix() for page in readme.PAGES}
    assert all(readme.fill(PAGES[name]) == PAGES[name] for name in pages - {"docs/architecture.md"})
    used = Counter(name for page in pages for _, name, _ in readme.MARKED.findall(PAGES[page]))
    assert used == dict.fromkeys(readme.TABLES, 1), "every table stands on one page"


def test_the_tree_lists_all_files() -> None:
    """Names only: the remarks are the docstrings of the last time that it was generated."""
    (block,) = re.findall(r"<!-- tree -->\n```\n(.*?)```", PAGES["docs/architecture.md"], re.S)
    names = [[line.split()[0] for line in text.splitlines()] for text in (block, readme.tree().strip("`\n"))]
    assert names[0] == names[1], "python benchmarks/readme.py"


def test_one_run_names_files_that_exist() -> None:
    steps = re.findall(r"^\d+\. \[(\S+)\]", PAGES["docs/architecture.md"], re.M)
    assert 5 <= len(steps) <= 9 and len(set(steps)) == len(steps)
    assert all((ROOT / step).is_file() for step in steps)


def test_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 250


def test_readme_counts() -> None:
    from common.cli import catalog
    from common.models.registry import CIFAR

    scripts = {sheet.script for sheet in catalog.datasets() if sheet.counts is not None}
    assert f"**{len(scripts)} datasets as scripts**" in PAGES["README.md"]
    assert f"{len(CIFAR)} CIFAR networks from scratch" in PAGES["README.md"]


@pytest.mark.parametrize("page", sorted(PAGES))
def test_links_resolve(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, target


def test_diffs_fit_the_code() -> None:
    """Context and removed lines of the diffs in CONTRIBUTING.md are in the files they change."""
    diffs = re.findall(r"```diff\n--- a/(\S+)\n\+\+\+ b/\S+\n(.*?)```", PAGES["CONTRIBUTING.md"], re.S)
    assert len(diffs) >= 4
    for file, diff in diffs:
        lines = (ROOT / file).read_text("utf-8").splitlines()
        expected = [line[1:] for line in diff.splitlines() if line[:1] in (" ", "-")]
        assert [line for line in expected if line and line not in lines] == [], file


def test_the_example_reader(tmp_path: Path) -> None:
    from miniatures import save

    from common.errors import UserError

    (source,) = re.findall(r"```python\n(\"\"\"Images named.*?)```", PAGES["CONTRIBUTING.md"], re.S)
    space = {"__name__": "common.data.readers.example", "__package__": "common.data.readers"}
    exec(source, space)
    save(tmp_path / "images" / "dung_0001.jpg", 0, 0)
    save(tmp_path / "images" / "ground_beetle_0002.jpg", 1, 1)
    samples = space["prefixed_images"](tmp_path, ("dung", "ground_beetle"))
    assert (samples.names, samples.labels) == (["images/dung_0001.jpg", "images/ground_beetle_0002.jpg"], [0, 1])
    with pytest.raises(UserError, match="found 'ground_beetle'"):
        space["prefixed_images"](tmp_path, ("dung", "leaf"))


class ParsedError(Exception):
    """The command line parses; its command is not executed."""


def parse_only(self: argparse.ArgumentParser, argv: list[str] | None = None, *_: object) -> None:
    _, unknown = self.parse_known_args(argv)
    assert not unknown
    raise ParsedError


def parse_command(command: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Parse a command line and return its name.

    Raises:
        AssertionError, SystemExit: it has an unknown program, command or option.
    """
    from common.__main__ import main
    from common.cli import catalog
    from common.cli.commands import sweep
    from common.cli.options import build_parser

    sheets = {s.script: [v for v in catalog.datasets() if v.script == s.script] for s in catalog.datasets()}
    program, *words = command
    if program in ("git", "cd") or [program, *words] == "python3 -m venv .venv".split():
        return program
    if program == "docker":
        if words[0] == "build" or words[-1] == "clash":
            return program
        words = [Path(words[words.index("clash") + 1]).name, *words[words.index("clash") + 2 :]]
    if program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.M)
        return "make"
    if program in (".venv/bin/pip", ".venv/bin/ray"):
        assert words[0] in ("install", "start")
        return program.rpartition("/")[2]
    if program in ("accelerate", "torchrun"):
        words = words[next(i for i, word in enumerate(words) if word.endswith(".py")) :]
    else:
        assert program in (".venv/bin/python", "docker"), program
    if words[:2] == ["-m", "pytest"]:
        return "pytest"
    if words[0].startswith("benchmarks/"):
        assert (ROOT / words[0]).exists()
        return "benchmarks"
    script = words[0].removesuffix(".py")
    if script in sheets:
        build_parser(*sheets[script]).parse_args(words[1:])
        return "script"
    if words[:3] == ["-m", "common", "sweep"]:
        _, rest = sweep._parser().parse_known_args(words[3:])
        build_parser(*sheets["eurosat"]).parse_args(rest)
        return "sweep"
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(ParsedError):
        if script == "split":
            runpy.run_path("split.py", run_name="__main__")
        else:
            assert words[:2] == ["-m", "common"], words
            main(words[2:])
    return "split" if script == "split" else words[2]


def test_every_command_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    parsed: Counter[str] = Counter()
    blocks = [block for page in PAGES.values() for block in re.findall(r"```bash\n(.*?)```", page, re.S)]
    for line in "\n".join(blocks).splitlines():
        for command in re.split(r" && ", line):
            if words := shlex.split(command, comments=True):
                with monkeypatch.context() as patch:
                    parsed[parse_command(words, patch)] += 1
    assert parsed["script"] >= 10
    commands = {path.stem for path in (ROOT / "common" / "cli" / "commands").glob("[a-z]*.py")}
    assert parsed.keys() >= commands | {"split", "make"}, commands - parsed.keys()


def test_the_example_data_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, class_tree) -> None:
    """The data sheet in docs/datasets.md trains on class folders, with the counts of the miniature."""
    (source,) = re.findall(r"```python\n(\"\"\"My beetles.*?)```", PAGES["docs/datasets.md"], re.S)
    space = {"__name__": "beetles"}
    exec(source.replace('"train": 960, "test": 240', '"train": 32, "test": 8'), space)
    images = class_tree(("dung", "ground", "leaf", "stag"))
    monkeypatch.chdir(tmp_path)
    options = "-model timm:test_resnet --weights none --image_size 32 -bs 8 --epochs 1 --out out".split()
    space["main"](space["DATASET"], [*options, "--data_dir", str(images)])
    assert (tmp_path / "out" / "result.json").exists()
