"""What a wheel is looked at for: what it holds, what machine its code is for, and what it needs there."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from cross.targets import Target
from cross.tree import source_files
from cross.workshop import Workshop

# readelf's word for the machine, and of ARM's attributes what the code may use at most
MACHINES = {
    "x86_64": "Advanced Micro Devices X86-64",
    "aarch64": "AArch64",
    "armv7l": "ARM",
    "armv6l": "ARM",
}
_HARD_FLOAT = {"Tag_ABI_VFP_args": ("VFP registers",)}
ATTRIBUTES: dict[str, dict[str, tuple[str, ...]]] = {
    "armv7l": {"Tag_CPU_arch": ("v7",), "Tag_FP_arch": ("VFPv3-D16",), **_HARD_FLOAT},
    "armv6l": {"Tag_CPU_arch": ("v6", "v6K", "v6KZ"), "Tag_FP_arch": ("VFPv2",), **_HARD_FLOAT},
}
SODIUM_LICENCE = "LICENSE.libsodium"
LIBRARIES = re.compile(r"lib(c|m|dl|pthread)\.so\.\d+|ld-linux[-\w]*\.so\.\d+")


def expected_files(tree: Path, suffix: str, abi3: tuple[str, ...]) -> set[str]:
    """The files below gsrt/ that a wheel holds whose compiled modules end in `suffix`; `abi3` names those modules that
    any Python takes."""
    files = set()
    for path in source_files(tree):
        if path.parts[0] == "firmware_profiles":
            files.add(f"gsrt/{path}")
        elif path.suffix == ".pyx":
            files.add(f"{str(path)[: -len('.pyx')]}{suffix}")
        elif (path.parts[0] == "gsrt" and path.suffix in (".py", ".pyi")) or path.name == "py.typed":
            files.add(str(path))
    return files | {f"{name}.abi3.so" for name in abi3}


def attributes(readelf: str) -> dict[str, str]:
    """What `readelf --arch-specific` says, by tag."""
    return dict(re.findall(r"^\s*(Tag_\w+): (.*?)\s*$", readelf, re.MULTILINE))


def needed_libraries(readelf: str) -> list[str]:
    """What `readelf --dynamic` says is needed."""
    return re.findall(r"\(NEEDED\)\s+Shared library: \[(.*?)\]", readelf)


def check_module(path: Path, target: Target) -> None:
    """The compiled module is for the target, and needs the C library at most. Raises SystemExit."""
    said = _readelf("--file-header", path)
    if f"Machine:                           {MACHINES[target.name]}" not in said:
        raise SystemExit(f"{path} is for another machine than {target.name}:\n{said}")
    found = attributes(_readelf("--arch-specific", path))
    for tag, values in ATTRIBUTES.get(target.name, {}).items():
        if found.get(tag) not in values:
            raise SystemExit(f"{path}: {tag} is {found.get(tag)}, not {' or '.join(values)}")
    for library in needed_libraries(_readelf("--dynamic", path)):
        if not LIBRARIES.fullmatch(library):
            raise SystemExit(f"{path} needs {library}")


def check_wheel(workshop: Workshop, tree: Path, wheel: Path, target: Target, tag: str) -> None:
    """Raises SystemExit with what is wrong."""
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if name.startswith("gsrt/")}
        if not any(name.endswith(f".dist-info/licenses/{SODIUM_LICENCE}") for name in packed.namelist()):
            raise SystemExit(f"{wheel.name} lacks {SODIUM_LICENCE}")
    abi3 = tuple(name[: -len(".abi3.so")] for name in names if name.endswith(".abi3.so"))
    wanted = expected_files(tree, f".cpython-{tag}-{target.triple}.so", abi3)
    if names != wanted:
        lines = [f"missing: {name}" for name in sorted(wanted - names)]
        lines += [f"not to be there: {name}" for name in sorted(names - wanted)]
        raise SystemExit(f"{wheel.name}:\n" + "\n".join(lines))
    with tempfile.TemporaryDirectory(dir=workshop.folder) as folder, zipfile.ZipFile(wheel) as packed:
        for name in sorted(name for name in names if name.endswith(".so")):
            check_module(Path(packed.extract(name, folder)), target)
    if target.platform.startswith("manylinux"):
        auditwheel = workshop.python.parent / "auditwheel"
        done = subprocess.run([auditwheel, "show", wheel], capture_output=True, text=True)
        consistent = rf'consistent with\s+the following platform tag:\s+"{target.platform}"'
        if done.returncode != 0 or not re.search(consistent, done.stdout):
            sys.stderr.write(done.stdout + done.stderr)
            raise SystemExit(f"{wheel.name} is not what its name says")


def _readelf(option: str, path: Path) -> str:
    return subprocess.run(["readelf", option, path], check=True, capture_output=True, text=True).stdout
