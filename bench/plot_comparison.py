#!/usr/bin/env python3
"""Draws what bench/compare_pytorch.py measured, as an SVG picture: times relative to PyTorch's plain convolution."""
import argparse
import json
import os
import sys
import tempfile
from xml.sax.saxutils import escape

BARS = (("pconv", "pconv", "#1f77b4"), ("plain", "PyTorch: plain convolution", "#9aa0a6"),
        ("eager", "PyTorch: NVIDIA's operations", "#e08214"))
LEFT, WIDTH, BAR, GAP, TOP = 150, 540, 11, 9, 82


def drawn(report):
    environment, options, rows = report["environment"], report["options"], report["rows"]
    rows = [row for row in rows if "plain" in row.get("times", {}) and "eager" in row["times"]]
    if not rows:
        raise ValueError("it has no row with times of plain and eager")
    relative = [[row["times"][key]["median_ms"] / row["times"]["plain"]["median_ms"] for key, _, _ in BARS] for row in rows]
    scale = WIDTH / (max(max(values) for values in relative) * 1.12)
    row_height = len(BARS) * BAR + GAP
    height = TOP + len(rows) * row_height + 30
    title = f"{environment['device']}, {environment['threads']} threads, {options['precision']}, {options['layout']}"
    if options.get("batch"):
        title += f", batch {options['batch']}"
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{height}" '
           'font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="#ffffff"/>',
           '<text x="12" y="20" font-size="14">Time of a forward pass over that of the plain convolution</text>',
           f'<text x="12" y="38">{escape(title)}</text>']
    x = 12
    for _, label, color in BARS:
        out += [f'<rect x="{x}" y="50" width="12" height="12" fill="{color}"/>', f'<text x="{x + 17}" y="60">{label}</text>']
        x += 45 + 7 * len(label)
    line = LEFT + scale
    out.append(f'<line x1="{line:.1f}" y1="{TOP - 4}" x2="{line:.1f}" y2="{height - 26}" stroke="#202124" stroke-dasharray="3 3"/>')
    for index, (row, values) in enumerate(zip(rows, relative)):
        y = TOP + index * row_height
        out.append(f'<text x="{LEFT - 8}" y="{y + 1.9 * BAR:.0f}" text-anchor="end">{escape(row["name"])}</text>')
        for bar, ((key, _, color), value) in enumerate(zip(BARS, values)):
            top = y + bar * BAR
            out.append(f'<rect x="{LEFT}" y="{top}" width="{value * scale:.1f}" height="{BAR - 1}" fill="{color}"/>')
            out.append(f'<text x="{LEFT + value * scale + 4:.1f}" y="{top + BAR - 2}" font-size="10" '
                       'stroke="#ffffff" stroke-width="3" paint-order="stroke">'
                       f'{row["times"][key]["median_ms"]:.2f} ms</text>')
    out.append(f'<text x="{line:.1f}" y="{height - 12}" text-anchor="middle">1</text></svg>')
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", help="the JSON file that compare_pytorch.py wrote")
    parser.add_argument("-o", "--output", required=True, help="the SVG file to write")
    arguments = parser.parse_args()
    try:
        with open(arguments.report, encoding="utf-8") as file:
            picture = drawn(json.load(file))
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"plot_comparison.py: {arguments.report}: not a report of compare_pytorch.py: {error}")
    folder = os.path.dirname(os.path.abspath(arguments.output))
    temporary = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as file:
            temporary = file.name
            file.write(picture)
        os.chmod(temporary, 0o644)
        os.replace(temporary, arguments.output)
    except OSError as error:
        if temporary is not None:
            os.unlink(temporary)
        sys.exit(f"plot_comparison.py: cannot write {arguments.output}: {error.strerror}")


if __name__ == "__main__":
    main()
