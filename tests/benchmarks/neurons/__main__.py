"""Our layers, other libraries' and the machine's limits: ``python -m tests.benchmarks.neurons``.

All implementations of a task take turns in one process; the table gives medians. Peak memory is
measured in a fresh process each: by how much its resident memory rises at most over three steps,
what a compiler needs included. ``--write docs/benchmarks`` writes the table and the plot that the
documentation shows. With ``--threads 1`` the time of that thread is taken, which other programs
disturb least. On a busy machine ``OMP_WAIT_POLICY=PASSIVE`` keeps threads from burning
what others need; only ratios within one run mean anything.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path

import torch

from snnplug.kernels import native
from tests.benchmarks.neurons import conv, layer, mlp, recurrent
from tests.benchmarks.neurons.report import Result, markdown, plot
from tests.benchmarks.neurons.task import OURS, Task
from tests.benchmarks.neurons.timing import Step, medians_ms, peak_growth_mb

TASKS = {
    "lif-tiny": partial(layer.task, (5, 1, 16)),  # what a call costs
    "lif-25": partial(layer.task, (25, 128, 1000)),
    "lif-100": partial(layer.task, (100, 64, 512)),
    "lif-300": partial(layer.task, (300, 32, 1024)),
    "mlp": mlp.task,
    "conv": conv.task,
    "recurrent": recurrent.task,
}


def chosen(task: Task, peers: Sequence[str] | None, compiled: bool) -> list[str]:
    """Return the implementations to run: ours, snnTorch's, the floors and the peers asked for."""
    return [
        name
        for name in task.build
        if (compiled or name not in task.compiled)
        and (
            peers is None
            or name == OURS
            or name in task.floors
            or name.split(",")[0].lower() in {"snntorch", *peers}
        )
    ]


def measure(
    key: str, task: Task, names: Sequence[str], repeats: int, quick: bool, memory: bool
) -> Result:
    """Time the named implementations in turns, and the memory of each in a process of its own."""
    steps: dict[str, Step] = {}
    absent: dict[str, str] = {}
    for name in names:
        try:
            steps[name] = task.build[name](quick)
        except ImportError as error:
            absent[name] = str(error)
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    result = Result(medians_ms(steps, repeats, clock=clock), {}, absent)
    del steps
    if memory:
        for name in result.milliseconds:
            if name not in task.floors:
                result.megabytes[name] = _memory_elsewhere(key, name, quick)
    return result


def _memory_elsewhere(key: str, name: str, quick: bool) -> float:
    command = [sys.executable, "-m", __spec__.name, "--memory-of", key, name]
    done = subprocess.run(command + ["--quick"] * quick, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def _memory_here(key: str, name: str, quick: bool) -> float:
    task = TASKS[key]()
    once = task.build[name](quick)
    # A small step needs a graph of its own, and would compile twice.
    warm = once if name in task.compiled else task.build[name](True)
    return peak_growth_mb(once, warm)


def machine() -> str:
    """Return processor, threads and versions."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            x.split(":")[1].strip() for x in info.read_text().splitlines() if "model name" in x
        ]
        model = names[0] if names else model
    isa = native.available()[1]
    return f"{model}, {torch.get_num_threads()} thread(s), torch {torch.__version__}, kernels {isa}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--peers", nargs="*", help="libraries to compare; default: all")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compiled", action="store_true", help="also what takes torch.compile")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all runs")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="neurons.md and neurons.svg")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(_memory_here(*options.memory_of, options.quick))
        return
    given = sys.argv[1:] if arguments is None else arguments
    command = " ".join(["python -m tests.benchmarks.neurons", *given])
    header = [f"{date.today():%Y-%m-%d}; {machine()}; `{command}`."]
    tasks = {key: TASKS[key]() for key in options.tasks}
    results = {}
    for key, task in tasks.items():
        names = chosen(task, options.peers, options.compiled)
        results[key] = measure(key, task, names, options.repeats, options.quick, options.memory)
        print(markdown({key: results[key]}, tasks, []), flush=True)
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        (options.write / "neurons.md").write_text(markdown(results, tasks, header))
        plot(results, tasks, options.write / "neurons.svg")


if __name__ == "__main__":
    main()
