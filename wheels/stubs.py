"""Libraries to link against that have only what an old system has: the names and versions of symbols, and no code.

A linker takes the newest version of a symbol that the system's library has, and a program that needs it does not start
on an older system. The C library keeps the former versions beside the newest: a stub offers the newest of the old ones.
"""

import re
import subprocess
from collections import defaultdict
from pathlib import Path

SYMBOL = re.compile(r"^[0-9a-f]+ (.{7}) (\S+)\s+([0-9a-f]+)\s+\(?([A-Za-z]+_[0-9.]+)\)?\s+(?:\.hidden )?(\S+)$")
NAMES = re.compile(r"\(?\b((?:GLIBC|GLIBCXX|CXXABI|GCC)_[0-9.]+)\)?")


def number(version: str) -> tuple[int, ...]:
    """(2, 17) of GLIBC_2.17."""
    return tuple(int(part) for part in version.rpartition("_")[2].split("."))


def is_allowed(version: str, newest: dict[str, str]) -> bool:
    """Whether `newest`, kind of version -> its newest, has this one. Kinds that it does not have are not restricted."""
    kind = version.rpartition("_")[0]
    return kind not in newest or number(version) <= number(f"_{newest[kind]}")


def needed_versions(library: Path, objdump: str = "objdump") -> set[str]:
    """The versions of symbols that a library needs of others."""
    listing = subprocess.run([objdump, "-T", str(library)], capture_output=True, text=True, check=True).stdout
    undefined = (line for line in listing.splitlines() if "*UND*" in line)
    return {version for line in undefined for version in NAMES.findall(line)}


def write_stub(library: Path, folder: Path, newest: dict[str, str], compiler: str, objdump: str = "objdump") -> Path:
    """A library of the same name in `folder`, with the symbols of `library` that have allowed versions."""
    listing = subprocess.run([objdump, "-T", str(library)], capture_output=True, text=True, check=True).stdout
    symbols: dict[str, tuple[str, str, int]] = {}  # name -> version, kind, size
    for line in listing.splitlines():
        match = SYMBOL.match(line)
        if match is None or match[2] == "*UND*":
            continue
        flags, section, size, version, name = match.groups()
        if not is_allowed(version, newest) or (name in symbols and number(symbols[name][0]) >= number(version)):
            continue
        kind = "tls_object" if section.startswith((".tdata", ".tbss")) else "object" if flags[6] == "O" else "function"
        symbols[name] = (version, kind, max(int(size, 16), 1))
    lines, versions = [], defaultdict(list)
    for name, (version, kind, size) in sorted(symbols.items()):
        if name == version:  # the name of a version itself
            continue
        section = {"function": ".text", "object": ".data", "tls_object": '.section .tdata,"awT",%progbits'}[kind]
        lines += [section, f'.globl "{name}"', f'.type "{name}", %{kind}', f'.size "{name}", {size}']
        lines += [f'"{name}": .skip {size if kind != "function" else 4}']
        versions[version].append(name)
    folder.mkdir(parents=True, exist_ok=True)
    source, script, stub = (folder / f"{library.name}{suffix}" for suffix in (".s", ".map", ""))
    source.write_text("\n".join(lines) + "\n")
    nodes = (f"{version} {{ global: {' '.join(f'{n};' for n in names)} }};\n" for version, names in versions.items())
    script.write_text("".join(nodes))
    command = [compiler, "-shared", "-nostdlib", "-Wl,--no-gc-sections", f"-Wl,-soname,{library.name}"]
    subprocess.run([*command, f"-Wl,--version-script={script}", str(source), "-o", str(stub)], check=True)
    return stub
