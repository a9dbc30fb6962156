"""Series over time as a picture: one panel for each figure, one line for each process. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 720, 96, 64, 130, 40, 34
COLOURS = 5

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #444 }
  .title { font-size: 15px; font-weight: 600; fill: #111 }
  .axis { stroke: #8884; stroke-width: 1; fill: none }
  path { fill: none; stroke-width: 1.5 }
  .c0 { stroke: #0a7d5a } .c1 { stroke: #c2512f } .c2 { stroke: #3b6fd4 }
  .c3 { stroke: #8a5cd1 } .c4 { stroke: #a67c00 }
  text.c0 { stroke: none; fill: #0a7d5a } text.c1 { stroke: none; fill: #c2512f }
  text.c2 { stroke: none; fill: #3b6fd4 } text.c3 { stroke: none; fill: #8a5cd1 }
  text.c4 { stroke: none; fill: #a67c00 }
  @media (prefers-color-scheme: dark) { text { fill: #bbb } .title { fill: #eee } }
"""

Panels = Mapping[str, Mapping[str, Sequence[float]]]


def draw(title: str, minutes: Sequence[float], panels: Panels) -> str:
    """Draw the panels, by their title, each with its lines by name, over the minutes."""
    height = TOP + len(panels) * (PANEL + GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
        _text(LEFT, 20, title, kind="title"),
    ]
    names = sorted({name for lines in panels.values() for name in lines})
    for n, (panel, lines) in enumerate(panels.items()):
        parts += _panel(TOP + n * (PANEL + GAP), panel, minutes, lines, names)
    parts.append(_text(WIDTH - RIGHT, height - 8, f"{minutes[-1]:.0f} minutes", anchor="end"))
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    top: float,
    title: str,
    minutes: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    names: Sequence[str],
) -> list[str]:
    most = max(max(values) for values in lines.values()) * 1.1 or 1.0
    foot = top + GAP / 2 + PANEL
    parts = [
        _text(LEFT, top + 12, title),
        f'<path class="axis" d="M{LEFT} {foot - PANEL}V{foot}H{WIDTH - RIGHT}"/>',
        _text(LEFT - 6, foot, "0", anchor="end"),
        _text(LEFT - 6, foot - PANEL + 10, _number(most), anchor="end"),
    ]
    for n, (name, values) in enumerate(lines.items()):
        colour = f"c{names.index(name) % COLOURS}"
        places = (
            f"{LEFT + minute / minutes[-1] * (WIDTH - LEFT - RIGHT):.1f} "
            f"{foot - value / most * PANEL:.1f}"
            for minute, value in zip(minutes, values, strict=True)
        )
        parts.append(f'<path class="{colour}" d="M{"L".join(places)}"/>')
        label = f"{name} {_number(values[-1])}"
        parts.append(_text(WIDTH - RIGHT + 8, foot - PANEL + 12 + 15 * n, label, kind=colour))
    return parts


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
