#!/usr/bin/env python3
"""Predicts the least time of each benchmark layer from a device's data sheet: bytes over bandwidth, or operations over
the rate of its products, whichever is more. A prediction, to be read beside what `pconv bench --table limits` measures."""
import argparse
import math

import seed_tables

TYPES = {"f32": 4, "f16": 2, "bf16": 2}


def floor(row, element, bandwidth, rate):
    """Input, weight, output and mask once each; two operations a multiply-add. Milliseconds, and what binds."""
    weight = row.out_channels * row.in_channels // row.groups * math.prod(row.kernel)
    values = math.prod(row.input_shape) + math.prod(row.output_shape) + weight
    mask = 0 if row.mask == "none" else math.prod(row.mask_shape)
    bytes_time = (values * element + mask) / bandwidth
    operations = 2 * math.prod(row.output_shape) * row.in_channels // row.groups * math.prod(row.kernel)
    operations_time = operations / rate
    return 1e3 * max(bytes_time, operations_time), "bytes" if bytes_time > operations_time else "products"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bandwidth", type=float, required=True, help="GB/s")
    parser.add_argument("--rate", type=float, required=True, help="TFLOP/s of the type and math meant")
    parser.add_argument("--type", choices=sorted(TYPES), default="f32", help="of the tensors (default: f32)")
    arguments = parser.parse_args()
    if not arguments.bandwidth > 0 or not arguments.rate > 0:
        parser.error("--bandwidth and --rate are above 0")
    print("| layer | shape | floor, ms | bound by |")
    print("| --- | --- | --- | --- |")
    for row in seed_tables.rows(("2d", "3d", "multi")):
        time, bound = floor(row, TYPES[arguments.type], arguments.bandwidth * 1e9, arguments.rate * 1e12)
        print(f"| {row.table}/{row.name} | `{row.shape_text()}` | {time:.3g} | {bound} |")


if __name__ == "__main__":
    main()
