"""The command ``python -m accelerate_sim.web``: build and serve the page that plays ``train.py`` in a browser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from accelerate_sim.web.downloads import BuildError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        return code
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m accelerate_sim.web",
        description="Build and serve a static page that plays train.py in a browser.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="make the page; takes about a minute, and 60 MB from PyPI and npm")
    build.add_argument("page", type=Path, metavar="DIR", help="new directory, or one that was built before")
    build.add_argument("--address", default="", metavar="URL", help="where the page will be, for its preview image")
    build.set_defaults(run=_build)
    serve = commands.add_parser("serve", help="show a built page on 127.0.0.1, until Ctrl-C")
    serve.add_argument("page", type=Path, metavar="DIR", help="directory of the page")
    serve.add_argument("--port", type=int, default=8765, metavar="N", help="0: any; default: 8765")
    serve.set_defaults(run=_serve)
    picture = commands.add_parser("picture", help="draw a moment of a run as SVG")
    picture.add_argument("file", type=Path, metavar="FILE.svg", help="file to write")
    picture.add_argument("--config", default="llama70b", metavar="NAME", help="default: llama70b")
    picture.add_argument("--second", type=float, default=2.4, metavar="S", help="recorded second; default: 2.4")
    picture.set_defaults(run=_picture)
    return parser


def _build(options: argparse.Namespace) -> int:
    from accelerate_sim.web.building import build

    build(options.page, options.address)
    print(f"{options.page} is built. Look at it: python -m accelerate_sim.web serve {options.page}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    from accelerate_sim.web.serving import address, server_of

    with server_of(options.page, options.port) as server:
        print(f"{address(server)} shows the page, until Ctrl-C.", flush=True)
        server.serve_forever()
    return 0


def _picture(options: argparse.Namespace) -> int:
    from accelerate_sim.web.picture import picture

    options.file.write_text(picture(options.config, options.second), encoding="utf-8")
    print(options.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
