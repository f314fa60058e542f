#!/usr/bin/env python3
"""The Python package's module beside NVIDIA's operations and the plain convolution, as a user of PyTorch calls them.

    bench/compare_modules.py                          # the 2-D table, forward, batch 1
    bench/compare_modules.py --backward
    bench/compare_modules.py --overhead               # what a call costs beside its work: [1,1,4,4]
    bench/compare_modules.py --memory                 # peak of forward and backward, [N,64,256,256]->128 k9 p3

compare_pytorch.py times the library itself; here everything that Python and autograd add is in. The contenders take turns in
rounds; a cell is the median of the rounds.
"""
import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "python"))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", choices=["2d", "3d", "multi"], default="2d")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--backward", action="store_true", help="forward and backward")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slice", type=float, default=30, metavar="MS", help="of one contender in one round; default: 30")
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--images", type=int, default=1, metavar="N", help="of --memory; default: 1")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--malloc", choices=["keep", "system"], default="keep",
                        help="keep: nobody is charged for fresh pages, as in compare_pytorch.py; default: keep")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--peak-of", choices=["pconv", "nvidia", "torch_pconv", "plain"], help=argparse.SUPPRESS)
    return parser.parse_args()


def contenders(torch, row, options):
    """Functions without arguments. Each call has a mask that no call before it had: its contents were just written."""
    import nvidia_eager
    import pconv.nn

    torch.manual_seed(0)
    arguments = (row.in_channels, row.out_channels, row.kernel, row.stride, row.padding, row.dilation, row.groups, row.bias)
    more = {"multi_channel": row.multi_channel}
    ours = getattr(pconv.nn, f"PartialConv{row.dims}d")(*arguments, **more).to(options.device)
    plain = getattr(torch.nn, f"Conv{row.dims}d")(*arguments).to(options.device)
    theirs = nvidia_eager.PartialConv(row.dims, *arguments, **more).to(options.device)
    form = {3: torch.contiguous_format, 4: torch.channels_last, 5: torch.channels_last_3d}[row.dims + 2]
    for module in (ours, plain, theirs):
        if options.channels_last:
            module.to(memory_format=form)
    x = torch.randn(row.input_shape, device=options.device)
    if options.channels_last:
        x = x.contiguous(memory_format=form)
    x.requires_grad_(bool(options.backward))
    mask = None if row.mask == "none" else torch.ones(row.mask_shape, device=options.device)
    if row.mask == "random":
        mask = (torch.rand(row.mask_shape, device=options.device) > 0.5).float()
    grad = torch.randn(row.output_shape, device=options.device)

    def writes(mask):
        if mask is not None:
            mask[..., :1].mul_(1)  # counted as a write: the mask side is computed anew

    def run(call):
        if options.backward is None:
            return call()
        if not options.backward:
            with torch.no_grad():
                return call()
        x.grad = None
        call().backward(grad)
        return None

    def with_mask(module):
        writes(mask)
        return module(x, mask)

    # A mask that is kept shows what is gained where it does not change.
    return {
        "pconv": lambda: run(lambda: with_mask(ours)),
        "nvidia": lambda: run(lambda: with_mask(theirs)),
        "plain": lambda: run(lambda: plain(x)),
        "pconv, kept mask": lambda: run(lambda: ours(x, mask)),
    }


def timed(torch, functions, options):
    """Median seconds a call of each, in turns."""
    wait = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    counts, times = {}, {name: [] for name in functions}
    for name, function in functions.items():
        function()
        function()
        wait()
        begun = time.perf_counter()
        function()
        wait()
        counts[name] = max(1, int(options.slice / 1000 / (time.perf_counter() - begun)))
    for _ in range(options.rounds):
        for name, function in functions.items():
            begun = time.perf_counter()
            for _ in range(counts[name]):
                function()
            wait()
            times[name].append((time.perf_counter() - begun) / counts[name])
    return {name: statistics.median(t) for name, t in times.items()}


def mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def table(torch, options):
    import seed_tables

    rows = [r for r in seed_tables.rows((options.table,))]
    results = []
    names = ("pconv", "nvidia", "plain", "pconv, kept mask")
    print(f"{'row':24} {'shape':28}" + "".join(f"{n + ' ms':>20}" for n in names) + f"{'nvidia/':>10}{'plain/':>10}")
    for row in rows:
        import dataclasses

        row = dataclasses.replace(row, batch=options.batch)
        t = timed(torch, contenders(torch, row, options), options)
        results.append({"name": row.name, "shape": row.shape_text(), "seconds": t})
        print(f"{row.name:24} {row.shape_text():28}" + "".join(f"{1e3 * t[n]:20.3f}" for n in names)
              + f"{t['nvidia'] / t['pconv']:10.2f}{t['plain'] / t['pconv']:10.2f}", flush=True)
    means = {n: mean([r["seconds"][n] / r["seconds"]["pconv"] for r in results]) for n in ("nvidia", "plain")}
    print(f"geometric means: nvidia/pconv {means['nvidia']:.2f}, plain/pconv {means['plain']:.2f}")
    return {"rows": results, "means": means}


def overhead(torch, options):
    import seed_tables

    results = {}
    row = seed_tables.Row("overhead", "tiny", "full", False, True, 1, 1, 1, 1, (4, 4), (3, 3), (1, 1), (1, 1), (1, 1))
    written = torch.ones(row.mask_shape)
    for backward, text in ((False, "forward, no gradients"), (None, "forward with a graph"), (True, "forward and backward")):
        options.backward = backward
        functions = contenders(torch, row, options)
        write = lambda: written[..., :1].mul_(1)
        # The plain convolution behind a write too: what lies between two calls takes the processor's caches from all alike.
        plain = functions["plain"]
        t = timed(torch, {**functions, "plain, after a write": lambda: (write(), plain()), "write": write}, options)
        spent = t.pop("write")  # before each call: not the modules' own
        for name in ("pconv", "nvidia", "plain, after a write"):
            t[name] -= spent
        print(f"[1,1,4,4], {text}: " + ", ".join(f"{n} {1e6 * s:.1f} us ({s / t['plain']:.2f})" for n, s in t.items())
              + f"; pconv over plain, after a write {t['pconv'] / t['plain, after a write']:.2f}")
        results[text] = t
    return results


def peak_of(name, options):
    """In a process of its own: the growth of the largest resident set over what inputs and weights take."""
    import torch

    torch.set_num_threads(options.threads)
    x = torch.randn(options.images, 64, 256, 256, requires_grad=True)
    planes = (torch.rand(options.images, 256, 256) > 0.5).float()
    if name == "pconv":
        from pconv.compat.torch_pconv import PConv2d

        module, call = PConv2d(64, 128, 9, padding=3, bias=True), lambda m: m(x, planes)[0]
    elif name == "torch_pconv":
        import torch_pconv_eager

        module, call = torch_pconv_eager.PConv2d(64, 128, 9, 3), lambda m: m(x, planes)
    elif name == "nvidia":
        import nvidia_eager

        module = nvidia_eager.PartialConv(2, 64, 128, 9, 1, 3, multi_channel=True)
        call = lambda m: m(x, planes[:, None].expand(-1, 64, -1, -1))
    else:
        module, call = torch.nn.Conv2d(64, 128, 9, padding=3), lambda m: m(x)
    # A small pass first, so that libraries and their threads are in memory.
    torch.nn.Conv2d(4, 4, 3)(torch.randn(1, 4, 8, 8)).sum().backward()
    status = pathlib.Path("/proc/self/status")
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    value = lambda key: int(next(line for line in status.read_text().splitlines() if line.startswith(key)).split()[1])
    before = value("VmRSS")
    call(module).sum().backward()
    print(json.dumps((value("VmHWM") - before) * 1024))


def memory(options):
    peaks = {}
    for name in ("pconv", "nvidia", "torch_pconv", "plain"):
        command = [sys.executable, __file__, "--peak-of", name, "--images", str(options.images), "--threads", str(options.threads)]
        peaks[name] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    text = ", ".join(f"{n} {p / 2**20:.0f} MiB ({p / peaks['nvidia']:.2f} of NVIDIA's)" for n, p in peaks.items())
    print(f"[{options.images},64,256,256]->128 k9 p3, forward and backward, peak beyond inputs and weights: {text}")
    return peaks


def main():
    options = parse()
    if options.peak_of:
        return peak_of(options.peak_of, options)
    import torch

    torch.set_num_threads(options.threads)
    print(f"PyTorch {torch.__version__}, {options.threads} threads")
    if options.malloc == "keep" and not options.memory:
        import compare_pytorch

        compare_pytorch.keep_freed_memory()
    if options.memory:
        result = memory(options)
    elif options.overhead:
        result = overhead(torch, options)
    else:
        result = table(torch, options)
    if options.json:
        options.json.write_text(json.dumps({"pytorch": torch.__version__, "result": result}, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
