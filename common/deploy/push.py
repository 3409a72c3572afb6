"""Upload of a hub folder to the Hugging Face Hub, after confirmation."""

import sys
from pathlib import Path

from ..errors import UserError
from ..run.results import CONFIG
from .hub import CARD, PICTURE, WEIGHTS

FILES = (CARD, CONFIG, WEIGHTS, PICTURE)


def check_push(repository: str, yes: bool) -> None:
    """Raises: UserError: an invalid name, or no terminal for the confirmation."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repository)
        valid = repository.count("/") == 1
    except HFValidationError:
        valid = False
    if not valid:
        raise UserError(f"--push {repository}: expected USER/NAME, of letters, digits, -, _ and .")
    if not (yes or sys.stdin.isatty()):
        raise UserError("--push asks for confirmation, and there is no terminal: add --yes")


def push(folder: Path, repository: str, yes: bool) -> str:
    """Upload the files of a hub folder to a model repository; returns its address. Without `yes` the user has to confirm.

    A new repository is private, an existing one keeps its visibility.

    Raises:
        UserError: the user declines, or the Hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    files = [name for name in FILES if (folder / name).is_file()]
    size = sum((folder / name).stat().st_size for name in files)
    question = f"upload {', '.join(files)} of {folder} ({size / 1e6:.1f} MB) to the Hugging Face Hub as {repository}?"
    if not (yes or _confirmed(question)):
        raise UserError(f"not uploaded: {folder} is unchanged")
    api = HfApi()
    try:
        url = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=files, commit_message="Upload model")
    except (OSError, HTTPError) as error:  # no token, refused, no connection
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"the Hugging Face Hub rejected {repository} ({reason}): log in with `hf auth login`, check the name and "
            "the connection"
        ) from None
    return str(url)


def _confirmed(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
