#!/usr/bin/env python3
"""Whether Metal takes the sizes of the arrays in what spirv-cross makes of every shader: MoltenVK compiles just that.

A size must be a constant to the compiler: a number, or a macro that MoltenVK defines for a specialization constant. What
comes from a function constant, by however many steps, is none.

Usage: metal_arrays.py FOLDER_OF_SPIRV
Ends with 77 where spirv-cross is not installed.
"""
import pathlib
import re
import shutil
import subprocess
import sys

WORD = re.compile(r"[A-Za-z_]\w*")


def offending(text):
    """The names in sizes of arrays that are no constants."""
    variable = set(re.findall(r"constant \w+ (\w+) \[\[function_constant", text))
    made_of = dict(re.findall(r"constant \w+ (\w+)(?: \[\[maybe_unused\]\])? = (.*);", text))
    grown = True
    while grown:
        more = {name for name, value in made_of.items() if variable.intersection(WORD.findall(value))} - variable
        variable |= more
        grown = bool(more)
    sizes = re.findall(r"spvUnsafeArray<[^;]*?, ([^<>,]+)>", text)
    sizes += re.findall(r"\b(?:float|int|uint|bool|[A-Z]\w*)\d? \w+((?:\[[^\[\]]+\])+);", text)
    return sorted({name for size in sizes for name in WORD.findall(size) if name in variable})


def main():
    compiler = shutil.which("spirv-cross")
    if compiler is None:
        print("skipped: spirv-cross is not installed (Debian: spirv-cross)")
        return 77
    # Metal's drivers have no cooperative matrices.
    shaders = sorted(path for path in pathlib.Path(sys.argv[1]).glob("*.spv") if "coopmat" not in path.stem)
    bad = 0
    for shader in shaders:
        metal = subprocess.run([compiler, "--msl", "--msl-version", "20000", str(shader)], check=True,
                               capture_output=True, text=True).stdout
        names = offending(metal)
        if names:
            print(f"{shader.stem}: sizes of arrays that are no constants in Metal: {', '.join(names)}")
            bad += 1
    print(f"{len(shaders)} shaders, {bad} that Metal rejects")
    return 1 if bad or not shaders else 0


if __name__ == "__main__":
    sys.exit(main())
