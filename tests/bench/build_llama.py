"""Builds llama-server and llama-bench for the comparison, to run on the libllama that infd runs on.

    python tests/bench/build_llama.py [--sdist FILE] [--folder DIR] [--jobs N]

The sources are those that llama-cpp-python's installed version was built from (its sdist, fetched
with pip unless --sdist names it), the flags those of the README's install command, or CXXFLAGS
and CMAKE_ARGS where set. What comes out is started with the package's own libraries in front
(`Programs.environment`), so that every contender computes with the same libllama and libggml;
`Programs.libraries` is what the loader really takes. Where the executables do not run on them,
the libraries of this build, from the same sources and flags, are taken, and that is said.

Whatever is missing (compiler, cmake, sdist) is one line on standard error and exit status 1.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

CXXFLAGS = "-fno-dse -fno-tree-dse"
CMAKE_ARGS = "-DGGML_OPENMP=OFF"
NAMES = ("llama-server", "llama-bench")
_SETTINGS = (
    "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON", "-DCMAKE_SKIP_RPATH=ON",
    "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF",
    # No page for browsers, which would be fetched from the network.
    "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF",
)  # fmt: skip
_LIBRARIES = ("libllama.so", "libggml.so", "libggml-base.so", "libggml-cpu.so")


class BuildError(Exception):
    """The programs cannot be had; one line for people."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The built executables and what they run on."""

    folder: Path
    """Where they lie, with the libraries of their own build."""
    same_library: bool
    """Whether they run on the installed package's libllama and libggml."""
    libraries: dict[str, str]
    """What the loader takes, by the library's name."""

    @property
    def server(self) -> str:
        """The path of llama-server."""
        return str(self.folder / "llama-server")

    @property
    def bench(self) -> str:
        """The path of llama-bench."""
        return str(self.folder / "llama-bench")

    @property
    def environment(self) -> dict[str, str]:
        """What the programs' processes must have in their environment."""
        return _environment(self.folder, self.same_library)


def default_folder() -> Path:
    """Where the build goes, and is looked for, unless told otherwise."""
    return Path(tempfile.gettempdir()) / f"infd-bench-llama-{os.getuid()}"


def package_libraries() -> Path:
    """The folder with the installed package's libllama. Raises BuildError."""
    # Found without importing it: importing would load the library into this process.
    found = importlib.util.find_spec("llama_cpp")
    if found is None or found.origin is None:
        raise BuildError("llama-cpp-python is not installed: pip install '.[server]'")
    return Path(found.origin).parent / "lib"


def find(folder: Path) -> Programs:
    """The programs of an earlier build. Raises BuildError."""
    place = folder / "build" / "bin"
    for name in NAMES:
        if not (place / name).is_file():
            raise BuildError(f"{name} is not in {place}: python tests/bench/build_llama.py")
    for same in (True, False):
        said = _run([str(place / "llama-server"), "--version"], _environment(place, same))
        if said.returncode == 0:
            return Programs(place, same, _loaded(place, same))
    last = (said.stderr.strip().splitlines() or ["it said nothing"])[-1]
    raise BuildError(f"{place / 'llama-server'} does not run: {last}")


def build(folder: Path, sdist: Path | None, jobs: int) -> Programs:
    """Build them, going on with what is there. Minutes. Raises BuildError."""
    for tool in ("cmake", os.environ.get("CXX", "c++")):
        if shutil.which(tool) is None:
            raise BuildError(f"{tool} is not installed; without it llama-server cannot be built")
    package_libraries()
    sources = _sources(folder, sdist or _download(folder))
    flags = shlex.split(os.environ.get("CMAKE_ARGS", CMAKE_ARGS))
    environment = {**os.environ, "CXXFLAGS": os.environ.get("CXXFLAGS", CXXFLAGS)}
    target = folder / "build"
    steps = (
        ["cmake", "-S", str(sources), "-B", str(target), *_SETTINGS, *flags],
        ["cmake", "--build", str(target), f"-j{jobs}", "--target", *NAMES],
    )
    for step in steps:
        with (folder / "build.log").open("a") as log:
            done = subprocess.run(
                step, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode:
            raise BuildError(f"{' '.join(step[:2])} failed; see {folder / 'build.log'}")
    return find(folder)


def _download(folder: Path) -> Path:
    """The installed version's sdist."""
    version = importlib.metadata.version("llama-cpp-python")
    kept = folder / f"llama_cpp_python-{version}.tar.gz"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        said = _run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
             "--no-binary", "llama-cpp-python", "--dest", str(folder),
             f"llama-cpp-python=={version}"],
        )  # fmt: skip
        if said.returncode or not kept.exists():
            last = (said.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise BuildError(f"the sdist of llama-cpp-python {version} cannot be had: {last}")
    return kept


def _sources(folder: Path, sdist: Path) -> Path:
    """llama.cpp's folder in the unpacked sdist."""
    version = importlib.metadata.version("llama-cpp-python")
    unpacked = folder / f"llama_cpp_python-{version}"
    if version not in sdist.name:
        raise BuildError(f"{sdist} is not of the installed version, {version}")
    if not (unpacked / "vendor").exists():
        try:
            with tarfile.open(sdist) as archive:
                archive.extractall(folder, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise BuildError(f"{sdist} cannot be unpacked: {error}") from None
    found = unpacked / "vendor" / "llama.cpp"
    if not (found / "CMakeLists.txt").exists():
        raise BuildError(f"{sdist} holds no llama.cpp")
    return found


def _environment(place: Path, same: bool) -> dict[str, str]:
    before = [str(package_libraries())] if same else []
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join([*before, str(place)])}


def _loaded(place: Path, same: bool) -> dict[str, str]:
    said = _run(["ldd", str(place / "llama-server")], _environment(place, same)).stdout
    found = {}
    for line in said.splitlines():
        name, arrow, path = line.strip().partition(" => ")
        if arrow and name.startswith(_LIBRARIES):
            found[name] = str(Path(path.partition(" (")[0]).resolve())
    return found


def _run(
    command: list[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def main() -> int:
    """Build, and say what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sdist", type=Path, help="llama-cpp-python's .tar.gz")
    parser.add_argument("--folder", type=Path, default=default_folder(), help="where to build")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    try:
        programs = build(given.folder, given.sdist, given.jobs)
    except BuildError as error:
        print(f"build_llama: {error}", file=sys.stderr)
        return 1
    for name, path in sorted(programs.libraries.items()):
        print(f"{name} => {path}")
    print("the library is " + ("the installed package's" if programs.same_library else
          "this build's own, from the same sources and flags"))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
