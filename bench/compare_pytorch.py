#!/usr/bin/env python3
"""Compares pconv with PyTorch, in one process, on PyTorch's own tensors and stream.

Four compute each row of the benchmark tables (bench/seed_benchmarks.json):
  pconv     this library, through its C API
  eager     the published PyTorch module's operations, one after another (bench/nvidia_eager.py)
  compiled  the same under torch.compile, where PyTorch has it
  plain     PyTorch's convolution alone: no mask, no ratio

They run in turn, each for a while before it is timed, over sets of inputs larger than the last cache; times are medians of the rounds, with half the
distance of the quartiles. Every call of pconv and eager computes the mask side, as for a mask that is new; in the columns
"kept mask" neither does. On the CPU pconv has a second turn, with fast math. Without a mask it is computed once, as the published
module does. Results lie in memory from PyTorch's allocator, those of layers in a new tensor each call. pconv's weights are packed beforehand; with --backward they
are set anew in every call. `agrees` is the largest difference between pconv (and pconv with fast math) and the eager module run in float64, as a
part of the bound in docs/semantics.md: at most 1. Networks are one object in pconv and a chain of modules in PyTorch; the bounds
of their layers are carried on as errors of independent signs.
"""
import argparse
import ctypes
import dataclasses
import gc
import json
import math
import os
import pathlib
import platform
import re
import sys

import pconv_ctypes as pconv

SKIPPED = 77  # what ctest is told to take for "skipped"
EXAMPLES = """examples:
  compare_pytorch.py --batch 1 --threads 2                           the 2-D table on the CPU
  compare_pytorch.py --device cuda --table all --precision fast      everything on a GPU, TF32 allowed
  compare_pytorch.py --batch 1 --filter 'strided|grouped' --backward --layout both
  compare_pytorch.py --check --batch 2 --shrink 8 --table all        are all results right?

Exit status: 0 where everything agrees, 1 where something does not or cannot run, 2 for wrong options, 77 where PyTorch or
the device is not there."""


class Refusal(Exception):
    def __init__(self, line, status=2):
        super().__init__(line)
        self.status = status


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Refusal(f"{message}; see --help")


def parse(words):
    parser = Parser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    positive = lambda text: int(text) if text.isdigit() and int(text) > 0 else parser.error(
        f"'{text}' is not a number above 0")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    parser.add_argument("--table", choices=["2d", "3d", "multi", "2d_networks", "3d_networks", "presets", "all"], default="2d",
                        help="multi: one row with a mask for every channel; presets: networks that the library knows by name, "
                        "in f32; default: 2d")
    parser.add_argument("--filter", metavar="RE", default="", help="only rows whose name has this in it, in any case")
    parser.add_argument("--batch", type=positive, metavar="N", help="every row with this batch size instead of its own")
    parser.add_argument("--shrink", type=positive, metavar="K", default=1, help="divide channels and sizes by K")
    parser.add_argument("--precision", choices=["f32", "fast", "f16", "bf16"], default="f32",
                        help="fast: f32 with TF32 allowed to all on CUDA, with Winograd in pconv on the CPU; default: f32")
    parser.add_argument("--layout", choices=["contiguous", "channels_last", "both"], default="contiguous",
                        help="of inputs, results and PyTorch's weights; default: contiguous")
    parser.add_argument("--backward", action="store_true", help="the forward and the backward pass together")
    parser.add_argument("--threads", type=positive, metavar="N", default=os.cpu_count(), help="on the CPU; default: all")
    parser.add_argument("--rounds", type=positive, metavar="N", default=15, help="default: 15")
    parser.add_argument("--slice", type=positive, metavar="MS", default=20,
                        help="how long each runs in each round; default: 20")
    parser.add_argument("--cache", type=positive, metavar="MB",
                        help="size of the last cache; default: the CPU's own, 128 on CUDA")
    parser.add_argument("--malloc", choices=["keep", "system"], default="keep",
                        help="keep: the process keeps what is freed, so that PyTorch's results on the CPU are not charged for "
                        "fresh pages; system: glibc's own rule, by which large ones are until one as large has been freed, so "
                        "that a row depends on those before it: run them one by one; default: keep")
    parser.add_argument("--check", action="store_true",
                        help="time nothing; hold pconv to the eager module in float64, and that one to the reference cases "
                        "under tests/; how far PyTorch's own results are is told")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write everything measured there, too")
    parser.add_argument("--library", metavar="FILE",
                        help="libpconv; default: PCONV_LIBRARY, else build/release, else the installed one")
    arguments = parser.parse_args(words)
    try:
        re.compile(arguments.filter)
    except re.error as error:
        parser.error(f"--filter: '{arguments.filter}' is not a regular expression: {error}")
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no folder '{arguments.json.absolute().parent}'; expected one that is there")
    return arguments


def last_cache_bytes():
    sizes = [0]
    for path in pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        if text[:-1].isdigit() and text[-1] in "KM":
            sizes.append(int(text[:-1]) << (10 if text[-1] == "K" else 20))
    return max(sizes) or 32 << 20


def keep_freed_memory():
    """As any program can ask of glibc, and as allocators that are used with PyTorch do."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        trim_threshold, mmap_max = -1, -4
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_max, 0)


def import_torch():
    try:
        import torch
    except ImportError:
        raise Refusal("no PyTorch for this Python; expected the package torch (Debian: python3-torch, for /usr/bin/python3)",
                      SKIPPED)
    return torch


def open_device(arguments, torch):
    library = pconv.Library(arguments.library)
    if arguments.device == "cpu":
        torch.set_num_threads(arguments.threads)
        return library, pconv.Device(library, arguments.threads)
    if not torch.cuda.is_available():
        raise Refusal("PyTorch sees no CUDA device; expected one, with a build of PyTorch for it, or --device cpu", SKIPPED)
    torch.cuda.set_stream(torch.cuda.Stream())  # the default one cannot be recorded
    number = torch.cuda.current_device()
    return library, pconv.Device(library, cuda=(number, torch.cuda.current_stream().cuda_stream))


def environment(arguments, torch, library, device):
    info = device.info()
    build = torch.__config__.show()
    fact = lambda pattern: next(iter(re.findall(pattern, build)), "unknown")
    facts = {
        "device": info.name.decode(), "driver": info.driver.decode(), "pconv": ".".join(map(str, library.version)),
        "pytorch": torch.__version__, "threads": arguments.threads if arguments.device == "cpu" else None,
    }
    if arguments.device == "cpu":
        facts["pytorch_onednn"] = fact(r"MKL-DNN (v\S+)") if torch.backends.mkldnn.is_available() else "none"
        facts["pytorch_kernels"] = fact(r"CPU capability usage: (\S+)")
    else:
        facts["cuda"], facts["cudnn"] = torch.version.cuda, torch.backends.cudnn.version()
    return facts


def choices_of(arguments, torch, channels_last):
    import contest
    cache = (arguments.cache << 20) if arguments.cache else last_cache_bytes() if arguments.device == "cpu" else 128 << 20
    dtype = {"f16": torch.float16, "bf16": torch.bfloat16}.get(arguments.precision, torch.float32)
    return contest.Choices(arguments.device, dtype, arguments.precision == "fast", channels_last, arguments.backward,
                           arguments.rounds, arguments.slice / 1000, 0 if arguments.check else cache)


def chosen_rows(arguments):
    import seed_tables
    tables = seed_tables.TABLES if arguments.table == "all" else (arguments.table,)
    if arguments.backward:
        tables = tuple(t for t in tables if t in seed_tables.LAYERS)
        if not tables:
            raise Refusal(f"--backward: networks have no backward pass; expected --table {', '.join(seed_tables.LAYERS)} or all")
    rows = [r for r in seed_tables.rows(tables) if re.search(arguments.filter, r.name, re.IGNORECASE)]
    if not rows:
        names = ", ".join(r.name for r in seed_tables.rows(tables))
        raise Refusal(f"--filter '{arguments.filter}' leaves no row of table {arguments.table}; expected a part of one of: {names}")
    rows = [r.shrunk(arguments.shrink) if arguments.shrink > 1 else r for r in rows]
    return [dataclasses.replace(r, batch=arguments.batch) if arguments.batch else r for r in rows]


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def contest_of(row):
    import contest
    import network_contest
    if row.is_preset:
        import preset_contest
        return preset_contest.PresetContest
    return network_contest.NetworkContest if row.is_network else contest.Contest


def measured(contest, worst):
    """A row as it goes into the JSON file."""
    row, times, peaks = contest.row, contest.measure(progress), contest.peak_bytes()
    progress("")
    own = {"pconv": times["pconv"], "kept": times.get("pconv, kept mask")}
    ratios = {name: times[name].median / own["pconv"].median for name in ("eager", "compiled", "plain") if name in times}
    if "pconv, fast" in times:
        ratios |= {f"{name}, over fast": times[name].median / times["pconv, fast"].median for name in tuple(ratios)}
    if "eager, kept mask" in times:
        ratios["eager, kept mask"] = times["eager, kept mask"].median / own["kept"].median
    return {
        "table": row.table, "name": row.name, "shape": row.shape_text(), "mask": row.mask, "output": list(row.output_shape),
        "layout": "channels_last" if contest.choices.channels_last else "contiguous",
        "implementation": contest.ours.implementation(),
        "times": {name: {"median_ms": t.median * 1e3, "spread": t.spread, "ms": [s * 1e3 for s in t.seconds]}
                  for name, t in times.items()},
        "ratios": ratios, "absent": contest.absent, "agrees": worst,
        "bytes": {"inputs_weights_output": contest.base_bytes(), "beyond_inputs_and_weights": peaks},
    }


COLUMNS = [("pconv", "ms"), ("eager", "ms"), ("compiled", "ms"), ("plain", "ms"), ("eager", "x"), ("compiled", "x"), ("plain", "x"),
           ("pconv, fast", "ms"), ("eager, over fast", "x"), ("compiled, over fast", "x"), ("plain, over fast", "x"),
           ("pconv, kept mask", "ms"), ("eager, kept mask", "ms"), ("eager, kept mask", "x")]


def cell(result, name, kind):
    if kind == "x":
        return f"{result['ratios'][name]:.2f}" if name in result["ratios"] else "-"
    time = result["times"].get(name)
    return f"{time['median_ms']:.3f} ±{100 * time['spread']:.0f}%" if time else "-"


def heading(columns):
    names = {("eager", "x"): "eager/", ("compiled", "x"): "compiled/", ("plain", "x"): "plain/", ("pconv, kept mask", "ms"): "kept: pconv",
             ("pconv, fast", "ms"): "fast: pconv", ("eager, over fast", "x"): "eager/", ("compiled, over fast", "x"): "compiled/",
             ("plain, over fast", "x"): "plain/",
             ("eager, kept mask", "ms"): "eager", ("eager, kept mask", "x"): "eager/"}
    return "".join(f"{names.get(c, c[0]):>{13 if c[1] == 'ms' else 9}}" for c in columns)


def print_row(result, columns):
    cells = "".join(f"{cell(result, *c):>{13 if c[1] == 'ms' else 9}}" for c in columns)
    beyond = result["bytes"]["beyond_inputs_and_weights"]
    agrees = "/".join(f"{worst:.3f}" for worst in result["agrees"].values())
    memory = "/".join(f"{beyond[n] / 1e6:.1f}" for n in ("pconv", "eager", "plain") if n in beyond)
    print(f"{result['name']:24} {result['shape']:26}{cells} {memory:>12} {agrees:>12}", flush=True)


def print_means(results, columns):
    means = {}
    for name, kind in columns:
        if kind == "x":
            means[name] = geometric_mean([r["ratios"][name] for r in results if name in r["ratios"]])
    line = "".join(f"{'' if kind == 'ms' or means[name] is None else f'{means[name]:.2f}':>{13 if kind == 'ms' else 9}}"
                   for name, kind in columns)
    print(f"{'geometric mean':51}{line}", flush=True)
    return means


def attempt(row, device, choices, faults, work):
    """What work(contest) answers. A fault of one row, such as too little memory, is told and leaves the others."""
    try:
        return work(contest_of(row)(device, row, choices))
    except (RuntimeError, MemoryError) as error:
        progress("")
        faults.append(f"{row.table} {row.name}: {' '.join(str(error).split()) or type(error).__name__}")
        return None
    finally:
        gc.collect()  # contenders refer to their contest


def time_table(rows, device, choices, arguments):
    results, faults, columns = [], [], None
    for row in rows:
        progress(f"{row.name}: making inputs")
        result = attempt(row, device, choices, faults,
                         lambda match: measured(match, match.agreements()))
        if result is None:
            continue
        results.append(result)
        if columns is None:
            columns = [c for c in COLUMNS if not c[0].startswith("compiled") or "compiled" in results[0]["times"]]
            columns = [c for c in columns if "fast" not in c[0] or "pconv, fast" in results[0]["times"]]
            passes = "forward and backward" if choices.backward else "forward"
            print(f"\n{row.table}, {results[0]['layout']}, {arguments.precision}, {passes}: ms; NAME/ is NAME's time divided by pconv's")
            print(f"{'row':24} {'shape':26}{heading(columns)} {'MB beyond':>12} {'agrees':>12}")
        print_row(results[-1], columns)
        faults += [f"{row.table} {row.name}: {name} is {worst:.3g} times as far from the eager module as the bound allows"
                   for name, worst in result["agrees"].items() if not worst <= 1]
    means = print_means(results, columns) if results else {}
    for reason in sorted({f"{name} is absent: {reason}" for r in results for name, reason in r["absent"].items()}):
        print(reason)
    return results, means, faults


def check_table(rows, device, choices):
    import torch
    faults = []
    layout = "channels_last" if choices.channels_last else "contiguous"
    for row in rows:
        names = ["pconv"] + (["pconv, kept mask"] if row.mask == "full" else [])
        if choices.dtype == torch.float32:  # in f16 the mask side of the modules overflows
            names += ["eager", "compiled"]
        answer = attempt(row, device, choices, faults,
                         lambda match: (match.ours.implementation(), match.agreement(choices.fast).worst(names)))
        if answer is None:
            continue
        implementation, worst = answer
        print(f"{row.table:11} {row.name:24} {row.shape_text():26}{layout:13} {implementation:14}  "
              + "  ".join(f"{name} {value:.3f}" for name, value in worst.items()), flush=True)
        faults += [f"{row.table} {row.name}: {name} is {value:.3g} times as far from the reference as the bound allows"
                   for name, value in worst.items() if name.startswith("pconv") and not value <= 1]
    return faults


def check_cases():
    import reference_cases
    count, faults = reference_cases.check()
    print(f"eager module: {count} reference cases, {len({f.split(':')[0] for f in faults})} off", flush=True)
    return faults if count else ["no reference cases; expected tests/conformance/cases/nvidia*.safetensors"]


def run(arguments):
    if arguments.malloc == "keep":
        keep_freed_memory()
    torch = import_torch()
    rows = chosen_rows(arguments)
    library, device = open_device(arguments, torch)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = arguments.precision == "fast"
    facts = environment(arguments, torch, library, device)
    print(", ".join(f"{name} {value}" for name, value in facts.items() if value is not None))
    report = {"environment": facts, "options": {k: str(v) if isinstance(v, pathlib.Path) else v for k, v in vars(arguments).items()
                                                if k not in ("json", "library")}, "rows": [], "geometric_means": []}
    faults = check_cases() if arguments.check else []
    layouts = {"contiguous": [False], "channels_last": [True], "both": [False, True]}[arguments.layout]
    for table in dict.fromkeys(r.table for r in rows):
        of_table = [r for r in rows if r.table == table]
        for last in layouts:
            choices = choices_of(arguments, torch, last)
            if arguments.check:
                faults += check_table(of_table, device, choices)
                continue
            results, means, wrong = time_table(of_table, device, choices, arguments)
            faults += wrong
            report["rows"] += results
            report["geometric_means"].append({"table": table, "layout": "channels_last" if last else "contiguous", **means})
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    for fault in faults:
        print(f"compare_pytorch.py: {fault}", file=sys.stderr)
    return 1 if faults else 0


def main():
    try:
        status = run(parse(sys.argv[1:]))
    except Refusal as refusal:
        print(f"compare_pytorch.py: {'skipped: ' if refusal.status == SKIPPED else ''}{refusal}", file=sys.stderr)
        status = refusal.status
    except (OSError, pconv.Error) as error:
        print(f"compare_pytorch.py: {error}", file=sys.stderr)
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
