// The page: the list of cases, what is measured of the one that is open, and the steps that change it.
import { $, ask, css, element, guarded, json, options, plot, say, send, state, text } from "./shared.js";
import * as player from "./player.js";
import * as compare from "./compare.js";
import * as volume from "./volume.js";

$("who").value = localStorage.getItem("who") || "";
$("who").onchange = () => localStorage.setItem("who", $("who").value);

// Files and folders that are dropped or chosen.
const known = name => state.settings.suffixes.some(suffix => name.toLowerCase().endsWith(suffix));
async function nameOf(file) { // files of a study have no suffix; what is in them tells
  if (known(file.name)) return file.name;
  const mark = await file.slice(128, 132).text().catch(() => "");
  return mark === "DICM" && !/^dicomdir$/i.test(file.name) ? `${file.name}.dcm` : null;
}
const upload = guarded(async files => {
  const sorted = [...files].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  let left = 0, first = true;
  for (const file of sorted) {
    const name = await nameOf(file);
    if (!name && sorted.length > 1) { left++; continue; }
    const found = await json(`/api/uploads?name=${encodeURIComponent(name || file.name)}`, { method: "POST", body: file });
    if (first) { state.id = found.id; first = false; }
  }
  if (left) say(`${left} files are of no known kind and were left out`);
});
async function filesIn(entry) {
  if (!entry.isDirectory) return entry.name.startsWith(".") ? [] : [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader(), found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return found;
    for (const one of some) found.push(...await filesIn(one));
  }
}
$("files").onchange = () => upload($("files").files);
$("folder").onchange = () => upload($("folder").files);
$("choose").onclick = () => $("files").click();
$("study").onclick = () => $("folder").click();
for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, event => {
  event.preventDefault(); $("drop").classList.toggle("over", kind === "dragover");
  if (kind !== "drop") return;
  const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean), { files } = event.dataTransfer;
  if (!entries.some(entry => entry.isDirectory)) upload(files);
  else Promise.all(entries.map(filesIn)).then(found => upload(found.flat()));
});
$("example").onclick = guarded(async () => { state.id = (await json("/api/example", { method: "POST" })).id; });
$("studies").onchange = guarded(async () => {
  state.id = (await json(`/api/studies?name=${encodeURIComponent($("studies").value)}`, { method: "POST" })).id;
  $("studies").value = "";
  if (!state.busy) open(state.id);
});

// The list, as the server tells it.
function listen() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/events`);
  socket.onmessage = event => list(JSON.parse(event.data));
  socket.onclose = () => setTimeout(listen, 1500);
}
const seen = {};
function about(one) {
  const found = one.about, row = Object.values(one.methods || {})[0];
  if (one.failed) return one.failed;
  if (!found) return one.status;
  if (found.kind === "volume") return [`volume, ${found.shape.join(" × ")}`, row && (row.dice != null ? `Dice ${row.dice.toFixed(3)}` : "segmented")].filter(Boolean).join(" · ");
  return [found.view.replaceAll("_", " "), found.rate && `${found.rate.toFixed(0)} Hz`, `${found.frames} frames`,
    found.spacing ? `${found.spacing[0].toFixed(2)} mm/px` : "no spacing",
    row && `quality ${row.nlcc.toFixed(2)}${row.out ? `, ${row.out} out` : ""}`].filter(Boolean).join(" · ");
}
function list(cases) {
  const focus = document.activeElement?.dataset?.case;
  $("list").replaceChildren(...cases.map(one => {
    const button = element("button", { className: `case${one.id === state.id ? " on" : ""}` });
    button.dataset.case = one.id; button.dataset.status = one.status;
    if (one.about) button.append(element("img", { alt: "", src: `/api/cases/${one.id}/shown/thumbnail` }));
    button.append(element("span", {}, one.title, element("div", { className: "sub", textContent: about(one) })));
    button.onclick = () => open(one.id);
    const item = element("li", {}, button);
    if (one.progress) {
      const stop = element("button", { textContent: "Cancel", title: "end what is being done" });
      stop.onclick = guarded(() => ask(`/api/cases/${one.id}/cancel`, { method: "POST", body: "{}" }));
      item.append(element("div", { className: "doing" }, element("progress", { value: one.progress.share, ariaLabel: one.progress.what }),
        element("span", { className: "sub", textContent: `${one.progress.what}, ${Math.round(100 * one.progress.share)} %` }), stop));
    }
    return item;
  }));
  if (focus) document.querySelector(`[data-case="${focus}"]`)?.focus();
  const now = cases.find(one => one.id === state.id);
  if (!now && state.info) close();
  const key = now && JSON.stringify([now.status, now.methods, now.files, now.failed, now.about]);
  if (now?.about && seen[state.id] !== key && !state.busy) { seen[state.id] = key; open(state.id); }
}
function close() { player.pause(); state.id = state.info = state.result = null; $("work").hidden = $("volume").hidden = true; $("hint").hidden = false; }

const open = guarded(async name => {
  const fresh = name !== state.info?.id, info = await json(`/api/cases/${name}`);
  state.id = name;
  for (const button of document.querySelectorAll(".case")) button.classList.toggle("on", button.dataset.case === name);
  if (!info.about) return;
  const kind = info.about.kind, methods = state.settings.kinds[kind], cine = kind === "cine";
  if (fresh) player.pause();
  const frames = cine && fresh ? await player.framesOf(name) : null;
  if (name !== state.id) return; // another case was opened meanwhile
  state.info = info;
  if (frames) player.load(frames);
  if (fresh || !methods.includes(state.method)) state.method = methods.find(m => info.results[m]) || methods[0];
  $("hint").hidden = true; $("work").hidden = !cine; $("volume").hidden = cine;
  state.result = info.results[state.method] || null;
  taken();
  if (!cine) { $("vtitle").textContent = info.title; return volume.load(fresh); }
  const beat = state.result?.beats[0], first = (fresh || !shownOnce.has(name)) && beat;
  if (first) shownOnce.add(name);
  $("title").textContent = info.title; side(); compare.table();
  await player.show(first ? beat.ed : state.t);
});
const shownOnce = new Set();
async function refresh() { // after a step: what is said of the case, the log, the other methods
  const { id } = state, info = await json(`/api/cases/${id}`);
  if (id === state.id) { state.info = info; side(); compare.table(); taken(); }
}

// Steps.
player.onStep(changed);
async function changed(call) {
  state.busy = true;
  try {
    say("");
    const result = await call();
    if (result) { state.result = state.info.results[state.method] = result; side(); player.overlay(); curves(); }
    await new Promise(requestAnimationFrame);
    return true;
  } catch (error) { say(error.message); return false; } finally { state.busy = false; refresh(); }
}
const turn = what => changed(() => send(what));
const step = (what, value) => changed(() => send("step", { what, value }));
$("undo").onclick = () => turn("undo");
$("redo").onclick = () => turn("redo");
$("reset").onclick = () => step("reset", null);
$("view").onchange = () => step("view", $("view").value);
$("layer").onchange = () => step("layer", $("layer").value);
for (const name of ["ed", "es"]) $(name).onchange = () => step(name, +$(name).value);
$("run").onclick = guarded(() => send("measure"));
$("method").onchange = () => {
  state.method = $("method").value; state.result = state.info.results[state.method] || null; side(); player.overlay(); curves();
};
$("take").onclick = guarded(() => send("take"));
for (const button of document.querySelectorAll(".remove")) button.onclick = guarded(async () => {
  if (confirm(`Remove ${state.info.title} with all that was made of it?`)) await ask(`/api/cases/${state.id}`, { method: "DELETE" });
});
document.addEventListener("keydown", event => {
  if (!state.info || $("work").hidden || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
  if (event.key === " " && ["BUTTON", "SUMMARY", "A"].includes(event.target.tagName)) return;
  const jump = k => { player.pause(); player.show(k); }, beat = state.result?.beats[0];
  const acts = { " ": player.toggle, ArrowRight: () => jump(state.t + 1), ArrowLeft: () => jump(state.t - 1),
    Home: () => jump(0), End: () => jump(state.info.about.frames - 1), "+": () => player.scale(1.25), "-": () => player.scale(0.8),
    d: () => beat && jump(beat.ed), s: () => beat && jump(beat.es) };
  const control = { z: () => turn("undo"), y: () => turn("redo") };
  const act = event.ctrlKey || event.metaKey ? control[event.key] : acts[event.key];
  if (act) { event.preventDefault(); act(); }
});

// What is said beside the cine.
function taken() {
  for (const place of [$("taken"), $("vtaken")]) place.replaceChildren(...(state.info.files || []).map(name => {
    const link = element("a", { href: `/api/cases/${state.id}/take/${name}`, textContent: name });
    if (name === "report.html") link.target = "_blank"; else link.download = name;
    return element("li", {}, link);
  }));
}
function side() {
  const { info, result, method } = state, methods = state.settings.kinds.cine;
  $("undo").disabled = !info.can.undo; $("redo").disabled = !info.can.redo;
  options($("method"), Object.fromEntries(methods.map(m => [m, state.settings.methods[m]])), method);
  $("run").disabled = !!info.progress; $("run").textContent = info.results[method] ? "Measured" : "Measure";
  $("view").value = info.edits.view || result?.view || info.about.view;
  $("log").replaceChildren(...info.log.map(entry => element("li", { textContent: `${entry.when} ${entry.who || "somebody"}: ${entry.what}` })));
  $("warn").textContent = [info.failed, ...(result?.warnings || info.about.notes)].filter(Boolean).join(" ");
  for (const name of ["big", "bullseye", "segments"]) $(name).replaceChildren();
  for (const name of ["ed", "es", "layer", "take"]) $(name).disabled = !result;
  if (!result) return $("big").append(element("p", { textContent: info.about.ready ? "Not measured yet." : "Not taken for an apical view: choose the view, then measure." }));
  const beat = result.beats[0], { means } = result, whole = means.drift == null ? ", no whole beat" : "";
  $("ed").value = beat.ed; $("es").value = beat.es; $("layer").value = result.layer;
  const big = element("div", { className: "big", id: "gls", textContent: `${text(means.gls)} % ` },
    element("small", { textContent: `GLS, ${result.layer} · drift ${text(means.drift)} %${whole} · EF ${text(means.ejection_fraction, 0)} %` }));
  big.dataset.value = means.gls;
  $("big").append(big);
  $("bullseye").innerHTML = result.bullseye; // drawn by the server
  $("segments").replaceChildren(...result.segments.map((segment, k) => {
    const button = element("button", { textContent: `${segment.name} ${text(segment.end_systolic)}`, className: segment.rejected ? "off" : "",
      title: segment.rejected || "switch off", ariaPressed: String(!segment.rejected) });
    button.style.borderLeft = `6px solid ${result.colours[k]}`; button.onclick = () => step("segment", segment.name);
    return button;
  }));
}
let axis = null, marks = [], mark = null;
function curves() {
  const { result } = state, series = [];
  marks = [];
  for (const beat of result?.beats || []) {
    for (const [name, values] of Object.entries(beat.curves)) {
      const k = result.segments.findIndex(s => s.name === name && !s.rejected);
      if (name === "gls") series.push({ first: beat.ed, values, colour: css("--ink"), wide: 3 });
      else if (k >= 0) series.push({ first: beat.ed, values, colour: result.colours[k] });
    }
    for (const name of ["ed", "es"]) marks.push({ frame: mark?.name === name ? mark.frame : beat[name], name });
  }
  axis = plot($("curves"), series, { label: "strain, %", marks, cursor: state.t, zero: true });
}
player.onFrame(curves);
player.onFrame(() => compare.frame());
const across = event => event.clientX - $("curves").getBoundingClientRect().left;
$("curves").onpointerdown = event => {
  if (!axis) return;
  player.pause(); $("curves").setPointerCapture(event.pointerId);
  const near = marks.find(m => Math.abs(axis.x(m.frame) - across(event)) < 10);
  mark = near ? { ...near } : null;
  player.show(axis.frameOf(across(event)));
};
$("curves").onpointermove = event => {
  if (!event.buttons || !axis) return;
  if (mark) mark.frame = axis.frameOf(across(event));
  player.show(axis.frameOf(across(event)));
};
$("curves").onpointerup = event => {
  if (!mark) return;
  const { name } = mark, frame = axis.frameOf(across(event));
  mark = null;
  if (frame !== state.result.beats[0][name]) step(name, frame); else curves();
};
new ResizeObserver(() => { if (state.info && !$("work").hidden) { curves(); player.drawTracks(); compare.frame(); } }).observe($("work"));

state.settings = await json("/api/settings");
options($("view"), state.settings.views, null);
options($("layer"), Object.fromEntries(state.settings.layers.map(name => [name, name])), null);
options($("count"), Object.fromEntries(state.settings.handles.map(n => [n, n])), "7");
if (state.settings.studies.length) {
  options($("studies"), { "": "Open a study", ...Object.fromEntries(state.settings.studies.map(name => [name, name])) }, "");
  $("studies").hidden = false;
}
$("files").accept = state.settings.suffixes.join(",");
listen();
