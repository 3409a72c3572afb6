"""The Dockerfile, by the rules of hadolint that apply to it: no Docker daemon is needed."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def instructions() -> list[tuple[str, str]]:
    """(name, arguments) in order; continued lines joined, comments dropped."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in lines)]


def test_it_is_short_and_valid() -> None:
    found = instructions()
    assert len((ROOT / "Dockerfile").read_text("utf-8").splitlines()) <= 10
    assert found[0][0] == "FROM"
    assert {name for name, _ in found} <= {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "ENTRYPOINT", "CMD"}
    for name, arguments in found:
        if name in ("ENTRYPOINT", "CMD"):  # DL3025: the JSON form passes signals on
            assert all(isinstance(word, str) for word in json.loads(arguments))
        if name == "WORKDIR":  # DL3000
            assert arguments.startswith("/")


def test_the_base_has_a_tag_that_the_project_supports() -> None:
    (base,) = [arguments for name, arguments in instructions() if name == "FROM"]
    minor = int(re.fullmatch(r"python:3\.(\d+)-slim", base)[1])  # DL3006, DL3007: a tag, not latest
    assert minor >= int(re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())[1])


def test_packages_are_those_of_the_project() -> None:
    (run,) = [arguments for name, arguments in instructions() if name == "RUN"]
    commands = run.split(" && ")
    assert all(command.startswith("pip install --no-cache-dir ") for command in commands)  # DL3042
    required = (ROOT / "requirements.txt").read_text()
    for package in re.findall(r'"([^"]+)"', commands[0]):  # DL3013: a version
        assert f"\n{package}\n" in required
    assert commands[-1].endswith("--requirement requirements.txt")


def test_what_it_copies_and_runs_is_there() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "**", "neither .git nor .venv, data or runs go into the image"
    for name in ("requirements.txt", "common"):
        assert f"!{name}" in ignored and (ROOT / name).exists()
    (command,) = [json.loads(arguments) for name, arguments in instructions() if name == "CMD"]
    assert (ROOT / command[0]).is_file() and "!*.py" in ignored
