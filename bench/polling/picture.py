"""The trade-off as a picture: requests per generation across, delay up, both logarithmic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.polling.figures import Figures

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 460, 56, 16, 44, 48
X, Y = (2.0, 80.0), (0.3, 20.0)

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #444 }
  .title { font-size: 15px; font-weight: 600; fill: #111 }
  .axis { stroke: #8884; stroke-width: 1 } .ours { stroke: #0a7d5a; fill: #0a7d5a }
  .best { stroke: #888; stroke-dasharray: 4 4; fill: none } .rival { fill: #c2512f }
  path { fill: none; stroke-width: 2.5 } text.ours { stroke: none; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #bbb } .title { fill: #eee } .ours { stroke: #3ecf9b; fill: #3ecf9b }
    .rival { fill: #f08a66 } path.ours { fill: none }
  }
  path.ours { fill: none }
"""


def draw(
    ours: Sequence[tuple[float, Figures]],
    best: Sequence[Figures],
    rivals: Mapping[str, Figures],
) -> str:
    """Draw our line with its prices, the clairvoyant's, and a dot for each rival."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Requests per generation against mean delay</title>",
        f"<style>{STYLE}</style>",
        *_axes(),
        _line("best", best),
        _line("ours", [figures for _, figures in ours]),
    ]
    for price, figures in ours:
        x, y = _place(figures)
        parts.append(f'<circle class="ours" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
        parts.append(_text(x + 7, y - 5, f"{price:g} s", kind="ours"))
    for name, figures in rivals.items():
        if X[0] <= figures.polls <= X[1] and Y[0] <= figures.mean <= Y[1]:
            x, y = _place(figures)
            parts.append(f'<circle class="rival" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
            parts.append(_text(x + 7, y + 4, name))
    return "\n".join([*parts, "</svg>", ""])


def _axes() -> list[str]:
    parts = [_text(LEFT, 22, "Look less, know sooner: the mixed workload", kind="title")]
    for value in (2, 5, 10, 20, 50):
        x = _x(value)
        parts.append(f'<path class="axis" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 18, f"{value}", anchor="middle"))
    for level in (0.5, 1, 2, 5, 10, 20):
        y = _y(level)
        parts.append(f'<path class="axis" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{level:g} s", anchor="end"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 10, "requests per generation", anchor="middle"))
    parts.append(_text(LEFT, TOP - 6, "mean delay until an end is noticed"))
    parts.append(
        _text(LEFT + 10, HEIGHT - BOTTOM - 28, "ours, by the price of a request", kind="ours")
    )
    parts.append(_text(LEFT + 10, HEIGHT - BOTTOM - 12, "dashed: one who knew every distribution"))
    return parts


def _line(kind: str, points: Sequence[Figures]) -> str:
    shown = sorted(_place(f) for f in points if X[0] <= f.polls <= X[1] and Y[0] <= f.mean <= Y[1])
    return f'<path class="{kind}" d="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y in shown) + '"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _place(figures: Figures) -> tuple[float, float]:
    return _x(figures.polls), _y(figures.mean)


def _x(value: float) -> float:
    part = math.log(value / X[0]) / math.log(X[1] / X[0])
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _y(value: float) -> float:
    part = math.log(value / Y[0]) / math.log(Y[1] / Y[0])
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
