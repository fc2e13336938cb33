// The cine: frames, play, zoom, and what lies over a frame: wall, handles, arrows, points that are followed.
import { $, element, guarded, plot, say, send, shownFile, spline, state, estimates, times } from "./shared.js";

const SVG = "http://www.w3.org/2000/svg", ARROW_SCALE = 4;
let blob = null, offsets = [], cache = new Map(), timer = null, zoom = 1, dragging = null, pending = null, points = [], paths = null;
let fields = new Map(), changed = null, listeners = [];
export const onFrame = listener => listeners.push(listener);
export const onStep = call => { changed = call; };
export const playing = () => timer !== null;
const tool = () => $("tool").value;
const notify = () => { for (const listener of listeners) listener(); };

export const framesOf = async id => (await shownFile("frames", id)).blob();
export function load(frames) {
  const { about } = state.info;
  blob = frames;
  cache.clear(); fields.clear(); clearTracks(); pending = dragging = null; offsets = [0];
  for (const size of about.sizes) offsets.push(offsets.at(-1) + size);
  $("frame").width = about.width; $("frame").height = about.height;
  $("over").setAttribute("viewBox", `0 0 ${about.width} ${about.height}`);
  $("seek").max = about.frames - 1;
  state.t = 0; zoomTo(1);
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
  const { id, about } = state.info;
  const t = state.t = Math.max(0, Math.min(about.frames - 1, k)), image = await picture(t);
  if (t !== state.t || id !== state.info?.id) return; // another frame was asked for meanwhile
  $("frame").getContext("2d").drawImage(image, 0, 0);
  $("seek").value = t;
  const clock = state.result?.times || about.times;
  $("at").textContent = `frame ${t}` + (clock ? ` · ${(1000 * clock[t]).toFixed(0)} ms` : "");
  overlay(); notify();
  if (timer) picture((t + 1) % about.frames);
}
export function pause() { clearTimeout(timer); timer = null; $("play").textContent = "Play"; }
function play() {
  const { frames } = state.info.about, clock = state.result?.times || state.info.about.times, start = performance.now(), first = state.t;
  const step = clock ? 1000 * (clock[frames - 1] - clock[0]) / (frames - 1) : 40;
  $("play").textContent = "Pause";
  const tick = async () => {
    await show((first + Math.floor((performance.now() - start) / step)) % frames);
    if (timer) timer = setTimeout(tick, Math.max(4, step / 3));
  };
  timer = setTimeout(tick, step);
}
export const toggle = () => timer ? pause() : play();

// Zoom keeps what lies under the pointer where it is; the picture is moved by dragging it.
function zoomTo(to, at = null) {
  const box = $("player"), before = zoom;
  zoom = Math.max(1, Math.min(8, to));
  if (zoom > 1 && before === 1) box.style.height = `${box.clientHeight}px`;
  if (zoom === 1) box.style.height = "";
  const frame = box.getBoundingClientRect(), px = at ? at.x - frame.left : box.clientWidth / 2, py = at ? at.y - frame.top : box.clientHeight / 2;
  const x = (box.scrollLeft + px) / before, y = (box.scrollTop + py) / before;
  $("sheet").style.width = `${100 * zoom}%`;
  box.scrollLeft = x * zoom - px; box.scrollTop = y * zoom - py;
  $("over").classList.toggle("movable", zoom > 1);
  if (state.result) overlay();
}
export const scale = by => zoomTo(zoom * by);
$("player").addEventListener("wheel", event => { event.preventDefault(); zoomTo(zoom * Math.exp(-event.deltaY / 400), { x: event.clientX, y: event.clientY }); }, { passive: false });
let pan = null;
const fingers = new Map();
$("over").addEventListener("pointerdown", event => {
  fingers.set(event.pointerId, event);
  if (fingers.size === 2) { pan = null; return; }
  if (dragging || event.target.classList.contains("handle") || !(tool() in BORDERS)) return;
  pan = { x: event.clientX, y: event.clientY, left: $("player").scrollLeft, top: $("player").scrollTop };
});
addEventListener("pointermove", event => {
  if (fingers.size === 2 && fingers.has(event.pointerId) && !dragging) { // two fingers zoom
    const other = [...fingers.values()].find(one => one.pointerId !== event.pointerId), old = fingers.get(event.pointerId);
    const far = one => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    zoomTo(zoom * far(event) / Math.max(20, far(old)), { x: (event.clientX + other.clientX) / 2, y: (event.clientY + other.clientY) / 2 });
    fingers.set(event.pointerId, event);
  } else if (pan && event.buttons) {
    $("player").scrollLeft = pan.left - event.clientX + pan.x; $("player").scrollTop = pan.top - event.clientY + pan.y;
  }
});
for (const kind of ["pointerup", "pointercancel"]) addEventListener(kind, event => { fingers.delete(event.pointerId); pan = null; });

export function fieldOf(method) { // the arrows of a method; null while they are on their way
  if (!fields.has(method)) {
    fields.set(method, null);
    shownFile(`arrows_${method}`).then(a => a.arrayBuffer())
      .then(found => { fields.set(method, new Float32Array(found)); overlay(); notify(); })
      .catch(() => fields.delete(method));
  }
  return fields.get(method);
}
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
const pixel = () => state.info.about.width / ($("over").getBoundingClientRect().width || 480); // of the file, for one of the screen
const polyline = (line, colour, width = 1.6, more = {}) => draw("polyline", {
  points: line.map(p => `${p[1] + .5},${p[0] + .5}`).join(" "), fill: "none", stroke: colour, "stroke-width": width * Math.min(size(), 1.3 * pixel()), ...more });

export function overlay() {
  if (dragging?.moved || !state.info?.about) return;
  const { result, t } = state, lines = result && result.lines[t], wanted = $("overlay").value;
  const focus = document.activeElement?.dataset?.handle;
  $("over").replaceChildren();
  if (wanted === "arrows" && result) for (const [y, x, dy, dx] of arrowsOf(result.method, t)) {
    draw("line", { x1: x, y1: y, x2: x + dx, y2: y + dy, stroke: "#7ee081", "stroke-width": size() });
    draw("circle", { cx: x + dx, cy: y + dy, r: 1.4 * size(), fill: "#7ee081" });
  }
  if (lines && wanted !== "none") wall(lines);
  if (pending && pending.frame === t) spread(pending);
  for (const p of points) draw("circle", { cx: p[1] + .5, cy: p[0] + .5, r: 3.5 * size(), fill: "#ffd23f", stroke: "#000" });
  if (paths) tracks(t);
  if (focus !== undefined) document.querySelector(`[data-handle="${focus}"]`)?.focus();
}
function wall(lines) { // the measured layer in the colours of its segments, the other two plain
  const { result } = state, layer = state.settings.layers.indexOf(result.layer);
  for (const k of [0, 2]) if (k !== layer) polyline(lines[k], k ? "#9fd0ff" : "#ffffff");
  const line = lines[layer], n = line.length - 1;
  result.segments.forEach((s, k) => polyline(line.slice(Math.floor(k * n / 6), Math.floor((k + 1) * n / 6) + 1), s.rejected ? "#777" : result.colours[k],
    state.hover === s.name ? 5 : 2.2, { opacity: state.hover && state.hover !== s.name ? .45 : 1, "data-piece": s.name }));
  if (!timer && tool() in BORDERS && !pending) handles(lines[BORDERS[tool()]]);
}
const BORDERS = { handles: 0, epicardium: 2 };
const coarse = matchMedia("(pointer: coarse)");
function handles(line) {
  const count = +$("count").value, at = [...Array(count).keys()].map(k => k / (count - 1));
  const seen = (coarse.matches ? 9 : 6) * pixel(), touched = (coarse.matches ? 22 : 11) * pixel();
  at.forEach((share, k) => {
    const p = line[Math.round(share * (line.length - 1))], label = `handle ${k + 1} of ${count}, arrow keys move it`;
    const dot = draw("circle", { cx: p[1] + .5, cy: p[0] + .5, r: seen, class: "dot" });
    const node = draw("circle", { cx: p[1] + .5, cy: p[0] + .5, r: touched, class: "handle", tabindex: 0, role: "button", "data-handle": k, "aria-label": label });
    const by = (dy, dx) => at.map((_, j) => j === k ? [dy, dx] : [0, 0]);
    const moved = event => [(event.clientY - dragging.y) * pixel(), (event.clientX - dragging.x) * pixel()];
    node.onpointerdown = event => {
      event.preventDefault(); event.stopPropagation(); pause(); node.setPointerCapture(event.pointerId); node.focus();
      dragging = { x: event.clientX, y: event.clientY, moved: false };
    };
    node.onpointermove = event => {
      if (!dragging) return;
      const [dy, dx] = moved(event);
      dragging.moved = true;
      for (const circle of [dot, node]) { circle.setAttribute("cx", p[1] + .5 + dx); circle.setAttribute("cy", p[0] + .5 + dy); }
      pending = drawn(at, by(dy, dx));
      for (const old of $("over").querySelectorAll(".pending")) old.remove();
      spread(pending); notify();
    };
    node.onpointerup = event => {
      if (!dragging) return;
      const [dy, dx] = moved(event), far = dragging.moved && (dy || dx);
      dragging = null;
      if (far) moveWall(at, by(dy, dx)); else { pending = null; overlay(); }
    };
    node.onpointercancel = () => { dragging = pending = null; overlay(); };
    node.onkeydown = event => {
      const step = { ArrowUp: [-2, 0], ArrowDown: [2, 0], ArrowLeft: [0, -2], ArrowRight: [0, 2] }[event.key];
      if (step && !state.busy) { event.preventDefault(); event.stopPropagation(); moveWall(at, by(...step)); }
    };
  });
}
// A wall that was moved and is not measured yet.
const border = () => tool() === "epicardium" ? "epicardium" : "endocardium";
const drawn = (at, moved) => ({ frame: state.t, at, moved, border: border(), rows: spline(at, moved.map(m => m[0])), columns: spline(at, moved.map(m => m[1])) });
const movedBy = ({ border: kind, rows, columns }) => (share, k) => {
  const part = kind === "epicardium" ? k / 2 : 1;
  return [part * rows(share), part * columns(share)];
};
function spread(one) {
  const lines = state.result?.lines[one.frame], by = movedBy(one);
  for (const k of [0, 2]) if (lines) polyline(lines[k].map((p, i) => { const d = by(i / (lines[k].length - 1), k); return [p[0] + d[0], p[1] + d[1]]; }),
    "#ffd23f", 1.6, { class: "pending", "stroke-dasharray": `${5 * size()} ${4 * size()}` });
}
export const estimate = call => pending ? call(movedBy(pending)) : null;
export function clearPending() { pending = null; points = []; overlay(); }
async function moveWall(at, moved) {
  const start = performance.now();
  pending = drawn(at, moved); overlay(); notify();
  requestAnimationFrame(() => estimates.push(performance.now() - start));
  if (await changed(() => send("step", { what: "wall", value: { frame: state.t, border: border(), at, moved } }))) times.push(performance.now() - start);
}

// Points and lines that are followed; three clicks for a wall, two for a scale.
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
function mmode() { // with its axes: depth along the line, time or frames
  const clock = state.result?.times || state.info.about.times, frames = state.info.about.frames, length = paths.distance[0][paths.frame];
  const end = clock ? `${(1000 * (clock[frames - 1] - clock[0])).toFixed(0)} ms` : `frame ${frames - 1}`;
  const image = element("img", { src: paths.picture, alt: `M-mode: time from left to right (${end}), along the line from top to bottom (${length.toFixed(0)} ${paths.unit})` });
  const label = (words, name) => element("span", { className: `axis ${name}`, textContent: words });
  return element("div", { className: "mmode" }, element("div", { className: "picture" }, image, element("div", { className: "now" })),
    label(`0 ${paths.unit}`, "top"), label(`${length.toFixed(0)} ${paths.unit}`, "bottom"), label(clock ? "0 ms" : "frame 0", "left"), label(end, "right"));
}
const HINTS = {
  clicks: ["Click the mitral annulus on one side.", "Click the annulus on the other side.", "Click the apex."],
  scale: ["Click one end of a known distance on the depth scale.", "Click its other end."],
  line: ["Click one end of the line.", "Click its other end."], points: ["Click the points to follow."],
};
const SENT = { clicks: "Fitting the wall to the three points …", scale: "Setting the scale …", line: "Following the line …" };
function hint() { // what to click next; where all was clicked, what is being done with it
  const words = HINTS[tool()], next = words?.[points.length];
  $("todo").textContent = next ?? (tool() === "points" ? words[0] : SENT[tool()] ?? "");
}
export function use(name) { $("tool").value = name; $("tool").dispatchEvent(new Event("change")); $("player").scrollIntoView({ block: "nearest" }); }
const clicked = guarded(async event => {
  const kind = tool();
  if (kind in BORDERS || state.busy) return;
  const box = $("over").getBoundingClientRect(), most = { clicks: 3, scale: 2, line: 2, points: state.settings.points }[kind];
  if (points.length >= most) return say(`at most ${most} points`);
  pause();
  points = [...points, [(event.clientY - box.top) * pixel() - .5, (event.clientX - box.left) * pixel() - .5]];
  overlay(); hint();
  if (kind === "clicks" && points.length === 3) {
    const start = performance.now();
    if (await changed(() => send("step", { what: "clicks", value: { frame: state.t, points } }))) { times.push(performance.now() - start); use("handles"); }
  } else if (kind === "scale" && points.length === 2) {
    if (await changed(() => send("step", { what: "scale", value: { points, mm: +$("mm").value } }))) use("handles");
  } else if (kind === "points" || (kind === "line" && points.length === 2)) await follow(kind);
  hint();
});
async function follow(kind) {
  const frame = kind === "points" && paths && !paths.picture ? paths.frame : state.t, sent = points, { id } = state.info;
  const found = await send(kind === "line" ? "line" : "points", { frame, points: sent });
  if (state.info?.id !== id) return;
  paths = { ...found, frame };
  if (kind === "line") points = [];
  const parts = paths.picture ? [mmode()] : [];
  parts.push(...trackPlots().map(() => element("canvas", { className: "small" })));
  const clear = element("button", { textContent: "Clear" });
  clear.onclick = () => { clearTracks(); overlay(); };
  $("tracks").replaceChildren(...parts, clear);
  overlay(); drawTracks();
}

$("over").addEventListener("click", clicked);
$("play").onclick = toggle;
$("seek").oninput = () => { pause(); show(+$("seek").value); };
$("in").onclick = () => scale(1.25);
$("out").onclick = () => scale(0.8);
$("overlay").onchange = $("count").onchange = overlay;
$("tool").onchange = () => { points = []; hint(); overlay(); notify(); };
onFrame(drawTracks);
coarse.addEventListener("change", overlay);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", notify);
