"""Curves and points as an SVG: a panel for each model, series of several points as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

Series = Mapping[str, Sequence[tuple[float, float]]]

WIDTH, HEIGHT, MARGIN, COLUMNS = 360, 260, 46, 2
COLOURS = ("#1a5fb4", "#c64600", "#813d9c", "#26a269", "#a51d2d", "#865e3c", "#5e5c64", "#000000")


def draw(panels: Mapping[str, Series], x_label: str, y_label: str) -> str:
    """The whole drawing; each axis goes from its panel's smallest number to its largest."""
    names = list(dict.fromkeys(name for series in panels.values() for name in series))
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT + 24 + 16 * -(-len(names) // 3)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11"><rect width="{width}" height="{height}" fill="white"/>'
    ]
    for index, (title, series) in enumerate(panels.items()):
        left, top = index % COLUMNS * WIDTH, index // COLUMNS * HEIGHT
        parts.append(f'<g transform="translate({left},{top})">{_panel(title, series, colours, x_label, y_label)}</g>')
    for index, name in enumerate(names):
        x, y = 20 + index % 3 * (width // 3), rows * HEIGHT + 16 + index // 3 * 16
        parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{colours[name]}"/>')
        parts.append(f'<text x="{x + 8}" y="{y + 4}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(title: str, series: Series, colours: Mapping[str, str], x_label: str, y_label: str) -> str:
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    low, high = (min(xs), min(ys)), (max(xs), max(ys))
    span = [max(high[i] - low[i], 1e-9) for i in (0, 1)]

    def place(x: float, y: float) -> tuple[float, float]:
        across = MARGIN + (x - low[0]) / span[0] * (WIDTH - MARGIN - 16)
        return across, HEIGHT - MARGIN + 8 - (y - low[1]) / span[1] * (HEIGHT - MARGIN - 24)

    bottom = HEIGHT - MARGIN + 8
    parts = [
        f'<text x="{WIDTH / 2}" y="16" text-anchor="middle" font-weight="bold">{escape(title)}</text>',
        f'<path d="M{MARGIN - 6} 24V{bottom + 6}H{WIDTH - 8}" fill="none" stroke="#888"/>',
        f'<text x="{WIDTH / 2}" y="{bottom + 32}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text x="12" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 12 {HEIGHT / 2})">'
        f"{escape(y_label)}</text>",
        f'<text x="{MARGIN}" y="{bottom + 18}">{low[0]:.0%}</text>',
        f'<text x="{WIDTH - 16}" y="{bottom + 18}" text-anchor="end">{high[0]:.0%}</text>',
        f'<text x="{MARGIN - 10}" y="{bottom}" text-anchor="end">{low[1]:.0f}</text>',
        f'<text x="{MARGIN - 10}" y="30" text-anchor="end">{high[1]:.0f}</text>',
    ]
    for name, points in series.items():
        placed = [place(x, y) for x, y in points]
        if len(points) > 1:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colours[name]}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colours[name]}"/>' for x, y in placed]
    return "".join(parts)
