const $ = id => document.getElementById(id), SVG = "http://www.w3.org/2000/svg";
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name);
let id = null, info = null, method = "cpwc", result = null, blob = null, offsets = [], cache = new Map(), t = 0,
    timer = null, zoom = 1, arrows = null, points = [], paths = null, dragging = null, busy = false;
window.workbench = { times: [] };

$("who").value = localStorage.getItem("who") || "";
$("who").onchange = () => localStorage.setItem("who", $("who").value);

async function ask(path, options = {}) {
  const who = $("who").value.replace(/[^\x20-\x7e]/g, "?");
  const answer = await fetch(path, { ...options, headers: { "X-Who": who, ...(options.headers || {}) } });
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({ detail: answer.statusText }));
    throw new Error(said.detail);
  }
  return answer;
}
const send = (what, body = {}) => ask(`/api/cases/${id}/${what}`, { method: "POST", body: JSON.stringify({ method, ...body }) }).then(a => a.json());
const say = text => { $("message").textContent = text || ""; };
const guarded = call => async (...given) => { try { say(""); return await call(...given); } catch (error) { say(error.message); } };

const upload = guarded(async files => {
  const sorted = [...files].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  for (const file of sorted) {
    const found = await (await ask(`/api/uploads?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file })).json();
    if (!id) id = found.id;
  }
});
$("files").onchange = () => upload($("files").files);
$("drop").onclick = event => { if (event.target !== $("files")) $("files").click(); };
$("drop").onkeydown = event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); $("files").click(); } };
for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, event => {
  event.preventDefault(); $("drop").classList.toggle("over", kind === "dragover");
  if (kind === "drop") upload(event.dataTransfer.files);
});
$("example").onclick = guarded(async () => { id = (await (await ask("/api/example", { method: "POST" })).json()).id; });

function listen() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/events`);
  socket.onmessage = event => list(JSON.parse(event.data));
  socket.onclose = () => setTimeout(listen, 1500);
}
let seen = {};
function list(cases) {
  $("list").replaceChildren(...cases.map(one => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.className = "case" + (one.id === id ? " on" : ""); button.dataset.case = one.id; button.dataset.status = one.status;
    const text = document.createElement("span"), sub = document.createElement("div"); sub.className = "sub";
    text.append(one.title, sub);
    const about = one.about, m = one.methods && Object.values(one.methods)[0];
    sub.textContent = one.failed || [about && about.view.replaceAll("_", " "), about && about.rate && about.rate.toFixed(0) + " Hz",
      about && about.frames + " frames", about && (about.spacing ? about.spacing[0].toFixed(2) + " mm/px" : "no spacing"),
      m && "quality " + m.nlcc.toFixed(2) + (m.out ? `, ${m.out} out` : "")].filter(Boolean).join(" · ");
    if (about) { const picture = new Image(); picture.alt = ""; picture.src = `/api/cases/${one.id}/shown/thumbnail`; button.append(picture); }
    button.append(text); button.onclick = () => open(one.id); item.append(button);
    if (one.progress) {
      const bar = document.createElement("progress"), stop = document.createElement("button");
      bar.value = one.progress.share; bar.title = one.progress.what; stop.textContent = `Cancel: ${one.progress.what}`;
      stop.onclick = () => ask(`/api/cases/${one.id}/cancel`, { method: "POST", body: "{}" }); item.append(bar, stop);
    }
    return item;
  }));
  const now = cases.find(one => one.id === id);
  const key = now && JSON.stringify([now.status, now.methods, now.files, !!now.about]);
  if (now && now.about && seen[id] !== key && !busy) { seen[id] = key; open(id); }
}

const open = guarded(async name => {
  const fresh = name !== (info && info.id); id = name;
  info = await (await ask(`/api/cases/${name}`)).json();
  if (!info.about) return;
  $("work").hidden = false;
  const names = Object.keys(info.results); if (!info.results[method]) method = names.find(n => info.results[n]) || method;
  if (fresh) {
    blob = await (await ask(`/api/cases/${name}/shown/frames`)).blob(); cache.clear(); offsets = [0];
    for (const size of info.about.sizes) offsets.push(offsets.at(-1) + size);
    t = 0; points = []; paths = null; $("tracks").replaceChildren(); pause();
    $("frame").width = info.about.width; $("frame").height = info.about.height;
    $("over").setAttribute("viewBox", `0 0 ${info.about.width} ${info.about.height}`);
    $("seek").max = info.about.frames - 1;
  }
  if (fresh || !arrows) arrows = info.results[method] ? await ask(`/api/cases/${name}/shown/arrows_${method}`).then(a => a.arrayBuffer()).catch(() => null) : null;
  result = info.results[method]; $("title").textContent = info.title; side(); await show(t);
});

async function picture(k) {
  if (!cache.has(k)) {
    cache.set(k, createImageBitmap(blob.slice(offsets[k], offsets[k + 1], "image/webp")));
    if (cache.size > 90) { const old = cache.keys().next().value; (await cache.get(old)).close(); cache.delete(old); }
  }
  return cache.get(k);
}
async function show(k) {
  t = Math.max(0, Math.min(info.about.frames - 1, k));
  const image = await picture(t); $("frame").getContext("2d").drawImage(image, 0, 0);
  $("seek").value = t; const times = info.about.times;
  $("at").textContent = `frame ${t}` + (times ? ` · ${(1000 * times[t]).toFixed(0)} ms` : ""); overlay(); curves();
  if (timer) picture((t + 1) % info.about.frames);
}
function pause() { clearTimeout(timer); timer = null; $("play").textContent = "Play"; }
function play() {
  $("play").textContent = "Pause"; const times = info.about.times, count = info.about.frames, start = performance.now(), first = t;
  const step = times ? 1000 * (times[count - 1] - times[0]) / (count - 1) : 40;
  const tick = async () => { await show((first + Math.floor((performance.now() - start) / step)) % count); if (timer) timer = setTimeout(tick, Math.max(4, step / 3)); };
  timer = setTimeout(tick, step);
}
$("play").onclick = () => timer ? pause() : play();
$("seek").oninput = () => { pause(); show(+$("seek").value); };
$("in").onclick = () => scale(1.25); $("out").onclick = () => scale(0.8);
function scale(by) { zoom = Math.max(1, Math.min(6, zoom * by)); for (const name of ["frame", "over"]) $(name).style.width = `${100 * zoom}%`; }
document.addEventListener("keydown", event => {
  if (!info || ["INPUT", "SELECT"].includes(event.target.tagName) || event.target.classList.contains("handle")) return;
  const acts = { " ": () => timer ? pause() : play(), ArrowRight: () => { pause(); show(t + 1); }, ArrowLeft: () => { pause(); show(t - 1); }, "+": () => scale(1.25), "-": () => scale(0.8),
    z: () => event.ctrlKey && turn("undo"), y: () => event.ctrlKey && turn("redo") };
  if (event.key === " " && event.target.tagName === "BUTTON") return;
  if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
});
function draw(kind, values) { const node = document.createElementNS(SVG, kind); for (const key in values) node.setAttribute(key, values[key]); $("over").append(node); return node; }
const polyline = (line, colour, width = 1.6) => draw("polyline", { points: line.map(p => `${p[1] + .5},${p[0] + .5}`).join(" "), fill: "none", stroke: colour, "stroke-width": width * info.about.width / 480 });
const tool = () => $("tool").value;
function overlay() {
  if (dragging) return;
  const lines = result && result.lines[t]; $("over").replaceChildren();
  const size = info.about.width / 480;
  if ($("overlay").value === "arrows" && arrows && t > 0) {
    const { width, height } = info.about, step = 24, rows = Math.ceil((height - 12) / step), columns = Math.ceil((width - 12) / step);
    const values = new Float32Array(arrows, 8 * (t - 1) * rows * columns, 2 * rows * columns);
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
      const y = 12 + r * step, x = 12 + c * step, dy = -4 * values[2 * (r * columns + c)], dx = -4 * values[2 * (r * columns + c) + 1];
      if (Math.hypot(dx, dy) > 1.5) { draw("line", { x1: x, y1: y, x2: x + dx, y2: y + dy, stroke: "#7ee081", "stroke-width": size }); draw("circle", { cx: x + dx, cy: y + dy, r: 1.4 * size, fill: "#7ee081" }); }
    }
  }
  if (lines && $("overlay").value !== "none") {
    polyline(lines[0], "#ffffff"); polyline(lines[2], "#9fd0ff");
    const n = lines[1].length - 1;
    result.segments.forEach((s, k) => polyline(lines[1].slice(Math.floor(k * n / 6), Math.floor((k + 1) * n / 6) + 1), s.rejected ? "#777" : result.colours[k], 2));
    if (!timer && ["handles", "epicardium"].includes(tool())) handles(lines[tool() === "epicardium" ? 2 : 0], size);
  }
  if (paths) paths.path[t].forEach((p, k) => {
    polyline(paths.path.slice(0, t + 1).map(f => f[k]), "#ff6b6b", 1); draw("circle", { cx: p[1] + .5, cy: p[0] + .5, r: 3.5 * size, fill: result.colours[k % 6], stroke: "#fff" });
  });
  if (paths && paths.picture) polyline(paths.path[t], "#ffd23f", 1.4);
}
function handles(line, size) {
  const count = +$("count").value, at = [...Array(count).keys()].map(k => k / (count - 1));
  at.forEach((share, k) => {
    const p = line[Math.round(share * (line.length - 1))];
    const node = draw("circle", { cx: p[1] + .5, cy: p[0] + .5, r: 5 * size, class: "handle", tabindex: 0, "data-handle": k, "aria-label": `handle ${k + 1} of ${count}` });
    const release = (dy, dx) => { if (dy || dx) drop(at, at.map((_, j) => j === k ? [dy, dx] : [0, 0])); };
    node.onpointerdown = event => { event.preventDefault(); pause(); node.setPointerCapture(event.pointerId); dragging = { x: event.clientX, y: event.clientY }; };
    node.onpointermove = event => { if (!dragging) return; const f = factor(); node.setAttribute("cx", p[1] + .5 + (event.clientX - dragging.x) * f); node.setAttribute("cy", p[0] + .5 + (event.clientY - dragging.y) * f); };
    node.onpointerup = event => { if (!dragging) return; const f = factor(), d = dragging; dragging = null; release((event.clientY - d.y) * f, (event.clientX - d.x) * f); };
    node.onkeydown = event => { const moves = { ArrowUp: [-2, 0], ArrowDown: [2, 0], ArrowLeft: [0, -2], ArrowRight: [0, 2] }; if (moves[event.key]) { event.preventDefault(); event.stopPropagation(); release(...moves[event.key]); } };
  });
}
const factor = () => info.about.width / $("over").getBoundingClientRect().width;
const drop = guarded(async (at, moved) => {
  const start = performance.now();
  await changed(() => send("step", { what: "wall", value: { frame: t, border: tool() === "epicardium" ? "epicardium" : "endocardium", at, moved } }));
  window.workbench.times.push(performance.now() - start);
});
async function changed(call) {
  busy = true;
  try { result = await call(); info.results[method] = result; side(); overlay(); curves(); await new Promise(requestAnimationFrame); }
  finally { busy = false; }
  refresh();
}
async function refresh() { info = await (await ask(`/api/cases/${id}`)).json(); side(); }
const turn = guarded(what => changed(() => send(what)));
$("undo").onclick = () => turn("undo"); $("redo").onclick = () => turn("redo");
const step = guarded((what, value) => changed(() => send("step", { what, value })));
$("reset").onclick = () => step("reset", null); $("view").onchange = () => info.results[method] ? step("view", $("view").value) : null;
for (const name of ["ed", "es"]) $(name).onchange = () => step(name, +$(name).value);
for (const name of ["overlay", "tool", "count"]) $(name).onchange = () => { points = []; overlay(); };
$("run").onclick = guarded(async () => { method = $("method").value; result = info.results[method]; arrows = null; await send("measure"); });
$("method").onchange = () => { method = $("method").value; arrows = null; if (info.results[method]) open(id); };
$("take").onclick = guarded(() => send("take"));
const text = (value, digits = 1) => value == null ? "–" : value.toFixed(digits).replace("-", "−");

function side() {
  $("undo").disabled = !info.can.undo; $("redo").disabled = !info.can.redo;
  $("method").replaceChildren(...[["cpwc", "NCC flow"], ["farneback", "Farnebäck"], ["nmsr", "NMSR"]].map(([value, name]) => new Option(name, value, value === method, value === method)));
  $("methods").innerHTML = "<tr><th></th><th>GLS, %</th><th>drift, %</th><th>NLCC</th><th>s</th></tr>";
  for (const [name, m] of Object.entries(info.methods || {})) { const row = $("methods").insertRow(); row.dataset.method = name; [m.title, text(m.gls), text(m.drift), text(m.nlcc, 2), text(m.seconds)].forEach(cell => { row.insertCell().textContent = cell; }); }
  $("log").replaceChildren(...info.log.map(entry => { const item = document.createElement("li"); item.textContent = `${entry.when} ${entry.who || "somebody"}: ${entry.what}`; return item; }));
  $("taken").replaceChildren(...(info.files || []).map(name => { const item = document.createElement("li"), link = document.createElement("a"); link.href = `/api/cases/${id}/take/${name}`; link.textContent = name; if (name !== "report.html") link.download = name; else link.target = "_blank"; item.append(link); return item; }));
  $("big").replaceChildren(); $("warn").textContent = info.failed || ""; $("bullseye").replaceChildren(); $("segments").replaceChildren();
  if (!result) return;
  $("view").value = result.view; const beat = result.beats[0]; $("ed").value = beat.ed; $("es").value = beat.es;
  const big = document.createElement("div"); big.className = "big"; big.id = "gls"; big.dataset.value = result.means.gls; big.textContent = `${text(result.means.gls)} % `;
  const small = document.createElement("small"); small.textContent = `GLS, ${result.line} · drift ${text(result.means.drift)} % · EF ${text(result.means.ejection_fraction, 0)} %`; big.append(small); $("big").append(big);
  $("warn").textContent = result.warnings.join(" "); $("bullseye").innerHTML = result.bullseye;
  $("segments").replaceChildren(...result.segments.map((s, k) => { const button = document.createElement("button"); button.textContent = `${s.name} ${text(s.end_systolic)}`; button.title = s.rejected || "switch off"; button.className = s.rejected ? "off" : ""; button.style.borderLeft = `6px solid ${result.colours[k]}`; button.onclick = () => step("segment", s.name); return button; }));
}
let frameOf = x => 0, markAt = null;
function curves() {
  const canvas = $("curves"), pen = canvas.getContext("2d"), { width, height } = canvas; pen.clearRect(0, 0, width, height); if (!result) return;
  const series = []; let low = 0, high = 0, first = Infinity, last = 0;
  for (const beat of result.beats) { first = Math.min(first, beat.ed); last = Math.max(last, beat.end);
    for (const [name, curve] of Object.entries(beat.curves)) { const k = result.segments.findIndex(s => s.name === name && !s.rejected); if (k < 0 && name !== "gls") continue; series.push([beat.ed, curve, name === "gls" ? css("--ink") : result.colours[k], name === "gls" ? 3 : 1.3]); for (const v of curve) { low = Math.min(low, v); high = Math.max(high, v); } } }
  low = Math.floor(low / 5) * 5; high = Math.ceil(high / 5) * 5 || 5;
  const x = f => 40 + (f - first) / Math.max(1, last - first) * (width - 52), y = v => 18 + (high - v) / (high - low) * (height - 40);
  frameOf = px => Math.round(first + (px - 40) / (width - 52) * (last - first));
  pen.font = "12px system-ui"; pen.fillStyle = css("--muted"); pen.strokeStyle = css("--edge"); pen.lineWidth = 1;
  for (let v = low; v <= high; v += 5) { pen.beginPath(); pen.moveTo(40, y(v)); pen.lineTo(width - 12, y(v)); pen.stroke(); pen.fillText(text(v, 0), 8, y(v) + 4); }
  for (const [start, curve, colour, wide] of series) { pen.strokeStyle = colour; pen.lineWidth = wide; pen.beginPath(); curve.forEach((v, k) => k ? pen.lineTo(x(start + k), y(v)) : pen.moveTo(x(start), y(v))); pen.stroke(); }
  pen.lineWidth = 1; markAt = [];
  for (const beat of result.beats) for (const mark of ["ed", "es"]) { pen.strokeStyle = pen.fillStyle = css("--accent"); pen.setLineDash([4, 3]); pen.beginPath(); pen.moveTo(x(beat[mark]), 16); pen.lineTo(x(beat[mark]), height - 20); pen.stroke(); pen.setLineDash([]); pen.fillText(mark.toUpperCase(), x(beat[mark]) - 8, 12); markAt.push([x(beat[mark]), mark]); }
  pen.strokeStyle = "#e05050"; pen.beginPath(); pen.moveTo(x(t), 16); pen.lineTo(x(t), height - 20); pen.stroke(); pen.fillStyle = css("--muted"); pen.fillText("strain, %; frames " + first + " to " + last, 44, height - 5);
}
let mark = null; const where = event => (event.clientX - $("curves").getBoundingClientRect().left) * $("curves").width / $("curves").getBoundingClientRect().width;
$("curves").onpointerdown = event => { if (!result) return; pause(); const near = markAt.find(m => Math.abs(m[0] - where(event)) < 8); mark = near ? near[1] : null; $("curves").setPointerCapture(event.pointerId); show(frameOf(where(event))); };
$("curves").onpointermove = event => { if (event.buttons && result) show(frameOf(where(event))); };
$("curves").onpointerup = event => { if (mark) { const frame = frameOf(where(event)), name = mark; mark = null; if (frame !== result.beats[0][name]) step(name, frame); } };

$("over").addEventListener("click", guarded(async event => {
  if (!result || !["points", "line"].includes(tool())) return;
  const box = $("over").getBoundingClientRect(), f = factor(); points.push([(event.clientY - box.top) * f - .5, (event.clientX - box.left) * f - .5]);
  if (tool() === "line" && points.length < 2) return;
  paths = await send(tool() === "line" ? "line" : "points", { frame: t, points }); if (tool() === "line") points = [];
  const unit = paths.unit, parts = [];
  if (paths.picture) { const image = new Image(); image.src = paths.picture; image.alt = "M-mode"; image.style.width = "100%"; parts.push(image); }
  parts.push(plot(paths.displacement, `displacement, ${unit}`)); if (paths.distance.length) parts.push(plot(paths.distance, `distance between neighbours, ${unit}`));
  $("tracks").replaceChildren(...parts); overlay();
}));
function plot(rows, label) {
  const canvas = document.createElement("canvas"); canvas.width = 520; canvas.height = 130; canvas.style.width = "100%"; const pen = canvas.getContext("2d"), all = rows.flat(), low = Math.min(...all), high = Math.max(...all, low + 1e-6);
  pen.fillStyle = css("--muted"); pen.font = "12px system-ui"; pen.fillText(`${label}: ${low.toFixed(1)} to ${high.toFixed(1)}`, 6, 12);
  rows.forEach((row, k) => { pen.strokeStyle = result.colours[k % 6]; pen.beginPath(); row.forEach((v, i) => pen.lineTo(6 + i / (row.length - 1) * 508, 122 - (v - low) / (high - low) * 100)); pen.stroke(); }); return canvas;
}
listen();
