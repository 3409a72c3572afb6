"""Find all images below a folder and count, by reason, the files that are not read."""

import errno
import os
import sys
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UserError
from .suffixes import HEIF, HEIF_PACKAGE, image_suffixes, suffix_of

LEFTOVERS = frozenset(  # in lower case
    {
        "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information",
        "lost+found", "__pycache__", ".ds_store", ".ipynb_checkpoints", ".spotlight-v100", ".trashes", ".fseventsd", ".git",
    }
)  # fmt: skip
HIDDEN, SPECIAL = "hidden", "not a regular file"
BROKEN, CIRCULAR, REPEATED = "behind a broken link", "behind a circular link", "read already"


@dataclass(kw_only=True)
class Tree:
    """The content of a folder. Names are posix paths relative to it."""

    root: str
    images: dict[str, list[str]] = field(default_factory=dict)  # {folder: names of the images directly in it}
    folders: set[str] = field(default_factory=set)
    others: list[str] = field(default_factory=list)  # files with unknown suffixes
    skipped: Counter[str] = field(default_factory=Counter)  # files that are not read, by reason
    repeated: list[tuple[str, str]] = field(default_factory=list)  # (name, the same image or folder)

    def path(self, name: str) -> str:
        return os.path.join(self.root, name)

    def names(self) -> list[str]:
        """Of all images, sorted."""
        return sorted(name for names in self.images.values() for name in names)


def scan(root: str | Path) -> Tree:
    """Walk `root`: real folders first, then links, each target once, so that no image occurs twice.

    Raises:
        UserError: a folder cannot be read, or the name of an image is not valid UTF-8.
    """
    tree = Tree(root=os.fspath(root))
    walk = _Walk(tree)
    walk.folder("", os.stat(root))
    walk.follow_links()
    tree.others.sort()
    for names in tree.images.values():
        if not "".join(names).isascii():
            _check_encoding(tree, names)
    return tree


def _check_encoding(tree: Tree, names: list[str]) -> None:
    for name in names:
        if name.encode("utf-8", "ignore").decode() == name:
            continue
        locale = sys.getfilesystemencoding()
        with suppress(UnicodeDecodeError):
            correct = os.fsencode(tree.path(name)).decode("utf-8")
            raise UserError(
                f"this locale ({locale}) cannot represent the name of {correct!r}: use a UTF-8 one, such as "
                "LC_ALL=C.UTF-8, or set PYTHONUTF8=1"
            )
        raise UserError(f"the name of an image is not valid UTF-8: {tree.path(name)!r}; rename it")


class _Walk:
    """The state of a scan: visited folders, known files, links to follow."""

    def __init__(self, tree: Tree):
        self.tree = tree
        self.visited: dict[tuple[int, int], str] = {}  # {(device, inode) of a folder: its name}
        self.files: dict[int, str] = {}  # {inode: image}
        self.links: list[str] = []
        self.suffixes = image_suffixes()
        self.real_root = os.path.realpath(tree.root)

    def folder(self, name: str, stat: os.stat_result) -> None:
        """Read a folder and the real folders below it; links are queued."""
        self.visited[stat.st_dev, stat.st_ino] = name
        pending = [name]
        while pending:
            folder = pending.pop()
            prefix, images = folder and f"{folder}/", []
            for entry in _entries(self.tree.path(folder)):
                name = entry.name
                # the common case first: 100,000 images are listed in half a second
                if suffix_of(name) in self.suffixes and name[0] != "." and entry.is_file(follow_symlinks=False):
                    name = prefix + name
                    if self.files.setdefault(entry.inode(), name) is name:
                        images.append(name)
                    else:
                        self.image(name, entry.inode(), images)
                elif inner := self.other(entry, prefix + name):
                    pending.append(inner)
            if images:
                self.tree.images[folder] = images

    def other(self, entry: os.DirEntry, name: str) -> str:
        """Count anything but an image; returns the name of a folder to read, if it is one."""
        skipped = self.tree.skipped
        if reason := leftover(entry.name):
            skipped[reason] += _count(entry.path) if entry.is_dir(follow_symlinks=False) else 1
        elif entry.is_symlink():
            self.links.append(name)
        elif entry.is_dir(follow_symlinks=False):
            stat = entry.stat(follow_symlinks=False)
            if self.visited.setdefault((stat.st_dev, stat.st_ino), name) is name:
                self.tree.folders.add(name)
                return name
            skipped[REPEATED] += 1
        elif entry.is_file(follow_symlinks=False):
            self.tree.others.append(name)
            skipped[_by_suffix(suffix_of(entry.name))] += 1
        else:
            skipped[SPECIAL] += 1
        return ""

    def image(self, name: str, inode: int, images: list[str]) -> None:
        """An image with a known inode number: the same file under another name, or a file of another device."""
        first = self.files[inode]
        if not self.same(first, name):
            images.append(name)
            return
        if name < first:  # hard links: the first name stays, whatever the order of the directory
            folder = first.rpartition("/")[0]
            siblings = images if first in images else self.tree.images[folder]
            siblings.remove(first)
            if not siblings and siblings is not images:
                del self.tree.images[folder]
            images.append(name)
            self.files[inode] = name
            name, first = first, name
        self.tree.repeated.append((name, first))
        self.tree.skipped[REPEATED] += 1

    def same(self, one: str, two: str) -> bool:
        """Whether two files with the same inode number are one; numbers repeat across devices."""
        return os.path.samefile(self.tree.path(one), self.tree.path(two))

    def follow_links(self) -> None:
        queue = deque(sorted(self.links))
        while queue:
            name = queue.popleft()
            path = self.tree.path(name)
            try:
                target = os.stat(path)
            except OSError as error:
                self.tree.skipped[CIRCULAR if error.errno == errno.ELOOP else BROKEN] += 1
                continue
            if not os.path.isdir(path):
                self.link_to_file(name, target)
            elif f"{self.real_root}/".startswith(f"{os.path.realpath(path)}/".replace("//", "/")):
                self.tree.skipped[CIRCULAR] += 1
            elif (key := (target.st_dev, target.st_ino)) in self.visited:
                inside = f"{name}/".startswith(f"{self.visited[key]}/")
                self.tree.skipped[CIRCULAR if inside else REPEATED] += 1
                if not inside:
                    self.tree.repeated.append((f"{name}/", f"{self.visited[key]}/"))
            else:
                self.links = []
                self.tree.folders.add(name)
                self.folder(name, target)
                queue.extend(sorted(self.links))

    def link_to_file(self, name: str, target: os.stat_result) -> None:
        suffix = suffix_of(name.rpartition("/")[2])
        if not os.path.isfile(self.tree.path(name)):
            self.tree.skipped[SPECIAL] += 1
        elif suffix not in self.suffixes:
            self.tree.others.append(name)
            self.tree.skipped[_by_suffix(suffix)] += 1
        elif (first := self.files.setdefault(target.st_ino, name)) is name or not self.same(first, name):
            self.tree.images.setdefault(name.rpartition("/")[0], []).append(name)
        else:
            self.tree.repeated.append((name, first))
            self.tree.skipped[REPEATED] += 1


def _entries(path: str) -> list[os.DirEntry]:
    try:
        with os.scandir(path or ".") as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"cannot read the folder {path} ({error.strerror})") from None


def leftover(name: str) -> str:
    """The reason why a name is skipped: it is hidden, or left by the system and named itself; empty for others."""
    if name.lower() in LEFTOVERS:
        return name
    return HIDDEN if name.startswith(".") else ""


def _count(folder: str) -> int:
    """The number of entries below a folder that are not folders."""
    return sum(
        len(files) + sum(os.path.islink(os.path.join(base, name)) for name in folders)
        for base, folders, files in os.walk(folder)
    )


def _by_suffix(suffix: str) -> str:
    if suffix in HEIF:
        return f"{suffix} (pip install {HEIF_PACKAGE})"
    return suffix or "no suffix"
