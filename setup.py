"""Build of the compiled modules; everything else about the project stands in pyproject.toml.

GSRT_SANITIZE=address,undefined in the environment builds them with those sanitizers, in a build tree of their own.
GSRT_SODIUM=/a/prefix links them with the libsodium.a of that place, which becomes part of the module that uses it.
"""

from __future__ import annotations

import os
from glob import glob

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

SANITIZERS = os.environ.get("GSRT_SANITIZE", "")

if SANITIZERS:
    BUILD_BASE = "build/sanitize"
    COMPILE = ["-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZERS}", "-fno-sanitize-recover=all"]
    LINK = [f"-fsanitize={SANITIZERS}"]
else:
    BUILD_BASE = "build"
    COMPILE = ["-O2", "-g0"]
    LINK = []

SODIUM = os.environ.get("GSRT_SODIUM", "")


def compiled(name: str) -> Extension:
    """The extension module `gsrt.NAME`, made from gsrt/NAME.pyx and what is shared at C level."""
    return Extension(
        f"gsrt.{name}",
        [f"gsrt/{name}.pyx"],
        depends=sorted(glob("gsrt/*.pxd")),
        extra_compile_args=COMPILE,
        extra_link_args=[*LINK],
    )


def with_sodium(extension: Extension) -> Extension:
    """The extension, linked with libsodium: the system's, or the static one that GSRT_SODIUM names."""
    if SODIUM:
        extension.include_dirs.append(f"{SODIUM}/include")
        extension.extra_objects.append(f"{SODIUM}/lib/libsodium.a")
    else:
        extension.libraries.append("sodium")
    return extension


# Made by cffi, which has its C file under build/ as well.
FROM_CFFI = "gsrt.device._linux"


class BuildExtensions(build_ext):
    """build_ext that makes C of .pyx only when it really builds, and leaves it under build/, not in the package."""

    def run(self) -> None:
        from Cython.Build import cythonize

        sources = cythonize(
            self.extensions,
            build_dir="build/cython",
            compiler_directives={"language_level": 3, "boundscheck": True, "binding": False},
        )
        # Only the sources: setuptools has already put notes of its own on the extension objects.
        for extension, generated in zip(self.extensions, sources, strict=True):
            extension.sources = generated.sources
            if extension.name == FROM_CFFI:
                extension.extra_compile_args, extension.extra_link_args = COMPILE, LINK
        super().run()


setup(
    packages=[*find_packages(include=["gsrt", "gsrt.*"]), "gsrt.firmware_profiles"],
    package_dir={"gsrt.firmware_profiles": "firmware_profiles"},
    package_data={"gsrt": ["py.typed", "*.pyi"], "gsrt.firmware_profiles": ["*.toml"]},
    include_package_data=False,
    ext_modules=[
        *(compiled(name) for name in ("_core", "_link", "_links", "_linkdump", "_relay", "_meter", "_guard", "_guest")),
        with_sodium(compiled("_sodium")),
    ],
    cffi_modules=["gsrt/device/_linux_build.py:ffi"],
    cmdclass={"build_ext": BuildExtensions},
    options={"build": {"build_base": BUILD_BASE}},
    zip_safe=False,
)
