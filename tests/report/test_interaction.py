"""What a reader does with the page: values over the markers of its charts, tables sorted by a click."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from fabricated_runs import fabricate, write_page

from common.report import charts
from common.report.svg import make_style

# As much of a browser as the script uses: one table, whose columns are sorted by clicks
BROWSER = """
const rows = ROWS.map((texts) => ({ cells: texts.map((textContent) => ({ textContent })) }))
const body = { rows, append(...sorted) { this.rows = sorted } }
const head = (cellIndex) => ({
  cellIndex, attributes: {}, listeners: {},
  closest: () => table,
  getAttribute(name) { return this.attributes[name] ?? null },
  setAttribute(name, value) { this.attributes[name] = value },
  removeAttribute(name) { delete this.attributes[name] },
  addEventListener(name, listener) { this.listeners[name] = listener },
})
const heads = [0, 1].map(head)
const table = { tBodies: [body], querySelectorAll: () => heads }
globalThis.addEventListener = () => {}
globalThis.document = { querySelectorAll: (selector) => (selector === "thead th" ? heads : []) }
SCRIPT
const names = () => body.rows.map((row) => row.cells[0].textContent)
const seen = []
for (const column of [1, 1, 0]) { heads[column].listeners.click(); seen.push([names(), heads.map((h) => h.attributes["aria-sort"] ?? "")]) }
heads[0].listeners.keydown({ key: "Enter" }); seen.push([names(), []])
console.log(JSON.stringify(seen))
"""


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_a_click_sorts_a_table(tmp_path: Path) -> None:
    """By the number that a cell begins with, else by its text; empty cells stay last; again in the other direction."""
    fabricate(tmp_path / "runs" / "a", "dtd", "resnet50", 0, 0.9)
    (script,) = re.findall(r"<script>(.*?)</script>", write_page(tmp_path / "runs"), re.S)
    rows = [["swin", "1,200"], ["resnet", "97.3 [96, 98]"], ["vgg", ""], ["alexnet", "-3.5"]]
    program = BROWSER.replace("ROWS", json.dumps(rows)).replace("SCRIPT", script)
    run = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    up, down, by_name, back = json.loads(run.stdout)
    assert up == [["alexnet", "resnet", "swin", "vgg"], ["", "ascending"]]
    assert down == [["swin", "resnet", "alexnet", "vgg"], ["", "descending"]]
    assert by_name == [["alexnet", "resnet", "swin", "vgg"], ["ascending", ""]]
    assert back[0] == ["vgg", "swin", "resnet", "alexnet"]


def titles(svg: str) -> list[str]:
    return [unescape(found) for found in re.findall(r"<use [^>]*><title>(.*?)</title></use>", svg)]


def test_markers_have_their_values() -> None:
    names = ("a <b>", "swin")
    style = make_style(names)
    curves = {"a <b>": [(1, 50.0), (2, 61.25)], "swin": [(1, 40.0)]}
    svg = charts.curves(curves, style, charts.Labels("epoch", "top1", "Curves"))
    assert titles(svg) == ["a <b>: 1, 50.00", "a <b>: 2, 61.25", "swin: 1, 40.00"] and "tooltips-" not in svg
    points = {"a <b>": (1500.0, 90.0, (89.0, 91.0)), "swin": (200.0, 80.0, None)}
    svg = charts.pareto(points, ("swin",), style, charts.Labels("MACs", "top1", "Costs"), more_is_better=False)
    assert titles(svg) == ["a <b>: 1,500, 90.00 %", "swin: 200, 80.00 %"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(tmp_path: Path, browser, scheme: str) -> None:
    """No console error, no horizontal scrolling at 400 pixels, dark when the system is; a click sorts."""
    for backbone, accuracy in (("resnet50", 0.97), ("swin_t", 0.6)):
        fabricate(tmp_path / "runs" / backbone, "dtd", backbone, 0, accuracy)
    write_page(tmp_path / "runs")
    page, problems = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme), []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((tmp_path / "out" / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(value) for value in paper[4:-1].split(",")) / 3
    assert (brightness > 128) == (scheme == "light")
    assert page.locator("svg:not([aria-hidden]):not([aria-label])").count() == 0
    table = page.locator("table", has_text="Every class, resnet50").first
    before = table.locator("tbody th").all_inner_texts()
    head = table.locator("thead th", has_text="recall")
    head.click()
    values = [float(text.split()[0]) for text in table.locator("tbody tr td:nth-child(4)").all_inner_texts()]
    assert values == sorted(values) and head.get_attribute("aria-sort") == "ascending"
    assert sorted(before) == sorted(table.locator("tbody th").all_inner_texts())
    assert not problems
