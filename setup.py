"""Build the one compiled module; everything else about the project is in pyproject.toml."""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("PRESENCE_DEBUG") == "1"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "cdivision": not DEBUG,
    "initializedcheck": DEBUG,
    "embedsignature": True,
}

EXTENSION = Extension(
    "presence._fastcore",
    ["presence/_fastcore.pyx"],
    # -O3 without -march: SSE2 is the baseline of x86-64 and more gained nothing when measured.
    extra_compile_args=["-O1", "-g", "-UNDEBUG"] if DEBUG else ["-O3", "-g0"],
    define_macros=[("PRESENCE_DEBUG", "1" if DEBUG else "0")],
    depends=["presence/_fastcore.pxd"] + [f"presence/_fast/{name}" for name in sorted(os.listdir("presence/_fast"))],
)

setup(ext_modules=cythonize([EXTENSION], compiler_directives=DIRECTIVES, force=DEBUG))
