"""Compiles the kernels that a wheel carries: `python wheels/build_kernels.py`, then `python -m build --wheel`.

For each release of TensorFlow one library, in blocks/kernels/prebuilt/. It has the arithmetic once for each level of
the target's instructions, and chooses among them where it is loaded. Everything of a level but its table is local to
it: what the linker takes once of several equal functions, std::vector's say, would else be of one level for all.

The libraries load wherever TensorFlow's own wheels do: they are linked against stubs of the system's libraries that
have the versions of symbols in `NEWEST` and none that came later; newer parts of the C++ library are linked into them.
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from stubs import is_allowed, needed_versions, write_stub  # noqa: E402

from blocks.kernels import levels, sources  # noqa: E402
from blocks.kernels.build import arithmetic_flags, operation_flags  # noqa: E402
from blocks.kernels.compilation import run_all  # noqa: E402
from blocks.kernels.prebuilt import MANIFEST  # noqa: E402

# Of the system that TensorFlow's oldest supported wheel is for, manylinux_2_17 (PEP 599: CentOS 7).
NEWEST = {"GLIBC": "2.17", "GLIBCXX": "3.4.19", "CXXABI": "1.3.7", "GCC": "4.8.0"}
RELEASES = ("2.20", "2.21")  # of TensorFlow, as in pyproject.toml
# What tf.sysconfig.get_compile_flags() is for them, but for the folder of headers.
TENSORFLOW_FLAGS = ["-D_GLIBCXX_USE_CXX11_ABI=1", "--std=c++17", "-DEIGEN_MAX_ALIGN_BYTES=64"]
PREFIXES = {levels.X86_64: "", levels.AARCH64: "aarch64-linux-gnu-"}  # of the compiler and its tools
PLATFORMS = {
    levels.X86_64: ["manylinux_2_27_x86_64", "manylinux_2_17_x86_64"],
    levels.AARCH64: ["manylinux_2_27_aarch64", "manylinux_2_17_aarch64"],
}
SYSTEM = ("libstdc++.so.6", "libm.so.6", "libc.so.6", "libgcc_s.so.1")  # libraries that every system has
LOADERS = {levels.X86_64: "ld-linux-x86-64.so.2", levels.AARCH64: "ld-linux-aarch64.so.1"}
WHEELS = {levels.X86_64: "tensorflow-cpu", levels.AARCH64: "tensorflow"}  # the smallest that has the headers


def run(*command: object) -> str:
    """What a command prints; it ends this program where it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def content(text: str) -> str:
    """A name for what a unit's sources and all headers contain."""
    included = [Path(path) for path in re.findall(r'#include "(.+)"', text)]
    parts = [path.read_bytes() for path in [*included, *sources.sources(suffixes=(".h",))]]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


class Builder:
    """Compiles for one target, in a folder for intermediate files."""

    def __init__(self, target: str, folder: Path) -> None:
        self.target, self.folder = target, folder
        self.prefix = PREFIXES[target]
        self.compiler = self.tool("g++")
        self.output = ROOT / "blocks" / "kernels" / "prebuilt" / target
        folder.mkdir(parents=True, exist_ok=True)

    def tool(self, name: str) -> str:
        """A program of the compiler's. Ends this program where it is missing."""
        path = shutil.which(self.prefix + name)
        if path is None:
            sys.exit(f"{self.prefix}{name} is not on PATH: install the compiler for {self.target}.")
        return path

    def compile(self, parts: list[tuple[str, str, list[str]]]) -> list[Path]:
        """Objects of (name, text, flags), those of an earlier call where nothing has changed. Warnings are
        shown, and errors end this program.
        """
        commands, objects, keys = [], [], []
        for name, text, flags in parts:
            source = self.folder / f"{name}.cc"
            source.write_text(text)
            objects.append(source.with_suffix(".o"))
            command = [self.compiler, "-c", *flags, str(source), "-o", str(objects[-1])]
            key, known = " ".join([content(text), *command]), source.with_suffix(".key")
            if not objects[-1].exists() or not known.exists() or known.read_text() != key:
                commands.append(command)
                keys.append((known, key))
        results = run_all(commands, lambda done, parts: print(f"  {done} of {parts}", flush=True))
        for (code, errors), (known, key) in zip(results, keys, strict=True):
            print(errors, end="", file=sys.stderr)
            if code:
                sys.exit(1)
            known.write_text(key)
        return objects

    def level(self, name: str) -> Path:
        """All arithmetic for a level as one object, with one symbol that others see."""
        print(f"{self.target}: level {name}", flush=True)
        # -fno-gnu-unique: such symbols are one for the whole process, whatever libraries they are in.
        flags = [*arithmetic_flags(name), "-fno-gnu-unique"]
        units = [unit for unit in sources.units() if unit.is_arithmetic]
        objects = self.compile([(f"{name}-{unit.name}", unit.text(), flags) for unit in units])
        joined = self.folder / f"{name}.o"
        run(self.tool("ld"), "-r", "--force-group-allocation", *objects, "-o", joined)
        run(self.tool("objcopy"), f"--keep-global-symbol=blocks_kernels_{name}", joined)
        check_level(joined, name, self.tool("nm"), self.tool("objdump"))
        return joined

    def check(self, level_objects: list[Path], level_names: list[str]) -> None:
        """Compare all kernels with plain loops, at each level that this machine has, or an emulator of the target's."""
        program = self.folder / "check_level"
        code = [ROOT / "wheels" / "check_level.cc", ROOT / "blocks" / "kernels" / "dispatch" / "levels.cc"]
        table = f"-DBLOCKS_LEVELS(LEVEL)={' '.join(f'LEVEL({name})' for name in level_names)}"
        run(self.compiler, "-std=c++17", "-O1", "-static", table, *code, *level_objects, "-o", program)
        emulated = self.target != levels.machine()
        emulator = shutil.which(f"qemu-{self.target}")
        if emulated and emulator is None:
            sys.exit(f"qemu-{self.target} is not on PATH: without it, the kernels for {self.target} cannot be checked.")
        for name in level_names:
            if not emulated and name not in levels.available():
                print(f"{name}: not checked, as this processor lacks it")
                continue
            print(run(*([emulator] if emulated else []), program, name), end="", flush=True)

    def headers(self, release: str) -> Path:
        """TensorFlow's folder: its headers and its library, out of its wheel."""
        place = self.folder / f"tensorflow-{release}"
        if not (place / "tensorflow" / "include").exists():
            platforms = [f"--platform={platform}" for platform in PLATFORMS[self.target]]
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms]
            run(*pip, "--python-version=3.11", "--dest", place, f"{WHEELS[self.target]}=={release}.*")
            (wheel,) = place.glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                wanted = re.compile(r"tensorflow/(include/|libtensorflow_framework\.so)")
                archive.extractall(place, [name for name in archive.namelist() if wanted.match(name)])
            wheel.unlink()
        return place / "tensorflow"

    def stubs(self) -> Path:
        """A folder of libraries to link against."""
        folder = self.folder / "stubs"
        for name in (*SYSTEM, LOADERS[self.target]):
            real = Path(run(self.compiler, f"-print-file-name={name}").strip())
            write_stub(real, folder, NEWEST, self.compiler, self.tool("objdump"))
        return folder

    def library(self, release: str, level_objects: list[Path], level_names: list[str]) -> Path:
        """The operations for a release of TensorFlow, linked with all levels."""
        print(f"{self.target}: TensorFlow {release}", flush=True)
        tensorflow = self.headers(release)
        flags = operation_flags([f"-I{tensorflow}/include", *TENSORFLOW_FLAGS], level_names)
        units = [unit for unit in sources.units() if not unit.is_arithmetic]
        objects = self.compile([(f"{release}-{unit.name}", unit.text(), flags) for unit in units])
        compat = self.folder / "compat.o"
        run(self.compiler, "-x", "c", "-c", "-fPIC", "-O2", ROOT / "wheels" / "compat.c", "-o", compat)
        stubs = self.stubs()
        path = self.output / f"tensorflow-{release}.so"
        self.output.mkdir(parents=True, exist_ok=True)
        system = [stubs / name for name in (*SYSTEM, LOADERS[self.target])]
        archives = [run(self.compiler, f"-print-file-name={name}").strip() for name in ("libstdc++.a", "libgcc.a")]
        link = [self.compiler, "-shared", "-nodefaultlibs", "-Wl,-z,defs", "-Wl,--exclude-libs,ALL", "-Wl,--strip-all"]
        link += ["-o", path, *objects, *level_objects, compat, f"-L{tensorflow}", "-l:libtensorflow_framework.so.2"]
        run(*link, *system, *archives, *system)
        newer = sorted(v for v in needed_versions(path, self.tool("objdump")) if not is_allowed(v, NEWEST))
        if newer:
            path.unlink()
            sys.exit(f"{path.name} needs {', '.join(newer)}, and the oldest system that it is for has {NEWEST}.")
        return path


def check_level(joined: Path, name: str, nm: str, objdump: str) -> None:
    """Ends this program where code of a level could be taken for another's, or runs before the level is chosen."""
    symbols = [line.split() for line in run(nm, "--defined-only", joined).splitlines()]
    shared = [words[-1] for words in symbols if words[-2].isupper() or words[-2] in "uvw"]  # small letters: local
    if shared != [f"blocks_kernels_{name}"]:
        sys.exit(f"The level {name} has symbols that the linker shares with others: {', '.join(shared)}")
    headers = run(objdump, "-h", joined)
    if match := re.search(r"\.(?:init_array|ctors)\S*", headers):
        sys.exit(f"The level {name} has {match[0]}, which runs when the library loads, whatever the processor is.")
    if ".group" in headers:
        sys.exit(f"The level {name} has groups of sections, of which the linker drops equal ones.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=PREFIXES, default=levels.machine())
    parser.add_argument("--tensorflow", nargs="+", choices=RELEASES, default=RELEASES, help="releases (default: all)")
    parser.add_argument("--folder", type=Path, help="for downloads and objects (default: build/kernels-TARGET)")
    parser.add_argument("--check", action="store_true", help="compare the kernels of each level with plain loops")
    arguments = parser.parse_args()
    builder = Builder(arguments.target, (arguments.folder or ROOT / "build" / f"kernels-{arguments.target}").resolve())
    names = list(levels.FLAGS[arguments.target])
    digest = sources.digest()
    objects = [builder.level(name) for name in names]
    if arguments.check:
        builder.check(objects, names)
    files = {release: builder.library(release, objects, names) for release in arguments.tensorflow}
    facts = {
        "sources": digest,
        "levels": names,
        "glibc": NEWEST["GLIBC"],
        "tensorflow": {release: path.name for release, path in files.items()},
        "compiler": run(builder.compiler, "--version").splitlines()[0],
    }
    (builder.output / MANIFEST).write_text(json.dumps(facts, indent=1) + "\n")
    for path in files.values():
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB, {', '.join(names)}")


if __name__ == "__main__":
    main()
