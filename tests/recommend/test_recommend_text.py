"""The advice: what is cheaper, as far as costs were measured."""

import json
from pathlib import Path

from common.models.names import short_names, shorten
from common.recommend import advice_text, finalists, finals_text, table_text, text
from common.recommend.finetuned_order import format_prediction

ROW = {
    "weights": "imagenet", "interval": (0.8, 0.9), "p_best": 0.5, "p_best_finetuned": 0.5, "behind_error": 0.0051,
    "behind_interval": (-0.01, 0.01),
}  # fmt: skip


def advice(*rows: dict) -> str:
    return advice_text.format_advice({"metric": "top1", "images": 100, "backbones": [ROW | row for row in rows]})


def test_only_measured_backbones_are_called_cheaper() -> None:
    def advise(*seconds: float | None, losses: tuple[float, ...] = (0.01, 0.014, 0.1)) -> str:
        return advice(*(
            {
                "backbone": name, "score": score, "behind": 0.85 - score, "tied": name != "c", "equivalent": False,
                "training_seconds": time, "macs": 10**9 * (3 - place), "regret_finetuned": loss,
            }
            for place, (name, score, time, loss) in enumerate(zip("abc", (0.85, 0.84, 0.7), seconds, losses, strict=True))
        ))  # fmt: skip

    expected = "cheaper, at an expected loss after fine-tuning of 1.4 points instead of 1.0 points: b (about 10 s to train instead of 60 s)"
    assert expected in advise(60, 10, 5)
    nothing = "nothing cheaper is within half a point of its expected loss"
    assert nothing in advise(60, 59, 5) and nothing in advise(60, 10, 5, losses=(0.01, 0.02, 0.1))
    assert "not measured" in advise(None, 10, 5) and "instead of" not in advise(None, 10, 5)
    for seconds in ((60, None, None), (None, None, None)):
        assert "whether something cheaper is as good was not measured" in advise(*seconds)


def test_the_cheapest_of_a_low_expected_loss_is_advised() -> None:
    """No significant difference does not mean equal."""

    def advise(*seconds: float | None, losses: tuple[float, float] = (0.01, 0.014)) -> str:
        return advice(*(
            {
                "backbone": name, "score": 0.85, "behind": 0.01 * (name == "b"), "tied": name != "a", "equivalent": False,
                "training_seconds": time, "macs": macs * 10**9, "regret_finetuned": loss,
            }
            for name, time, macs, loss in zip("ab", seconds, (4, 1), losses, strict=True)
        ))  # fmt: skip

    printed = advise(60, 50)
    assert "The 2 are not distinguishable on 100 images" in printed and "equal" not in printed
    assert "take b (about 50 s to train), the cheapest within half a point of the lowest expected loss" in printed
    assert "(1.4 points, P(best) 0.50; the lowest is 1.0 points, of a)" in printed
    assert "if their difference is as large as seen, about 200 images would separate a and b" in printed
    assert "take a (about 60 s to train), the cheapest" in advise(60, 50, losses=(0.01, 0.016))
    assert "take b (1.00 GMACs, training not measured), the one with the fewest multiply-adds" in advise(50, None)


def test_the_advice_is_that_of_fine_tuning() -> None:
    """The lowest expected loss, whatever the probe's P(best); the line after it names the same network."""
    numbers = zip("abc", (0.90, 0.88, 0.6), (0.83, 0.17, 0.0), (0.37, 0.60, 0.03), (0.012, 0.004, 0.1), strict=True)
    rows = [
        ROW | {
            "backbone": name, "score": score, "behind": 0.9 - score, "tied": name != "c", "equivalent": False, "p_best": probe,
            "p_best_finetuned": p, "regret_finetuned": loss, "error_finetuned": 0.01, "training_seconds": 60, "macs": 1,
            "imagenet_top1": 0.7,
        }
        for name, score, probe, p, loss in numbers
    ]  # fmt: skip
    printed = advice(*rows)
    assert printed.startswith(
        "Take b: after fine-tuning an expected loss of 0.4 points against the best, P(best) 0.60; "
    )
    assert "2.0 points [-1.0, 1.0] behind that of a" in printed and "0.83" not in printed and "0.17" not in printed
    assert "P(best): b 0.60, a 0.37, c 0.03; expected loss of b against the best 0.4 points" in format_prediction(rows)
    swapped = [rows[0] | {"regret_finetuned": 0.001}, *rows[1:]]
    assert "2.0 points [-1.0, 1.0] ahead of that of b" in advice(*swapped)
    assert "P(best) of the probe 0.17" in table_text.format_dropped(
        rows[1] | {"name": "b", "images": 9, "needed_seconds": 1}, "top1"
    )


def test_one_candidate_is_not_compared() -> None:
    one = advice({"backbone": "a", "score": 0.85})
    assert one == "Only one backbone, a: there is nothing to compare it with."


def test_weights_files_are_shown_by_name() -> None:
    names = ["a", "b=runs/x/best.safetensors", "b=runs/y/best.safetensors"]
    short = short_names(names)
    assert short == {names[1]: "b=x/best.safetensors", names[2]: "b=y/best.safetensors"}
    assert short_names([names[1]]) == {names[1]: "b=best.safetensors"} and short_names(["a"]) == {}
    answer = {"backbones": [{"backbone": name} for name in names], "runs": {names[1]: "runs/1"}}
    shown = {"backbones": [{"backbone": short.get(n, n)} for n in names], "runs": {short[names[1]]: "runs/1"}}
    assert text.rename(answer, short) == shown
    assert shorten(f"take {names[1]}", short) == "take b=x/best.safetensors"


def test_latencies_where_they_are_measured(tmp_path: Path) -> None:
    """`bench --serve` writes them into run folders; the fastest engine counts."""
    engine = dict.fromkeys(("threads", "p95_ms", "images_per_second", "file_bytes"), 1)
    engines = [{"engine": name, "p50_ms": p50, **engine} for name, p50 in (("PyTorch", 9.0), ("ONNX", 3.25))]
    measured = {"engines": engines, "int8": None, "device": "CPU"}
    (tmp_path / "serve.json").write_text(json.dumps(measured))
    latency = {"a": finalists._latency(tmp_path), "b": finalists._latency(tmp_path / "none")}
    rows = [
        {
            "name": name,
            "score": 0.9,
            "interval": (0.8, 1.0),
            "p_best": 0.5,
            "tied": name == "b",
            "equivalent": False,
            "regret": loss,
        }
        for name, loss in (("a", 0.003), ("b", 0.012))
    ]
    runs, rates = {"a": "runs/a", "b": "runs/b"}, dict.fromkeys("ab", "rate searched")
    finals = {"metric": "top1", "test_images": 20, "backbones": rows, "runs": runs, "rates": rates}
    printed = finals_text.format_finals({**finals, "latency_ms": latency})
    assert "one seed each; every learning rate searched alike." in printed
    other = finals_text.format_finals(finals | {"latency_ms": latency, "rates": rates | {"b": "rate not measured"}})
    assert "one seed each; a: rate searched, b: rate not measured." in other
    assert "a is not distinguishable from b" in printed and "in points: a 0.3, b 1.2." in printed
    first, second = printed.split("\n")[1:3]
    assert first.endswith("P(best) 0.50, serves an image in 3.2 ms -> runs/a") and second.endswith("0.50 -> runs/b")
