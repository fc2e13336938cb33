// Methods compared on one cine: fields and wall at the same frame, strain over the beat, drift, seconds.
import { $, element, plot, state, text } from "./shared.js";
import { arrowsOf, picture, playing } from "./player.js";

const COLUMNS = [["GLS, %", "gls", 1], ["drift, %", "drift", 1], ["EF, %", "ejection_fraction", 0], ["LNCC²", "similarity", 2], ["seconds", "seconds", 1]];

export function table() {
  const head = element("tr", {}, element("th", { textContent: "method" }), ...COLUMNS.map(([name]) => element("th", { textContent: name })));
  const rows = Object.entries(state.info.methods || {}).map(([method, row]) => {
    const line = element("tr", {}, element("td", { textContent: row.title }),
      ...COLUMNS.map(([, key, digits]) => element("td", { textContent: text(row[key], digits) })));
    line.dataset.method = method;
    return line;
  });
  $("methods").replaceChildren(head, ...rows);
  const results = shown();
  $("beside").hidden = results.length < 2;
  $("panels").replaceChildren(...results.map(result => {
    const { width, height } = state.info.about, canvas = element("canvas", { width, height });
    canvas.dataset.method = result.method;
    return element("figure", {}, canvas, element("figcaption", {},
      dot(result.method), `${result.title}: GLS ${text(result.means.gls)} %, drift ${text(result.means.drift)} %, ${text(result.seconds)} s`));
  }));
  frame();
}
const shown = () => Object.values(state.info?.results || {}).filter(result => result.lines && !result.blocked.length);
const colourOf = method => state.settings.colours[Object.keys(state.settings.methods).indexOf(method) % state.settings.colours.length];
const dot = method => { const node = element("span", { className: "dot" }); node.style.background = colourOf(method); return node; };

export async function frame() {
  const results = shown();
  if (results.length < 2 || !$("compare").open || playing()) return;
  const { t } = state, image = await picture(t);
  for (const result of results) {
    const canvas = $("panels").querySelector(`[data-method="${result.method}"]`);
    if (!canvas) continue;
    const pen = canvas.getContext("2d"), size = canvas.width / 320;
    pen.drawImage(image, 0, 0);
    pen.strokeStyle = pen.fillStyle = "#7ee081"; pen.lineWidth = size;
    for (const [y, x, dy, dx] of arrowsOf(result.method, t)) {
      pen.beginPath(); pen.moveTo(x, y); pen.lineTo(x + dx, y + dy); pen.stroke();
      pen.beginPath(); pen.arc(x + dx, y + dy, 1.4 * size, 0, 7); pen.fill();
    }
    for (const [k, line] of (result.lines[t] || []).entries()) {
      if (k === 1) continue;
      pen.strokeStyle = k ? "#9fd0ff" : "#fff"; pen.lineWidth = 1.6 * size; pen.beginPath();
      line.forEach((p, i) => i ? pen.lineTo(p[1] + .5, p[0] + .5) : pen.moveTo(p[1] + .5, p[0] + .5));
      pen.stroke();
    }
  }
  plot($("glses"), results.flatMap(result => result.beats.map(beat => (
    { first: beat.ed, values: beat.curves.gls, colour: colourOf(result.method), wide: 2 }))), { label: "GLS, %", cursor: t, zero: true });
}
$("compare").ontoggle = frame;
