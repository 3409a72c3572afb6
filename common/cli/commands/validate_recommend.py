"""measure how well the scores of `recommend` predict the fine-tuned ranking"""

from pathlib import Path

from ...errors import Parser
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    parser = Parser(
        prog="python -m common validate_recommend",
        description="Weighted Kendall's tau of every score, and of two static rankings, with fine-tuned test scores.",
        epilog="Runs count if test images, image size and weights match and the protocol is clean. Seeds are averaged; of several settings the best on validation counts.",
    )
    # fmt: off
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH",
                        help="recommendations (recommend --out), folders of run folders, .jsonl files of results")
    # fmt: on
    options = parser.parse_args(argv)

    def show() -> None:
        from ...report import agreement

        print(agreement.format_agreements(agreement.validate(*agreement.read(options.paths))))

    report_user_errors(show)
