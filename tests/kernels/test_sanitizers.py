"""The native kernels under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer.

``sanitize/driver.cpp`` calls them; ``sanitize/openmp.cpp`` stands for GCC's OpenMP runtime, whose
insides ThreadSanitizer cannot see.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snnplug.kernels import native

NATIVE = Path(native.__file__).parent / "native"
SANITIZE = Path(__file__).parent / "sanitize"
CHECKS = {"address": "-fsanitize=address,undefined", "thread": "-fsanitize=thread"}
# As CMakeLists.txt builds them, but for the level: the sanitizers see less of what is optimised,
# and -O1 takes the compiler four times as long.
FLAGS = ["-std=c++20", "-O0", "-g1", "-fopenmp", "-ffp-contract=off"]
FLAGS += ["-fno-math-errno", "-fno-trapping-math"]
# Most of the compiler's time would go into this source, whose copies differ in the width of a
# vector alone: what memory they touch is checked in each, undefined behaviour in the portable one.
LARGE = "neurons_backward"

pytestmark = pytest.mark.slow


def compile_all(compiler: str, check: str, folder: Path) -> Path:
    """Return the driver, linked with every native source on every instruction set.

    For races only on the portable one: threads share the same work on each.
    """
    flags = [*FLAGS, "-fno-sanitize-recover=all", f"-I{NATIVE}"]
    recipe = (NATIVE / "CMakeLists.txt").read_text(encoding="utf-8")
    isas = [(name, extra.split()) for name, extra in re.findall(r"add_isa\((\w+)(.*)\)", recipe)]
    isas = [(name, extra) for name, extra in isas if name != "name"]
    isas = [isa for isa in isas if check != "thread" or isa[0] == "portable"]
    common = [f"-DSNP_HAS_{name}" for name, _ in isas]
    jobs: list[tuple[Path, str, list[str]]] = [
        (path, path.stem, []) for path in sorted(SANITIZE.glob("*.cpp"))
    ]
    for path in sorted(NATIVE.glob("*.cpp")):
        text = path.read_text(encoding="utf-8")
        if "SNP_ISA" in text and "#define SNP_ISA" not in text:
            jobs += [
                (path, f"{path.stem}_{name}", [f"-DSNP_ISA={name}", *extra]) for name, extra in isas
            ]
        else:
            jobs.append((path, path.stem, common))

    def build(job: tuple[Path, str, list[str]]) -> Path:
        source, name, extra = job
        made = folder / f"{name}.o"
        again = source.stem == LARGE and not name.endswith("_portable")
        checks = "-fsanitize=address" if again else CHECKS[check]
        run([compiler, *flags, checks, *extra, "-c", str(source), "-o", str(made)])
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = [str(path) for path in pool.map(build, jobs)]
    driver = folder / "driver"
    # Without -fopenmp: the runtime is ours.
    run([compiler, CHECKS[check], *objects, "-pthread", "-o", str(driver)])
    return driver


def run(command: list[str]) -> None:
    """Run a command of the build; fail with what it says."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def start(driver: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the driver; a sanitizer's report gives exit code 66."""
    options = "exitcode=66:halt_on_error=1"
    environment = {
        **os.environ,
        **{f"{name}SAN_OPTIONS": options for name in ("A", "T")},
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    return subprocess.run(
        [str(driver), *args], capture_output=True, text=True, env=environment, timeout=300
    )


@pytest.fixture(scope="module", params=CHECKS)
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    check = request.param
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    folder = tmp_path_factory.mktemp(check)
    probe = folder / "probe.cpp"
    probe.write_text("int main() {}\n", encoding="utf-8")
    command = [compiler, CHECKS[check], str(probe), "-o", str(folder / "probe")]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"g++ lacks the runtime of {CHECKS[check]}: {built.stderr.strip()}")
    ran = subprocess.run([str(folder / "probe")], capture_output=True, text=True)
    if ran.returncode:
        pytest.skip(f"{CHECKS[check]} does not run here: {ran.stderr.strip()}")
    return compile_all(compiler, check, folder)


def test_nothing_is_reported(driver: Path) -> None:
    done = start(driver)
    assert done.returncode == 0, done.stderr[:5000]
    assert done.stderr == ""
    assert "portable" in done.stdout.split()


def test_an_injected_mistake_is_reported(driver: Path) -> None:
    """Whatever finds nothing above has to find this."""
    address = driver.parent.name.startswith("address")
    done = start(driver, "overflow" if address else "race")
    assert done.returncode == 66, done.stderr
    assert ("heap-buffer-overflow" if address else "data race") in done.stderr


def test_the_driver_calls_every_entry_point() -> None:
    called = "".join(
        path.read_text(encoding="utf-8").split("namespace {", 1)[1]
        for path in (SANITIZE / "driver.cpp", SANITIZE / "neurons.cpp")
    )
    exported = {
        name
        for path in NATIVE.glob("*.cpp")
        for name in re.findall(r"^SNP_EXPORT .*?\b(snp_\w+)\(", path.read_text("utf-8"), re.M)
    }
    assert "snp_neurons_forward" in exported
    assert {name for name in exported if f"{name}(" not in called} == set()
