"""`python -m numbaflux [demo | cuda-demo | train-digits | inspect FILE.py:FUNC ... | doctor]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m numbaflux", description=__doc__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser("demo", help="fit Lotka-Volterra to a century of pelts (default)")
    demo.add_argument("--plot", type=Path, default=Path("lynx_hare.png"), help="where to draw")
    cuda = commands.add_parser("cuda-demo", help="fit the launches of a kernel to a photograph")
    cuda.add_argument(
        "--plot", type=Path, default=Path("reaction_diffusion.png"), help="where to draw"
    )
    digits = commands.add_parser("train-digits", help="train a small net to read digits")
    digits.add_argument(
        "--weights", type=Path, default=Path("digits.safetensors"), help="save here"
    )
    digits.add_argument("--plot", type=Path, default=Path("digits.png"), help="where to draw")
    digits.add_argument("--conv", action="store_true", help="a net with convolutions")
    inspect = commands.add_parser("inspect", help="print, check and time a derivative")
    inspect.add_argument("target", metavar="FILE.py:FUNCTION")
    inspect.add_argument("args", nargs="*", metavar="ARG", help='such as 2.0 or "np.ones(5)"')
    inspect.add_argument(
        "--argnums", type=int, nargs="+", help="what to differentiate (all floats if left out)"
    )
    commands.add_parser("doctor", help="versions, CPU, threads and CUDA of this machine")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = parser().parse_args(argv)
    match options.command:
        case "doctor":
            from numbaflux.cli.doctor import doctor

            doctor()
        case "cuda-demo":
            from numbaflux.demo.reaction_diffusion import main as cuda_demo

            cuda_demo(options.plot)
        case "train-digits":
            from numbaflux.demo import digits

            recipe = digits.CONV_NET if options.conv else digits.DENSE_NET
            digits.main(options.weights, options.plot, recipe)
        case "inspect":
            from numbaflux.cli.inspect import UsageError, inspect

            try:
                inspect(options.target, options.args, options.argnums)
            except UsageError as error:
                print(f"numbaflux inspect: {error}", file=sys.stderr)
                return 2
        case _:
            from numbaflux.demo.fit import main as demo

            demo(getattr(options, "plot", Path("lynx_hare.png")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
