"""export a finished run's network as ONNX, TorchScript, safetensors or a folder for the Hugging Face Hub"""

from pathlib import Path

from ...errors import Parser, UserError
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common export", description=__doc__)
    # fmt: off
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--format", choices=("onnx", "torchscript", "safetensors", "hub"), default="onnx",
                        help="hub: a folder with model card, as timm opens it (default: %(default)s)")
    parser.add_argument("-o", "--out", type=Path, metavar="PATH",
                        help="new file or folder (default: model.onnx, .pt, .safetensors or hub in the run folder)")
    parser.add_argument("--push", metavar="USER/NAME",
                        help="upload the hub folder to this repository of the Hugging Face Hub, private if it is new, after confirmation")
    parser.add_argument("--yes", action="store_true", help="upload without confirmation")
    # fmt: on
    options = parser.parse_args(argv)

    def write() -> None:
        from ...deploy import export, hub, push

        if options.push and options.format != "hub":
            raise UserError("--push uploads a hub folder: add --format hub")
        if options.push:
            push.check_push(options.push, options.yes)
        path = options.out or options.run / "hub"
        if not (options.push and hub.is_hub_folder(path)):  # uploaded with the user's changes
            if options.format == "hub":
                path, difference = hub.export_hub(options.run, options.out)
            else:
                path, difference = export.export(options.run, options.format, options.out)
            of = "(relative to the largest logit if that is above 1)"
            print(f"{options.run} -> {path}; largest logit difference from the original: {difference:.1e} {of}")
        if options.push:
            print(f"{path} -> {push.push(path, options.push, options.yes)}")

    report_user_errors(write)
