"""Dispatch: what needs no torch is answered without importing it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from snnplug.errors import SnnplugError, did_you_mean

HELP = """\
usage: snnplug COMMAND ...

Train spiking networks on event data, and see after every epoch what they would cost on hardware.

commands:
  fit -c NAME|FILE        train, validate and test a recipe; price it every epoch
  validate -c NAME|FILE   validate it      (--ckpt_path FILE for trained weights)
  test -c NAME|FILE       test it          (--ckpt_path FILE for trained weights)
  predict -c NAME|FILE    predict with it  (--ckpt_path FILE for trained weights)
  recipes [ls|show NAME|cp NAME FILE]
                          list the packaged recipes, print one, or copy one to change it
  targets [ls|show NAME]  list the hardware targets, or print one with the source of each number
  estimate CKPT|RUN|MODULE:NAME
                          run a trained network on data and price it  (--data RECIPE|FILE.npy
                          --target NAME|FILE --save-activity FILE)
  simulate CKPT|RUN|MODULE:NAME
                          run it in integers on the datapath of a target, event by event; spikes and
                          counts beside torch and the price  (--images N --memories FOLDER)
  export CKPT|RUN|MODULE:NAME --to nir|onnx|pt2|openvino|ipu|sanafe
                          write it for another tool, and compare it there  (--out PATH
                          --in-shape N,... --num-steps T without data)
  check-ipu RECIPE|RUN|CKPT
                          check its training step against PopTorch's rules; nothing runs on an IPU
  price ACTIVITY          price a stored activity, activity.json of a run  (--target NAME|FILE)
  explore ACTIVITY        price it over a grid of target fields: the front of energy, latency and
                          area  (--grid datapath.lanes=16,32,64 --grid sram.bank_kb=16,64)
  report RUN...           a page about runs: bill, parts, accuracy over energy, activity (one HTML
                          file)
  data [ls|info|pack|view]
                          list the data sets, say what one is, pack its recordings, draw one
  doctor                  what is installed here, and whether the native kernels run
  completion bash|zsh     a script for the shell:  eval "$(snnplug completion bash)"

Any field of a recipe can be set after it, for example
  snnplug fit -c quickstart --trainer.max_epochs 3 --hardware.target ./my_chip.toml
  snnplug fit -c quickstart --print_config          every field and its value
  snnplug fit -c quickstart --ckpt_path last        go on with the newest run (or name its folder)
  snnplug fit --help                                the usual fields
  snnplug fit --help-all                            every option, explained

options:
  -h, --help              this text
  --version               the version
"""

_TRAINING = ("fit", "validate", "test", "predict")
_COMMANDS = (
    *_TRAINING,
    "recipes",
    "targets",
    "estimate",
    "simulate",
    "export",
    "check-ipu",
    "price",
    "explore",
    "report",
    "data",
    "doctor",
    "completion",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: Arguments without the program's name; None takes the process's.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(args)
        sys.stdout.flush()  # here, not when the interpreter ends, a closed pipe can be caught
        return code
    except BrokenPipeError:  # `snnplug targets | head`
        # What is still buffered has nowhere to go; the interpreter would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # The parser raises its own error over one of ours.
        ours = _cause(error)
        if ours is None:
            raise
        print(f"snnplug: {ours}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("snnplug: interrupted", file=sys.stderr)
        return 130


def _cause(error: BaseException | None) -> SnnplugError | None:
    """Return the error of snnplug's own that ``error`` is or follows from."""
    while error is not None and not isinstance(error, SnnplugError):
        error = error.__cause__ or error.__context__
    return error


def _see_modules_here() -> None:
    """Let a recipe name a class of ``my_net.py`` beside it, as ``python -m snnplug`` would."""
    if "" not in sys.path:
        sys.path.insert(0, "")


def _dispatch(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    command, *rest = args
    if command in ("--version", "-V"):
        from importlib.metadata import version

        print(f"snnplug {version('snnplug')}")
        return 0
    if command == "recipes":
        from snnplug.cli.recipes import recipes_command

        return recipes_command(rest)
    if command == "targets":
        from snnplug.cli.targets import targets_command

        return targets_command(rest)
    if command == "estimate":
        _see_modules_here()
        from snnplug.cli.estimate import estimate_command

        return estimate_command(rest)
    if command == "simulate":
        _see_modules_here()
        from snnplug.cli.simulate import simulate_command

        return simulate_command(rest)
    if command == "export":
        _see_modules_here()
        from snnplug.cli.export import export_command

        return export_command(rest)
    if command == "check-ipu":
        _see_modules_here()
        from snnplug.cli.check_ipu import check_ipu_command

        return check_ipu_command(rest)
    if command == "report":
        from snnplug.cli.report import report_command

        return report_command(rest)
    if command == "price":
        from snnplug.cli.pricing import price_command

        return price_command(rest)
    if command == "explore":
        from snnplug.cli.pricing import explore_command

        return explore_command(rest)
    if command == "data":
        from snnplug.cli.data import data_command

        return data_command(rest)
    if command == "doctor":
        from snnplug.cli.doctor import doctor_command

        return doctor_command(rest)
    if command == "completion":
        from snnplug.cli.completion import completion_command

        return completion_command(rest, _COMMANDS)
    if command in _TRAINING and {"-h", "--help"} & set(rest):
        from snnplug.cli.help import TRAINING_HELP

        print(TRAINING_HELP.format(command=command), end="")
        return 0
    if command in _TRAINING:
        from snnplug.cli.recipes import resolve_configs

        rest = ["--help" if arg == "--help-all" else arg for arg in rest]
        resolved = [command, *resolve_configs(rest)]
        _see_modules_here()
        # Threads of OpenMP that wait by spinning stall each other on a shared machine: an epoch of
        # the MNIST recipe on two loaded cores took 15 to 24 s with, 2.6 s without.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from snnplug.cli.training import run

        run(resolved)
        return 0
    raise SnnplugError(f"no command {command!r}. {did_you_mean(command, _COMMANDS)}")
