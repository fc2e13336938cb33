"""A report of strain as one HTML file that opens offline: plots as SVG, the cine with its moving contour, numbers.

Everything is in the file; a content security policy keeps a browser from fetching anything else. The functions here
turn numbers into pieces of HTML, ``page`` puts pieces together; they know nothing of how the numbers were found. Texts
go into jinja2 templates, which escape them; drawings are computed coordinates, of which a template would show nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray

from cardiac_motion.core.plots import cv2

Array = NDArray[np.float64]

SEGMENT_COLOURS = ("#d55e00", "#e69f00", "#cc79a7", "#009e73", "#56b4e9", "#0072b2")  # Okabe and Ito's, base to base
CAUTION = "Research use only, not for diagnosis."
WIDEST = 480  # pixels of an embedded frame
_JPEG = 82

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#1c2430;background:#f4f5f7;margin:0}
main{max-width:1080px;margin:0 auto;padding:20px}
h1{font-size:24px;margin:0 0 2px}h2{font-size:19px;margin:0 0 10px}h3{font-size:15px;margin:14px 0 6px}
section{background:#fff;border:1px solid #dde1e7;border-radius:8px;padding:16px 18px;margin:14px 0}
.caution{background:#7a1f1f;color:#fff;border:2px solid #7a1f1f;padding:6px 12px;border-radius:6px}
.caution{display:inline-block;margin:8px 0}
.warnings{border-left:5px solid #d98c00;background:#fff8e8}
.forced{position:sticky;top:0;z-index:2;background:#b3261e;color:#fff;padding:8px 12px;font-weight:650}
@media print{.forced{position:fixed;top:0;left:0;right:0;color:#b3261e;border:2px solid #b3261e;background:#fff}}
.columns{display:flex;flex-wrap:wrap;gap:22px}.columns>*{flex:1 1 320px;min-width:0}
.big{font-size:38px;font-weight:650;line-height:1.1}.unit{font-size:18px;font-weight:400}.muted{color:#5d6878}
li{overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:3px 8px;text-align:right;border-bottom:1px solid #e8ebef}
th:first-child,td:first-child{text-align:left}th{font-weight:600;color:#48525f}
.out td,.out th{color:#68717d}.wide{overflow-x:auto}tbody th{font-weight:400;color:inherit}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;margin:4px 0 10px;padding:0;list-style:none;font-size:13px}
.screen [data-player]{max-width:720px;margin:0 auto}
.stills{display:flex;gap:12px}.stills figure{margin:0;flex:1}figcaption{font-size:13px;color:#48525f}
.dot{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:7px}
.player{position:relative;background:#000;border-radius:6px;overflow:hidden}
.player img,.player svg{display:block;width:100%;height:auto}.player svg{position:absolute;inset:0;height:100%}
.controls{display:flex;flex-wrap:wrap;gap:10px;align-items:center;margin-top:8px}.controls *{white-space:nowrap}
.controls input[type=range]{flex:1}
button{font:inherit;padding:3px 12px}svg[data-seek]{cursor:crosshair}
svg text{font:12px system-ui,sans-serif;fill:#3c4653}
@media (max-width:600px){main{padding:8px}section{padding:12px 10px}th,td{padding:3px 4px}}
@page{margin:10mm 12mm}
@media print{body{background:#fff;font-size:11.5px;line-height:1.3}main{padding:0;max-width:none}
figure,tr{break-inside:avoid}
h2,h3{break-after:avoid}.wide{overflow:visible}table{font-size:8.5px;line-height:1.2}th,td{padding:0 3px}
td+td{white-space:nowrap}section:not(.overview) li{font-size:9.5px;line-height:1.2}
.controls,.screen{display:none}.caution{color:#7a1f1f;background:none;margin:2px 0}
section{border:0;padding:4px 0;margin:4px 0}h1{font-size:17px}h2{font-size:15px;margin:0 0 4px}h3{margin:4px 0 2px}
.overview,.columns>*{break-inside:avoid}.overview{break-after:page}ul{margin:2px 0;padding-left:16px}
.overview .columns{flex-wrap:nowrap;gap:12px}.overview .columns>*{flex:1 1 0}.big{font-size:30px}
.overview .bullseye,.overview svg[data-seek]{max-height:70mm}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""

_SCRIPT = """
for(const box of document.querySelectorAll('[data-player]')){
const data=JSON.parse(box.querySelector('script').textContent),img=box.querySelector('img'),
lines=box.querySelectorAll('polyline'),range=box.querySelector('input[type=range]'),
button=box.querySelector('button'),label=box.querySelector('output'),shown=box.querySelector('input[type=checkbox]');
let frame=0,timer=null;
function show(t){frame=t;img.src='data:image/jpeg;base64,'+data.frames[t];range.value=t;
const points=data.lines[t];
lines.forEach((line,k)=>line.setAttribute('points',points&&shown.checked?points[k]:''));
label.textContent='frame '+t+(data.marks[t]?' · '+data.marks[t]:'');}
const drawn=Object.keys(data.lines).map(Number).sort((a,b)=>a-b);
function next(){const after=drawn.find(t=>t>frame);show(after===undefined?data.first:after);}
function play(on){clearInterval(timer);timer=on?setInterval(next,data.step):null;
button.textContent=on?'Pause':'Play';}
for(const jump of box.querySelectorAll('[data-frame]'))jump.onclick=()=>{play(false);show(+jump.dataset.frame);};
button.onclick=()=>play(!timer);range.oninput=()=>{play(false);show(+range.value);};shown.onchange=()=>show(frame);
const part=box.closest('section'),before=part&&part.previousElementSibling,
near=[part,before&&before.classList.contains('overview')?before:null].filter(Boolean);
for(const plot of near.flatMap(place=>[...place.querySelectorAll('[data-seek]')]))plot.onclick=event=>{
const [first,last,left,right]=plot.dataset.seek.split(' ').map(Number),area=plot.getBoundingClientRect(),
along=((event.clientX-area.left)/area.width-left)/(right-left);
play(false);show(Math.round(first+Math.min(1,Math.max(0,along))*(last-first)));};
show(data.first);play(!matchMedia('(prefers-reduced-motion: reduce)').matches);}
"""


_TEMPLATES = Environment(autoescape=True)
_PAGE = _TEMPLATES.from_string(
    """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>{{ style | safe }}</style></head>
<body><main><h1>{{ title }}</h1><div class="muted">{{ subtitle }}</div><div class="caution">{{ caution }}</div>
{% if banner %}<div class="forced" role="alert">{{ banner }}</div>{% endif %}
{{ sections | join("\n") | safe }}
</main><script>{{ script | safe }}</script></body></html>
"""
)
_SECTION = _TEMPLATES.from_string(
    '<section class="{{ kind }}"><h2>{{ heading }}</h2>{{ parts | join | safe }}</section>'
)
_COLUMNS = _TEMPLATES.from_string(
    '<div class="columns">{% for part in parts %}<div>{{ part | safe }}</div>{% endfor %}</div>'
)
_BULLETS = _TEMPLATES.from_string("<ul>{% for text in texts %}<li>{{ text }}</li>{% endfor %}</ul>")
_FIGURE = _TEMPLATES.from_string(
    '<div class="big">{{ shown }}{% if unit %} <span class="unit">{{ unit }}</span>{% endif %}</div>'
    '<div class="muted">{{ caption }}</div>'
)
_TABLE = _TEMPLATES.from_string(
    '<div class="wide" tabindex="0" role="group" aria-label="{{ head[0] or "numbers" }}"><table><thead><tr>'
    '{% for text in head %}{% if text %}<th scope="col">{{ text }}</th>{% else %}<td></td>{% endif %}{% endfor %}'
    "</tr></thead><tbody>{% for row in rows %}{% set k = loop.index0 %}<tr class=\"{{ 'out' if k in out }}\">"
    '<th scope="row">{% if colours %}<span class="dot" style="background:{{ colours[k] }}"></span>{% endif %}'
    "{{ row[0] }}</th>{% for text in row[1:] %}<td>{{ text }}</td>{% endfor %}</tr>{% endfor %}</tbody></table></div>"
)


def page(title: str, subtitle: str, sections: Sequence[str], banner: str = "") -> str:
    """The whole document. ``title``, ``subtitle`` and ``banner``, a warning, are text, ``sections`` are HTML."""
    texts = {"title": title, "subtitle": subtitle, "caution": CAUTION, "banner": banner}
    return _PAGE.render(**texts, style=_STYLE, script=_SCRIPT, sections=sections) + "\n"


def section(heading: str, *parts: str, kind: str = "") -> str:
    """A box with a heading (text) and its parts (HTML)."""
    return _SECTION.render(heading=heading, parts=parts, kind=kind)


def columns(*parts: str) -> str:
    """Parts (HTML) beside each other, below where the page is narrow."""
    return _COLUMNS.render(parts=parts)


def bullets(texts: Sequence[str]) -> str:
    """A list of texts."""
    return _BULLETS.render(texts=texts)


def figure_of(value: float | None, unit: str, caption: str, digits: int = 1) -> str:
    """One large number with its unit and what it is; a dash where it is not known."""
    shown = number(value, digits)
    return _FIGURE.render(shown=shown, unit=unit if value is not None else "", caption=caption)


def number(value: float | None, digits: int = 1) -> str:
    """A number with a true minus sign, or a dash where it is not known."""
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return (text.removeprefix("-") if float(text) == 0 else text).replace("-", "−")


def format_interval(interval: Sequence[float] | None, digits: int = 1) -> str:
    """A 90 % interval in words, after what it is of; nothing where it is not known.

    Examples:
        >>> format_interval((-24.04, -16.0))
        ', 90 % interval −24.0 to −16.0'
    """
    return "" if interval is None else f", 90 % interval {number(interval[0], digits)} to {number(interval[1], digits)}"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str] = (), out: Sequence[int] = ()
) -> str:
    """A table of texts.

    Args:
        head, rows: the first cell of a row is its name.
        colours: of a dot before each row's name.
        out: rows that are shown faintly.
    """
    return _TABLE.render(head=head, rows=rows, colours=colours, out=out)


def legend(names: Sequence[str], colours: Sequence[str]) -> str:
    """Names with dots of their colours."""
    items = (
        f'<li><span class="dot" style="background:{colour}"></span>{escape(name)}</li>'
        for name, colour in zip(names, colours, strict=True)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def stills(
    frames: NDArray[np.uint8], lines: Mapping[int, Sequence[Array]], colours: Sequence[str], captions: Mapping[int, str]
) -> str:
    """Single frames beside each other, each with its lines and what it is; arguments as of ``player``."""
    parts = []
    height, width = frames.shape[1:]
    for t, caption in captions.items():
        drawn = "".join(
            f'<polyline points="{points_of(line)}" fill="none" stroke="{colour}" stroke-width="{width / 240:.2f}"/>'
            for line, colour in zip(lines.get(t, []), colours, strict=False)
        )
        parts.append(
            f'<figure><div class="player"><img alt="{escape(caption)}, frame {t}" '
            f'src="data:image/jpeg;base64,{jpeg(shrink(frames[t]))}">'
            f'<svg aria-hidden="true" viewBox="0 0 {width} {height}">{drawn}</svg></div>'
            f"<figcaption>{escape(caption)}, frame {t}</figcaption></figure>"
        )
    return f'<div class="stills">{"".join(parts)}</div>'


def points_of(line: Array) -> str:
    """A line ``[P, 2]`` (row, column) in pixels as an SVG list of points."""
    return " ".join(f"{column + 0.5:.1f},{row + 0.5:.1f}" for row, column in line)


def shrink(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame of ``WIDEST`` pixels at most."""
    scale = min(1.0, WIDEST / frame.shape[1])
    if scale == 1:
        return frame
    return np.asarray(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def jpeg(frame: NDArray[np.uint8]) -> str:
    """A frame as JPEG in base 64."""
    return base64.b64encode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, _JPEG])[1].tobytes()).decode()


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    colours: Sequence[str] = SEGMENT_COLOURS,
    marks: Mapping[str, float] | None = None,
    size: tuple[int, int] = (480, 260),
    frames: tuple[int, int] | None = None,
    name: str = "",
) -> str:
    """Lines over a common axis, as SVG.

    Args:
        series: name to x and y.
        x_label, y_label: of the axes, with units.
        colours: of the lines, in order.
        marks: name to x of vertical lines.
        size: width and height of the drawing.
        frames: of the cine at either end of the axis: a click shows the frame there.
        name: what a reader is told beside the axes' labels.
    """
    width, height = size
    left, right, top, bottom = 46, 16, 18, 38
    xs = np.concatenate([np.asarray(x, dtype=float) for x, _ in series.values()])
    ys = np.concatenate([np.asarray(y, dtype=float) for _, y in series.values()])
    x_ticks, y_ticks = ticks(xs.min(), xs.max()), ticks(min(ys.min(), 0), max(ys.max(), 0))
    low, high = min(y_ticks[0], ys.min()), max(y_ticks[-1], ys.max())
    span_x, span_y = (xs.max() - xs.min()) or 1.0, (high - low) or 1.0

    def to_pixels(x: float, y: float) -> tuple[float, float]:
        across, up = (x - xs.min()) / span_x, (y - low) / span_y
        return left + across * (width - left - right), height - bottom - up * (height - top - bottom)

    parts = []
    for y in y_ticks:
        row = to_pixels(xs.min(), y)[1]
        colour = "#9aa4b0" if y == 0 else "#e6e9ee"
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{row:.1f}" y2="{row:.1f}" stroke="{colour}"/>')
        parts.append(f'<text x="{left - 6}" y="{row + 4:.1f}" text-anchor="end">{tick_text(y)}</text>')
    for x in (t for t in x_ticks if xs.min() <= t <= xs.max()):
        column = to_pixels(x, low)[0]
        parts.append(f'<text x="{column:.1f}" y="{height - bottom + 16}" text-anchor="middle">{tick_text(x)}</text>')
    for mark, x in (marks or {}).items():
        column = to_pixels(x, low)[0]
        anchor = "start" if column < left + 12 else "middle"  # clear of the uppermost number beside the axis
        parts.append(
            f'<line x1="{column:.1f}" x2="{column:.1f}" y1="{top}" y2="{height - bottom}" stroke="#5d6878" '
            f'stroke-dasharray="4 3"/><text x="{column:.1f}" y="{top - 4}" text-anchor="{anchor}">{escape(mark)}</text>'
        )
    for (label, (along, up)), colour in zip(series.items(), colours, strict=False):
        points = " ".join("{:.1f},{:.1f}".format(*to_pixels(a, b)) for a, b in zip(along, up, strict=True))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"><title>{escape(label)}</title>'
            "</polyline>"
        )
    parts.append(f'<text x="{(left + width) / 2}" y="{height - 4}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(
        f'<text x="12" y="{(height - bottom) / 2}" text-anchor="middle" '
        f'transform="rotate(-90 12 {(height - bottom) / 2})">{escape(y_label)}</text>'
    )
    said = escape(f"{y_label} over {x_label}{', ' if name else ''}{name}")
    seek = ""
    if frames is not None:
        seek = f' data-seek="{frames[0]} {frames[1]} {left / width:.4f} {(width - right) / width:.4f}"'
    return (
        f'<svg role="img" aria-label="{said}"{seek} viewBox="0 0 {width} {height}" width="100%">{"".join(parts)}</svg>'
    )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from below ``low`` to above ``high``, 1, 2 or 5 times a power of ten apart."""
    rough = max(high - low, 1e-9) / about
    power = 10 ** np.floor(np.log10(rough))
    step = float(next(m for m in (1, 2, 5, 10) if m * power >= rough) * power)
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    inside = [k * step for k in range(first, last + 1)]
    return inside if len(inside) > 1 else [low, high]


def tick_text(value: float) -> str:
    """A tick's number without superfluous zeros."""
    return f"{value + 0.0:.6g}".replace("-", "−")


def player(
    frames: NDArray[np.uint8],
    lines: Mapping[int, Sequence[Array]],
    colours: Sequence[str],
    marks: Mapping[int, str],
    step: float = 60.0,
) -> str:
    """A cine that plays where there are contours, which move over it, and a slider over all frames.

    Args:
        frames: ``[T, H, W]`` grey values.
        lines: frame to polylines ``[P, 2]`` (row, column) in pixels, as many in every frame that has any.
        colours: of the polylines.
        marks: what is said of a frame.
        step: ms a frame.
    """
    count, height, width = frames.shape
    small = [shrink(frame) for frame in frames]
    coded = [jpeg(frame) for frame in small]
    low, wide = small[0].shape[:2]
    texts = {t: [points_of(line) for line in found] for t, found in lines.items()}
    first, last = min(texts, default=0), max(texts, default=count - 1)
    data = {
        "frames": coded,
        "lines": texts,
        "marks": dict(marks),
        "step": max(20.0, step),
        "first": first,
        "last": last,
    }
    drawn = "".join(
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width / 240:.2f}" '
        'stroke-linejoin="round"/>'
        for points, colour in zip(texts.get(first, []), colours, strict=False)
    )
    jumps = "".join(
        f'<button type="button" data-frame="{t}" title="{escape(mark)}, frame {t}">'
        f"{escape(mark.replace('end-diastole', 'ED').replace('end-systole', 'ES'))}</button>"
        for t, mark in sorted(marks.items())[:8]
    )
    stored = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    return (
        f'<div data-player><div class="player"><img alt="cine" width="{wide}" height="{low}" '
        f'src="data:image/jpeg;base64,{coded[first]}"><svg aria-hidden="true" '
        f'viewBox="0 0 {width} {height}">{drawn}</svg></div>'
        f'<div class="controls"><button type="button">Play</button><input type="range" aria-label="frame" min="0" '
        f'max="{count - 1}" value="{first}"><output></output>'
        f'<label><input type="checkbox" checked> contour</label>{jumps}</div>'
        f'<script type="application/json">{stored}</script></div>'
    )
