// The cine: frames, play, zoom, and what lies over a frame: wall, handles, arrows, points that are followed.
import { $, css, element, guarded, plot, say, send, shownFile, state, times } from "./shared.js";

const SVG = "http://www.w3.org/2000/svg", ARROW_SCALE = 4;
let blob = null, offsets = [], cache = new Map(), timer = null, zoom = 1, dragging = null, points = [], paths = null;
let fields = new Map(), changed = null, listeners = [];
export const onFrame = listener => listeners.push(listener);
export const onStep = call => { changed = call; };
export const playing = () => timer !== null;
const tool = () => $("tool").value;

export const framesOf = async id => (await shownFile("frames", id)).blob();
export function load(frames) {
  const { about } = state.info;
  blob = frames;
  cache.clear(); fields.clear(); clearTracks(); offsets = [0];
  for (const size of about.sizes) offsets.push(offsets.at(-1) + size);
  $("frame").width = about.width; $("frame").height = about.height;
  $("over").setAttribute("viewBox", `0 0 ${about.width} ${about.height}`);
  $("seek").max = about.frames - 1;
  state.t = 0;
}
export async function picture(k) {
  if (!cache.has(k)) {
    cache.set(k, createImageBitmap(blob.slice(offsets[k], offsets[k + 1], "image/webp")));
    if (cache.size > 90) {
      const old = cache.keys().next().value, image = cache.get(old);
      cache.delete(old); image.then(found => found.close());
    }
  }
  return cache.get(k);
}
export async function show(k) {
  const { about } = state.info;
  const t = state.t = Math.max(0, Math.min(about.frames - 1, k)), image = await picture(t);
  if (t !== state.t) return; // another frame was asked for meanwhile
  $("frame").getContext("2d").drawImage(image, 0, 0);
  $("seek").value = t;
  $("at").textContent = `frame ${t}` + (about.times ? ` · ${(1000 * about.times[t]).toFixed(0)} ms` : "");
  overlay();
  for (const listener of listeners) listener();
  if (timer) picture((t + 1) % about.frames);
}
export function pause() { clearTimeout(timer); timer = null; $("play").textContent = "Play"; }
function play() {
  const { times, frames } = state.info.about, start = performance.now(), first = state.t;
  const step = times ? 1000 * (times[frames - 1] - times[0]) / (frames - 1) : 40;
  $("play").textContent = "Pause";
  const tick = async () => {
    await show((first + Math.floor((performance.now() - start) / step)) % frames);
    if (timer) timer = setTimeout(tick, Math.max(4, step / 3));
  };
  timer = setTimeout(tick, step);
}
export const toggle = () => timer ? pause() : play();
export function scale(by) {
  zoom = Math.max(1, Math.min(6, zoom * by));
  for (const name of ["frame", "over"]) $(name).style.width = `${100 * zoom}%`;
}

export function fieldOf(method) { // the arrows of a method; null while they are on their way
  if (!fields.has(method)) {
    fields.set(method, null);
    shownFile(`arrows_${method}`).then(a => a.arrayBuffer())
      .then(found => { fields.set(method, new Float32Array(found)); overlay(); for (const l of listeners) l(); })
      .catch(() => fields.delete(method));
  }
  return fields.get(method);
}
export const forget = () => fields.clear();
export function* arrowsOf(method, t) { // where tissue of frame t − 1 went: [row, column, rows, columns]
  const field = t > 0 && fieldOf(method), { width, height } = state.info.about, step = state.settings.arrows, half = step / 2;
  if (!field) return;
  const rows = Math.ceil((height - half) / step), columns = Math.ceil((width - half) / step);
  const at = 2 * (t - 1) * rows * columns;
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
    const k = at + 2 * (r * columns + c), dy = -ARROW_SCALE * field[k], dx = -ARROW_SCALE * field[k + 1];
    if (Math.hypot(dx, dy) > 1.5) yield [half + r * step, half + c * step, dy, dx];
  }
}

function draw(kind, values) {
  const node = document.createElementNS(SVG, kind);
  for (const key in values) node.setAttribute(key, values[key]);
  $("over").append(node);
  return node;
}
const size = () => state.info.about.width / 480;
const polyline = (line, colour, width = 1.6) => draw("polyline", {
  points: line.map(p => `${p[1] + .5},${p[0] + .5}`).join(" "), fill: "none", stroke: colour, "stroke-width": width * size() });

export function overlay() {
  if (dragging || !state.info?.about) return;
  const { result, t } = state, lines = result && result.lines[t], wanted = $("overlay").value;
  const focus = document.activeElement?.dataset?.handle;
  $("over").replaceChildren();
  if (wanted === "arrows" && result) for (const [y, x, dy, dx] of arrowsOf(state.method, t)) {
    draw("line", { x1: x, y1: y, x2: x + dx, y2: y + dy, stroke: "#7ee081", "stroke-width": size() });
    draw("circle", { cx: x + dx, cy: y + dy, r: 1.4 * size(), fill: "#7ee081" });
  }
  if (lines && wanted !== "none") {
    polyline(lines[0], "#ffffff"); polyline(lines[2], "#9fd0ff");
    const n = lines[1].length - 1;
    result.segments.forEach((s, k) => polyline(
      lines[1].slice(Math.floor(k * n / 6), Math.floor((k + 1) * n / 6) + 1), s.rejected ? "#777" : result.colours[k], 2));
    if (!timer && tool() in BORDERS) handles(lines[BORDERS[tool()]]);
  }
  if (paths) tracks(t);
  if (focus !== undefined) document.querySelector(`[data-handle="${focus}"]`)?.focus();
}
const BORDERS = { handles: 0, epicardium: 2 };
function handles(line) {
  const count = +$("count").value, at = [...Array(count).keys()].map(k => k / (count - 1));
  const factor = () => state.info.about.width / $("over").getBoundingClientRect().width;
  at.forEach((share, k) => {
    const p = line[Math.round(share * (line.length - 1))];
    const node = draw("circle", { cx: p[1] + .5, cy: p[0] + .5, r: 5 * size(), class: "handle", tabindex: 0,
      role: "button", "data-handle": k, "aria-label": `handle ${k + 1} of ${count}, arrow keys move it` });
    const release = (dy, dx) => { if (dy || dx) moveWall(at, at.map((_, j) => j === k ? [dy, dx] : [0, 0])); };
    const moved = event => [(event.clientY - dragging.y) * factor(), (event.clientX - dragging.x) * factor()];
    node.onpointerdown = event => {
      event.preventDefault(); pause(); node.setPointerCapture(event.pointerId); node.focus();
      dragging = { x: event.clientX, y: event.clientY };
    };
    node.onpointermove = event => {
      if (!dragging) return;
      const [dy, dx] = moved(event);
      node.setAttribute("cx", p[1] + .5 + dx); node.setAttribute("cy", p[0] + .5 + dy);
    };
    node.onpointerup = event => { if (!dragging) return; const by = moved(event); dragging = null; release(...by); };
    node.onpointercancel = () => { dragging = null; overlay(); };
    node.onkeydown = event => {
      const by = { ArrowUp: [-2, 0], ArrowDown: [2, 0], ArrowLeft: [0, -2], ArrowRight: [0, 2] }[event.key];
      if (by) { event.preventDefault(); event.stopPropagation(); release(...by); }
    };
  });
}
async function moveWall(at, moved) {
  const start = performance.now(), border = tool() === "epicardium" ? "epicardium" : "endocardium";
  const done = await changed(() => send("step", { what: "wall", value: { frame: state.t, border, at, moved } }));
  if (done) times.push(performance.now() - start); else overlay();
}

// Points and lines that are followed.
export function clearTracks() { points = []; paths = null; $("tracks").replaceChildren(); }
function tracks(t) {
  const colour = k => state.settings.colours[k % state.settings.colours.length];
  if (paths.picture) polyline(paths.path[t], "#ffd23f", 1.6);
  paths.path[t].forEach((p, k) => {
    polyline(paths.path.slice(0, t + 1).map(f => f[k]), paths.picture ? "#ffd23f" : colour(k), 1);
    draw("circle", { cx: p[1] + .5, cy: p[0] + .5, r: 3.5 * size(), fill: paths.picture ? "#ffd23f" : colour(k), stroke: "#fff" });
    const label = draw("text", { x: p[1] + 6 * size(), y: p[0] - 4 * size(), fill: "#fff", "font-size": 12 * size() });
    label.textContent = k + 1;
  });
}
function trackPlots() {
  const rows = (values, first = 0) => values.map((row, k) => ({ first, values: row, colour: state.settings.colours[k % state.settings.colours.length] }));
  const plots = [];
  if (paths.picture) {
    const length = paths.distance[0], at = length[paths.frame];
    plots.push([rows([length]), `length, ${paths.unit}`], [rows([length.map(v => 100 * (v / at - 1))]), `length's change from frame ${paths.frame}, %`]);
  } else {
    plots.push([rows(paths.displacement), `displacement from frame ${paths.frame}, ${paths.unit}`]);
    if (paths.distance.length) plots.push([rows(paths.distance), `distance between neighbours, ${paths.unit}`]);
  }
  return plots;
}
export function drawTracks() {
  if (!paths) return;
  const canvases = $("tracks").querySelectorAll("canvas");
  trackPlots().forEach(([series, label], k) => plot(canvases[k], series, { label, cursor: state.t }));
  const now = $("tracks").querySelector(".now");
  if (now) now.style.left = `${100 * (state.t + .5) / state.info.about.frames}%`;
}
const follow = guarded(async event => {
  const line = tool() === "line";
  if (!state.result || !(line || tool() === "points")) return;
  const box = $("over").getBoundingClientRect(), factor = state.info.about.width / box.width;
  if (points.length >= state.settings.points) return say(`at most ${state.settings.points} points`);
  points.push([(event.clientY - box.top) * factor - .5, (event.clientX - box.left) * factor - .5]);
  if (line && points.length < 2) {
    draw("circle", { cx: points[0][1] + .5, cy: points[0][0] + .5, r: 3.5 * size(), fill: "#ffd23f" });
    return say("now the other end of the line");
  }
  const frame = points.frame ?? state.t, sent = points;
  points.frame = frame;
  if (line) points = [];
  paths = { ...await send(line ? "line" : "points", { frame, points: sent.map(p => [...p]) }), frame };
  const parts = [];
  if (paths.picture) {
    const image = element("img", { src: paths.picture, alt: "M-mode: time from left to right, along the line from top to bottom" });
    parts.push(element("div", { className: "mmode" }, image, element("div", { className: "now" })));
  }
  parts.push(...trackPlots().map(() => element("canvas", { className: "small" })));
  const clear = element("button", { textContent: "Clear" });
  clear.onclick = () => { clearTracks(); overlay(); };
  $("tracks").replaceChildren(...parts, clear);
  overlay(); drawTracks();
});

$("over").addEventListener("click", follow);
$("play").onclick = toggle;
$("seek").oninput = () => { pause(); show(+$("seek").value); };
$("in").onclick = () => scale(1.25);
$("out").onclick = () => scale(0.8);
$("overlay").onchange = $("count").onchange = overlay;
$("tool").onchange = () => { points = []; overlay(); };
onFrame(drawTracks);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const l of listeners) l(); });
