"""serve a local page to try a finished run's network on images or the camera"""

from pathlib import Path

from ...errors import Parser, UserError
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common demo", description=__doc__)
    # fmt: off
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="0: any free one (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                        help="this machine's address to listen on; any but 127.0.0.1 is open to other machines (default: %(default)s)")
    # fmt: on
    options = parser.parse_args(argv)

    def serve() -> None:
        if not 0 <= options.port < 1 << 16:
            raise UserError(f"--port {options.port}: expected 0 to 65535")
        from ...run import results

        results.read_model_card(options.run / results.BEST)  # before torch is imported
        from ...deploy.demo import make_server

        with make_server(options.run, options.host, options.port) as server:
            print(f"http://{options.host}:{server.server_port} shows {options.run}; Ctrl-C ends it", flush=True)
            server.serve_forever()

    report_user_errors(serve)
