"""Pictures of an evaluation as SVG: text made of lines, boxes and words, with no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from pegasus.evaluation.rouge import Interval

_COLOURS = ("#0b6e4f", "#6b7a8f", "#a3b18a", "#c8963e", "#8f5d5d", "#5d6d8f")
_LEFT, _TOP, _HIGH, _BAR, _GAP, _FOOT = 44, 12, 220, 18, 22, 44


def bars(scores: Mapping[str, Mapping[str, Interval]], label: str) -> str:
    """Draw a group of bars for each kind of score, one bar a system, a line over it for the interval."""
    kinds = list(next(iter(scores.values())))
    top = max(interval.high for each in scores.values() for interval in each.values())
    ceiling = max(10.0, 10 * np.ceil(top / 10))
    group = len(scores) * _BAR + _GAP
    width = _LEFT + group * len(kinds) + 10
    parts = _axis(ceiling, width)
    for place, kind in enumerate(kinds):
        start = _LEFT + _GAP / 2 + place * group
        for index, (system, each) in enumerate(scores.items()):
            parts.append(_bar(start + index * _BAR, each[kind], ceiling, index, f"{system} {kind}"))
        parts.append(_text(start + len(scores) * _BAR / 2, _TOP + _HIGH + 16, kind))
    parts += _legend(list(scores))
    return _svg(max(width, _LEFT + 90 * len(scores)), parts, label)


def histogram(values: Mapping[str, Sequence[float]], label: str, bins: int = 20) -> str:
    """Draw how often values fall into equal ranges, a line for each series; the last range holds all
    above.
    """
    together = np.concatenate([np.asarray(series, float) for series in values.values()])
    ceiling = max(float(np.percentile(together, 98)), 1.0)
    edges = np.linspace(0, ceiling, bins + 1)
    shares = [
        np.histogram(np.minimum(series, ceiling), edges)[0] / max(len(series), 1)
        for series in values.values()
    ]
    top = max(max(float(share.max()) for share in shares), 1e-9)
    width = _LEFT + bins * 20
    parts = []
    for index, share in enumerate(shares):
        points = " ".join(
            f"{_LEFT + (place + 0.5) * 20:.1f},{_TOP + _HIGH * (1 - height / top):.1f}"
            for place, height in enumerate(share)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{_COLOURS[index % 6]}" stroke-width="2"/>'
        )
    for place in range(0, bins + 1, 4):
        parts.append(_text(_LEFT + place * 20, _TOP + _HIGH + 16, f"{edges[place]:.0f}"))
    parts.append(_line(_LEFT, _TOP + _HIGH, width, _TOP + _HIGH, "#444"))
    parts += _legend(list(values))
    return _svg(width + 20, parts, label)


def _bar(x: float, interval: Interval, ceiling: float, index: int, title: str) -> str:
    high, low, mid = (
        _TOP + _HIGH * (1 - value / ceiling) for value in (interval.high, interval.low, interval.mid)
    )
    said = f"{title}: {interval.mid:.2f} ({interval.low:.2f} to {interval.high:.2f})"
    return (
        f'<g><title>{escape(said)}</title><rect x="{x:.1f}" y="{mid:.1f}" width="{_BAR - 3}" '
        f'height="{_TOP + _HIGH - mid:.1f}" fill="{_COLOURS[index % 6]}"/>'
        + _line(x + (_BAR - 3) / 2, high, x + (_BAR - 3) / 2, low, "#111")
        + "</g>"
    )


def _axis(ceiling: float, width: float) -> list[str]:
    parts = []
    for value in np.linspace(0, ceiling, 6):
        y = _TOP + _HIGH * (1 - value / ceiling)
        parts.append(_line(_LEFT, y, width, y, "#ddd"))
        parts.append(_text(_LEFT - 6, y + 4, f"{value:.0f}", "end"))
    return parts


def _legend(names: Sequence[str]) -> list[str]:
    y = _TOP + _HIGH + 34
    parts = []
    for index, name in enumerate(names):
        x = _LEFT + index * 90
        parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{_COLOURS[index % 6]}"/>')
        parts.append(_text(x + 14, y, name, "start"))
    return parts


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: float, parts: Sequence[str], label: str) -> str:
    height = _TOP + _HIGH + _FOOT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'width="{width:.0f}" height="{height}" role="img" aria-label="{escape(label)}" '
        'font-family="sans-serif" font-size="11">'
        f"{''.join(parts)}</svg>"
    )
