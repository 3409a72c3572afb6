"""Split images into train/, [val/,] test/, by copying, by linking, or as a list in a text file.

Of every class of n images, `ceil(test_size * n)` go to test. Which ones depends only on their names and the random
state, so the split is the same on every machine, and adding an image moves no other.

    python split.py --input_dir my_images --output_dir my_split --test_size 0.2 --val_size 0.1
    python split.py --input_dir slides --list split.csv --test_size 0.2 --group_by "patient(\\d+)"
    python folder.py --data_dir slides --split_file split.csv
"""

from pathlib import Path

from common import (
    ExportConfig,
    Parser,
    add_groups,
    add_labels,
    bind_groups,
    bind_labels,
    image_folder,
    printable,
    report_user_errors,
    split_folders,
)


def parser() -> Parser:
    p = Parser(description=__doc__.split("\n")[0], allow_abbrev=False)
    p.add_argument(
        "--input_dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder or archive with one folder of images per class",
    )
    add_labels(p)
    target = p.add_mutually_exclusive_group(required=True)
    target.add_argument("--output_dir", type=Path, metavar="DIR", help="a new folder for train/, [val/,] test/")
    target.add_argument("--list", type=Path, metavar="FILE", help="write path,label,part to a new text file instead")
    p.add_argument(
        "--test_size", type=float, default=0.2, metavar="F", help="fraction of every class (default: %(default)s)"
    )
    p.add_argument("--val_size", type=float, metavar="F", help="fraction of every class (default: no val/)")
    p.add_argument("--random_state", type=int, default=42, metavar="N", help="seed of the split (default: %(default)s)")
    add_groups(p, default="auto")
    p.add_argument("--link", choices=("hard", "symbolic"), help="link the images instead of copying them")
    return p


def main(argv: list[str] | None = None) -> None:
    p = parser()
    options = p.parse_args(argv)
    if options.list and options.link:
        p.error("--link: --list writes no images that could be linked")
    config = ExportConfig(
        test=options.test_size,
        val=options.val_size,
        seed=options.random_state,
        output="list" if options.list else options.link or "copy",
    )
    target = options.output_dir or options.list

    def run() -> str:
        load = bind_groups(bind_labels(image_folder, options), options)
        return split_folders(options.input_dir, target, load, config)

    print("\n".join(map(printable, report_user_errors(run).split("\n"))))


if __name__ == "__main__":
    main()
