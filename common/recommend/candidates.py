"""The backbones whose ImageNet weights are on this machine, or can be downloaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import Request, urlopen

from ..errors import UserError
from ..models import weights
from ..models.registry import BACKBONES, MODERN, Backbone

TIMEOUT = 5.0  # seconds


@dataclass(kw_only=True)
class Candidates:
    usable: list[Backbone] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # {backbone: "URL -> PATH"}, not downloadable now
    invalid: dict[str, str] = field(default_factory=dict)  # {backbone: another reason}
    added: list[str] = field(default_factory=list)  # names in `usable` that replace missing ones


def find(rows: Sequence[Backbone] | None, offline: bool) -> Candidates:
    """The usable ones among the backbones; None: among the default ones, plus packaged ones if any is missing.

    Unless `offline`, one request per host checks the network.
    """
    candidates = Candidates()
    for row in BACKBONES if rows is None else rows:
        try:
            url, path = _missing_file(row)
        except UserError as error:
            candidates.invalid[row.name] = str(error)
            continue
        if url and (offline or not is_online(urljoin(url, "/"))):
            candidates.missing[row.name] = f"{url} -> {path}"
        else:
            candidates.usable.append(row)
    if candidates.missing and rows is None:
        packaged = find([row for row in MODERN if row.weights.startswith("pip:")], offline).usable
        candidates.usable += packaged
        candidates.added += [row.name for row in packaged]
    return candidates


def format_candidates(candidates: Candidates, offline: bool, random_missing: bool, details: bool) -> list[str]:
    """The missing weights, and what is used instead."""
    missing, added = candidates.missing, candidates.added
    effect = "gets random weights" if random_missing else "is left out"
    lines = [f"{name} {effect}: {reason}" for name, reason in candidates.invalid.items()]
    if missing:
        total = len(candidates.usable) - len(added) + len(candidates.invalid) + len(missing)
        reason = "are not on this machine (--offline)" if offline else "could not be fetched (no network)"
        use = "; random ones are used" if random_missing else ""
        more = "; copy them from an online machine:" if details else "; --details lists the files"
        lines.append(f"the weights of {len(missing)} of {total} backbones {reason}{use}{more}")
    if details:
        lines += [f"  {name}: {file}" for name, file in missing.items()]
    if added:
        lines.append(f"added, with weights from installed packages: {', '.join(added)}")
    return lines


def _missing_file(row: Backbone) -> tuple[str | None, str | None]:
    """The URL of the weights and their local path; None and None if they exist.

    Raises:
        UserError: they cannot be downloaded.
    """
    if weights.locate(row, "imagenet", offline=False):
        return None, None
    if not row.weights.startswith("hf:"):
        return row.weights, str(weights.hub_path(row))
    from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache

    repo, file = row.weights.removeprefix("hf:"), "model.safetensors"
    if isinstance(try_to_load_from_cache(repo, file), str):
        return None, None
    return hf_hub_url(repo, file), f"{constants.HF_HUB_CACHE} (hf download {repo} {file})"


@cache
def is_online(url: str) -> bool:
    """Whether the host answers, with any status."""
    try:
        urlopen(Request(url, method="HEAD"), timeout=TIMEOUT).close()
    except (HTTPError, HTTPException):
        return True
    except OSError:
        return False
    return True
