"""a finished run's network as ONNX, TorchScript or safetensors"""

from pathlib import Path

from ...errors import Parser
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common export", description=__doc__)
    # fmt: off
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--format", choices=("onnx", "torchscript", "safetensors"), default="onnx")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE",
                        help="new file (default: model.onnx, .pt or .safetensors in the run folder)")
    # fmt: on
    options = parser.parse_args(argv)

    def write() -> None:
        from ...deploy.export import export

        path, difference = export(options.run, options.format, options.out)
        of = "(relative to the largest logit if that is above 1)"
        print(f"{options.run} -> {path}; largest logit difference from the original: {difference:.1e} {of}")

    report_user_errors(write)
