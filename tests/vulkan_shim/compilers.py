#!/usr/bin/env python3
"""Asks the compilers of GPUs that are not here what they make of every pipeline that such a device is given by default.

They are Mesa's, over its "drm-shims", which stand in for the kernel's drivers. They come with Debian's mesa-vulkan-drivers and
mesa-drm-shim, from Mesa 26 on in a folder with a Debian of its own: debootstrap sid FOLDER, both packages in it, and the folders
/proc, /dev, /tmp and that of the build bound into it. To be run as root, for chroot.

Usage: compilers.py FOLDER BUILD_FOLDER [DEVICE...] > docs/results/vulkan_compilers.md

Ends with 1 where a pipeline was not made, or where one spills registers on a device that it is held to.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
# Name, what it stands for, the stand-in for the kernel's driver, its setting, the Vulkan driver.
DEVICES = {
    "navi21": ("AMD RDNA2", "amdgpu", "AMDGPU_GPU_ID=navi21", "radeon"),
    "navi31": ("AMD RDNA3", "amdgpu", "AMDGPU_GPU_ID=navi31", "radeon"),
    "vega10": ("AMD GCN5", "amdgpu", "AMDGPU_GPU_ID=vega10", "radeon"),
    "ampere": ("NVIDIA Ampere, by NVK", "nouveau", "NOUVEAU_CHIPSET=0x174", "nouveau"),
    "adreno660": ("Qualcomm Adreno 660", "freedreno", "FD_GPU_ID=660", "freedreno"),
    "m1": ("Apple M1", "asahi", "ASAHI=1", "asahi"),
}
REGISTERS = ("VGPRs", "Number of GPRs", "Registers", "GPRs", "Max Full Registers", "Full registers")
WAVES = ("Subgroups per SIMD", "Max warps/SM", "Max Waves Per Core", "Threads", "Max Threads")
CYCLES = ("Inverse Throughput", "Static cycle count", "ALU", "Instruction Count", "Instructions")


def compile_all(root, build, name):
    _, kernel, setting, driver = DEVICES[name]
    with tempfile.TemporaryDirectory(dir=f"{root}/tmp") as folder:
        inside = "/tmp/" + pathlib.Path(folder).name
        environment = [
            f"LD_PRELOAD={LIBRARIES}/lib{kernel}_noop_drm_shim.so", setting,
            f"VK_DRIVER_FILES=/usr/share/vulkan/icd.d/{driver}_icd.json", f"HOME={inside}", "MESA_SHADER_CACHE_DISABLE=1",
            f"PCONV_CACHE_DIR={inside}", f"PCONV_SHIM_STATISTICS={inside}/statistics",
            f"PCONV_VULKAN_LOADER={build}/lib/libpconv_vulkan_shim.so",
        ]
        run = subprocess.run(["chroot", root, "/usr/bin/env", "-i", *environment, f"{build}/bin/pconv_vulkan_compile_all"],
                             capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(f"{name}: {run.stderr or run.stdout}")
        lines = pathlib.Path(folder, "statistics").read_text().splitlines()
    pipelines = []
    for line in lines:
        what, *values = line.split("\t")
        pipelines.append((what, {key: float(value) for key, value in (v.rsplit("=", 1) for v in values)}))
    return run.stdout.strip(), pipelines


def first(values, names):
    for name in names:
        if name in values:
            return f"{values[name]:.0f}"
    return ""


def spills(values):
    """To memory: registers of a whole wave that are kept in lanes of others cost little."""
    return int(sum(value for name, value in values.items()
                   if re.search("spill|scratch size", name, re.I) and not re.search("SGPR|to reg", name)))


def main():
    root, build, *names = sys.argv[1:]
    print("# What the compilers of GPUs make of the Vulkan backend's pipelines")
    print("By `tests/vulkan_shim/compilers.py`: what each device is given by default, for the layers in `compile_all.cpp`. Nothing ran.")
    bad = False
    for name in names or DEVICES:
        said, pipelines = compile_all(root, build, name)
        spilling = [(what, values) for what, values in pipelines if spills(values) > 0]
        failed = [what for what, values in pipelines if "failed" in values]
        bad = bad or bool(spilling) or bool(failed) or not pipelines
        print(f"\n## {DEVICES[name][0]} ({name})\n{said}; {len(pipelines)} pipelines, {len(failed)} not made, "
              f"{len(spilling)} spill to memory.\n")
        print("| pipeline and its constants | registers | waves | cycles, as the compiler counts them | spills |")
        print("| --- | --- | --- | --- | --- |")
        shown = [entry for entry in pipelines if re.match("partial_conv|grad_(input|weight)", entry[0]) or entry in spilling]
        for what, values in shown:
            print(f"| {what} | {first(values, REGISTERS)} | {first(values, WAVES)} | {first(values, CYCLES)} | {spills(values)} |")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
