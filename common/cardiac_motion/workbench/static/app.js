// The page: the list of cases, what is measured of the one that is shown, and the steps that change it.
import { $, ask, css, element, guarded, json, lengthOf, options, plot, post, quietly, say, send, state, takenLinks, text, viewName } from "./shared.js";
import * as player from "./player.js";
import * as compare from "./compare.js";
import * as study from "./study.js";
import * as volume from "./volume.js";
import { uploadAll, filesIn } from "./upload.js";

$("who").value = localStorage.getItem("who") || "";
$("who").onchange = () => localStorage.setItem("who", $("who").value);

// Files and folders that are dropped or chosen. What is shown stays until the first of them can be shown.
let wanted = null; // what is opened next: a case that is on its way, or one that was clicked
const upload = guarded(async files => {
  const { left, stills, first, studyId } = await uploadAll(files, say);
  if (studyId) wanted = `study=${studyId}`;
  else if (first) wanted = first;
  say([left && `${left} file${left > 1 ? "s are" : " is"} of no known kind and ${left > 1 ? "were" : "was"} not taken.`,
    stills && `${stills} file${stills > 1 ? "s hold" : " holds"} one still picture and ${stills > 1 ? "were" : "was"} not taken.`].filter(Boolean).join(" "));
  if (studyId) study.open(studyId);
});
$("files").onchange = () => upload([...$("files").files].map(file => ({ file, path: file.name })));
$("folder").onchange = () => upload([...$("folder").files].map(file => ({ file, path: file.webkitRelativePath || file.name })));
$("choose").onclick = () => $("files").click();
$("folders").onclick = () => $("folder").click();
for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, event => {
  event.preventDefault(); $("drop").classList.toggle("over", kind === "dragover");
  if (kind !== "drop") return;
  const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean), { files } = event.dataTransfer;
  if (!entries.some(entry => entry.isDirectory)) upload([...files].map(file => ({ file, path: file.name })));
  else Promise.all(entries.map(entry => filesIn(entry, ""))).then(found => upload(found.flat()));
});
$("example").onclick = guarded(async () => { wanted = (await json("/api/example", { method: "POST" })).id; });
$("shared").onchange = guarded(async () => {
  wanted = (await json(`/api/shared?name=${encodeURIComponent($("shared").value)}`, { method: "POST" })).id;
  $("shared").value = "";
  open(wanted);
});

// The list, as the server tells it.
function listen() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/events`);
  socket.onopen = () => { $("offline").hidden = true; };
  socket.onmessage = event => list(JSON.parse(event.data));
  socket.onclose = () => { $("offline").hidden = false; setTimeout(listen, 1500); };
}
const seen = {}; // what the page shows of a case: where the server tells the same again, nothing is asked for
const keyOf = one => JSON.stringify([one.status, one.methods, one.files, one.failed, one.about, one.revision, one.doing]);
function about(one) {
  const found = one.about, row = one.methods[state.settings.defaults[found?.kind]] || Object.values(one.methods)[0];
  if (!found) return one.failed || (one.progress ? "" : one.status);
  if (found.kind === "volume") return [`volume, ${found.shape.join(" × ")}`, row && (row.dice != null ? `Dice ${row.dice.toFixed(3)}` : "segmented")].filter(Boolean).join(" · ");
  return [viewName(row?.view || found.view), found.rate ? `${found.rate.toFixed(0)} Hz` : "no frame rate", `${found.frames} frames`,
    found.spacing ? `${found.spacing[0].toFixed(2)} mm/px` : "no spacing",
    row && (row.blocked.length ? "checks fail" : row.gls != null && `GLS ${text(row.gls)} %${one.methods[state.settings.defaults.cine] ? "" : ` (${one.preview ? "preview by " : ""}${row.title})`}`), one.failed].filter(Boolean).join(" · ");
}
const left = seconds => seconds == null ? "" : seconds < 90 ? `, ${Math.max(1, Math.round(seconds))} s left` : `, ${Math.round(seconds / 60)} min left`;
function entry(one) {
  const button = element("button", { className: `case${one.id === state.info?.id ? " on" : ""}` });
  button.dataset.case = one.id; button.dataset.status = one.status;
  if (one.about) button.append(element("img", { alt: "", src: `/api/cases/${one.id}/shown/thumbnail` }));
  button.append(element("span", {}, one.title, element("div", { className: "sub", textContent: about(one) })));
  button.onclick = () => { say(""); wanted = one.id; open(one.id); };
  const item = element("div", { role: "listitem" }, button);
  if (one.progress) {
    const { what, share } = one.progress, stop = element("button", { textContent: "Cancel", ariaLabel: `cancel ${what} of ${one.title}` });
    stop.onclick = guarded(() => post(`/api/cases/${one.id}/cancel`));
    item.append(element("div", { className: "doing" }, element("progress", { value: share, ariaLabel: what }),
      element("span", { className: "sub", textContent: what === "waiting" ? "waits for another" : `${what}, ${Math.round(100 * share)} %${left(one.progress.left)}` }), stop));
  }
  return item;
}
function list({ cases, studies }) {
  const focus = document.activeElement?.dataset?.case, groups = {};
  for (const one of cases) (groups[one.group && studies[one.group] ? one.group : one.id] ||= []).push(one);
  $("list").replaceChildren(...Object.entries(groups).flatMap(([name, members]) => {
    if (!studies[name]) return members.map(entry);
    const head = element("button", { className: `case study${state.study?.id === name ? " on" : ""}`, textContent: `Study ${studies[name].title}, ${members.length} cines` });
    head.dataset.study = name; head.onclick = () => { say(""); wanted = `study=${name}`; study.open(name); };
    return [element("div", { role: "listitem" }, head), ...members.reverse().map(one => { const node = entry(one); node.classList.add("member"); return node; })];
  }));
  if (focus) document.querySelector(`[data-case="${focus}"]`)?.focus();
  const coming = cases.find(one => one.id === wanted), now = cases.find(one => one.id === state.info?.id);
  if (state.info && !now) close();
  if (coming && coming.id !== state.info?.id && (coming.about || coming.status === "failed")) open(coming.id);
  else if (now && !state.busy) {
    if (seen[now.id] !== keyOf(now)) open(now.id, true);
  }
  if (state.study) study.changed(cases);
}
function sections(name) { for (const id of ["hint", "failed", "work", "volume", "studypage"]) $(id).hidden = id !== name; }
function close() { player.pause(); state.info = state.result = null; sections("hint"); place(); }
function place() { // where one is, in the address: a reload, or a link, comes back to it
  const at = state.study ? `study=${state.study.id}` : state.info ? `case=${state.info.id}&frame=${state.t}&tool=${$("tool").value}` : "";
  if (location.hash.slice(1) !== at) history.replaceState(null, "", at ? `#${at}` : location.pathname);
}
study.onOpen(() => { player.pause(); state.info = state.result = null; sections("studypage"); place(); });
study.onCase(id => { wanted = id; open(id); });

const shownOnce = new Set();
let opening = 0;
const arrival = { id: null, frame: null }; // where the address says that one was
const open = quietly(async (name, again = false) => {
  const turn = ++opening, fresh = name !== state.info?.id, info = await json(`/api/cases/${name}`);
  const kind = info.about?.kind, cine = kind === "cine";
  if (turn !== opening || (again && fresh)) return; // another case was opened meanwhile
  const frames = cine && fresh ? await player.framesOf(name) : null;
  if (turn !== opening) return;
  if (fresh) { player.pause(); study.close(); state.hover = null; }
  state.info = info; seen[name] = keyOf(info);
  for (const button of document.querySelectorAll(".case")) button.classList.toggle("on", button.dataset.case === name);
  if (!info.about) { failed(); return place(); }
  const methods = state.settings.kinds[kind], main = state.settings.defaults[kind];
  if (frames) player.load(frames);
  if (fresh || !methods.includes(state.method)) state.method = info.results[main] || info.doing ? main : methods.find(m => info.results[m]) || main;
  pick();
  sections(cine ? "work" : "volume"); taken();
  if (!cine) { $("vtitle").textContent = info.title; place(); return volume.load(fresh); }
  const beat = state.result?.beats[0], first = (fresh || !shownOnce.has(name)) && beat;
  if (first) shownOnce.add(name);
  $("title").textContent = info.title; side(); compare.table(); player.clearPending();
  const came = arrival.id === name ? arrival.frame : null;
  arrival.id = null;
  await player.show(came ?? (first ? beat.ed : state.t));
  place();
});
// The result that is shown: of the chosen method, else the preview, which says that it is one.
function pick() {
  const { info } = state, preview = info.results[state.settings.preview];
  state.result = info.results[state.method] || (info.preview && preview) || null;
  state.preview = !!state.result && state.result.method !== state.method;
}
function failed() {
  const { info } = state;
  sections("failed"); $("ftitle").textContent = info.title;
  $("fwhy").textContent = info.failed || (info.progress ? `${info.progress.what} …` : info.status);
  $("retry").disabled = !!info.progress;
}
$("retry").onclick = guarded(() => send("retry"));

// Steps.
player.onStep(changed);
async function changed(call) {
  const { id } = state.info;
  state.busy = true; busy();
  try {
    say("");
    const info = await call();
    if (state.info?.id === id && info?.revision != null) { state.info = info; seen[id] = keyOf(info); pick(); side(); compare.table(); taken(); player.clearPending(); player.overlay(); curves(); }
    await new Promise(requestAnimationFrame);
    return true;
  } catch (error) {
    player.clearPending();
    if (error.status === 409 && state.info?.id === id) await open(id);
    say(error.message);
    return false;
  } finally { state.busy = false; busy(); }
}
function busy() {
  $("busy").textContent = state.busy ? "measuring …" : "";
  $("work").classList.toggle("pending", state.busy);
  curves();
}
const turn = what => changed(() => send(what));
const step = (what, value) => changed(() => send("step", { what, value }));
$("undo").onclick = () => turn("undo");
$("redo").onclick = () => turn("redo");
$("reset").onclick = () => step("reset", null);
$("view").onchange = () => step("view", $("view").value);
$("layer").onchange = () => step("layer", $("layer").value);
for (const name of ["ed", "es"]) $(name).onchange = () => step(name, +$(name).value);
$("pick").onclick = () => player.use("scale");
$("setrate").onclick = () => +$("rate").value && step("frame_rate", { frames_per_second: +$("rate").value });
$("setheart").onclick = () => +$("heart").value && step("frame_rate", { beats_per_minute: +$("heart").value });
$("run").onclick = guarded(() => send("measure"));
$("method").onchange = () => { state.method = $("method").value; pick(); side(); player.overlay(); curves(); };
$("take").onclick = guarded(() => send("take", { method: state.result.method }));
for (const button of document.querySelectorAll(".remove")) button.onclick = guarded(async () => {
  const { id, title, revision } = state.info;
  if (confirm(`Remove ${title} with all that was made of it?`)) await ask(`/api/cases/${id}?revision=${revision}`, { method: "DELETE" });
});
document.addEventListener("keydown", event => {
  if (!state.info || $("work").hidden || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
  if (event.key === " " && ["BUTTON", "SUMMARY", "A"].includes(event.target.tagName)) return;
  const jump = k => { player.pause(); player.show(k); }, beat = state.result?.beats[0];
  const acts = { " ": player.toggle, ArrowRight: () => jump(state.t + 1), ArrowLeft: () => jump(state.t - 1),
    Home: () => jump(0), End: () => jump(state.info.about.frames - 1), "+": () => player.scale(1.25), "-": () => player.scale(0.8),
    d: () => beat && jump(beat.ed), s: () => beat && jump(beat.es) };
  const control = { z: () => state.info.can.undo && turn("undo"), y: () => state.info.can.redo && turn("redo") };
  const act = event.ctrlKey || event.metaKey ? control[event.key] : acts[event.key];
  if (act) { event.preventDefault(); act(); }
});

// What is said beside the cine.
function taken() {
  const { id, files, files_current: current, revision } = state.info;
  for (const place of [$("taken"), $("vtaken")]) takenLinks(place, files, `/api/cases/${id}`, current || state.info.about.kind === "volume");
  $("stamp").textContent = !files ? "" : current ? `Made of step ${files.revision}, which holds now.` : `Out of date: made of step ${files.revision}, before later changes (step ${revision}). Make the files again.`;
  $("stamp").classList.toggle("bad", !!files && !current);
}
const within = found => found ? `${text(found[0])} to ${text(found[1])}` : null;
function gate() { // no number where a check fails
  const { result } = state, node = $("gate");
  node.replaceChildren(); node.className = "";
  if (!result) return;
  if (result.blocked.length) {
    node.className = "blocked";
    const place = element("button", { textContent: "Place the wall" }), show = element("button", { textContent: "Show anyway" });
    place.onclick = () => { player.use("clicks"); };
    show.onclick = () => step("ignore_checks", true);
    node.append(element("strong", { textContent: "No strain is given: a check fails." }),
      element("ul", {}, ...result.blocked.map(words => element("li", { textContent: words }))), element("div", { className: "bar" }, place, show));
  } else if (result.ignored.length) {
    node.className = "blocked ignored";
    const hide = element("button", { textContent: "Hide again" });
    hide.onclick = () => step("ignore_checks", false);
    node.append(element("strong", { textContent: "Not to be relied on: shown although a check fails." }),
      element("ul", {}, ...result.ignored.map(words => element("li", { textContent: words }))), hide);
  }
}
function side() {
  const { info, result, method } = state, methods = state.settings.kinds.cine;
  $("undo").disabled = !info.can.undo; $("redo").disabled = !info.can.redo; $("reset").disabled = !Object.keys(info.edits).length;
  options($("method"), Object.fromEntries(methods.map(m => [m, state.settings.methods[m]])), method);
  $("run").disabled = !!info.progress || !!info.results[method]; $("run").textContent = info.results[method] ? "Measured" : "Measure";
  $("view").value = info.edits.view || result?.view || info.about.view;
  $("log").replaceChildren(...info.log.map(one => element("li", { textContent: `${one.when.slice(0, 16).replace("T", " ")} ${one.who || "somebody"}: ${one.what}` })));
  $("manual").replaceChildren(...info.manual.map(words => element("li", { textContent: words })));
  $("checks").replaceChildren(...(result?.checks || []).map(check => element("li", { className: check.state === "failed" ? "bad" : "", textContent: `${check.state}: ${check.words}` })));
  const notes = [info.failed, ...(result?.warnings || info.about.notes)].filter(Boolean);
  $("warn").replaceChildren(...(notes.length ? [element("ul", {}, ...notes.map(words => element("li", { textContent: words })))] : []));
  gate(); calibration();
  for (const name of ["big", "bullseye", "segments"]) $(name).replaceChildren();
  const numbers = result && !result.blocked.length;
  $("take").disabled = !numbers || !!info.progress; $("layer").disabled = !result;
  $("curves").hidden = !numbers;
  if (!result) {
    const words = info.progress ? "Being measured …" : info.about.ready || info.edits.view ? "Not measured." : `Not recognised as an apical view (${viewName(info.about.view)} ${info.about.probability.toFixed(2)}): choose the view, then measure.`;
    const start = element("button", { textContent: "Measure" });
    start.onclick = guarded(() => send("measure")); start.disabled = !!info.progress;
    $("curves").hidden = true;
    return $("big").append(element("p", { textContent: words }), ...(info.about.ready || info.edits.view ? [start] : []));
  }
  const beat = result.beats[0];
  $("ed").value = beat.ed; $("es").value = beat.es; $("layer").value = result.layer;
  if (!numbers) return;
  const { means, intervals } = result, whole = means.drift == null ? ", no whole beat" : "";
  const big = element("div", { className: "big", id: "gls", textContent: `${text(means.gls)} % ` },
    state.preview ? element("span", { className: "preview", textContent: `Preview by ${result.title}` }) : null,
    element("small", { textContent: [within(intervals.gls) && `90 % interval ${within(intervals.gls)}`, `GLS, ${result.layer}`, `drift ${result.beats.map(b => text(b.numbers.drift)).join(" and ")} %${whole}`,
      `EF ${text(means.ejection_fraction, 0)} %${intervals.ejection_fraction ? ` (${intervals.ejection_fraction.map(v => text(v, 0)).join(" to ")})` : ""}`].filter(Boolean).join(" · ") }));
  if (state.preview && info.doing) big.append(element("small", { textContent: `The measurement by ${state.settings.methods[method]} follows and will replace it.` }));
  else if (state.preview) {
    const start = element("button", { className: "again", textContent: `Measure by ${state.settings.methods[method]}` });
    start.onclick = guarded(() => send("measure"));
    big.append(start);
  }
  big.dataset.value = means.gls; big.dataset.method = result.method;
  $("big").append(big);
  $("bullseye").innerHTML = result.bullseye; // drawn by the server
  for (const piece of $("bullseye").querySelectorAll("[data-segment]")) point(piece, piece.dataset.segment);
  $("segments").replaceChildren(...result.segments.map((segment, k) => {
    const button = element("button", { className: segment.rejected ? "off" : "", title: segment.rejected ? `excluded: ${segment.rejected}` : "click to exclude", ariaPressed: String(!segment.rejected) },
      `${segment.name} ${text(segment.end_systolic)}`, segment.interval ? element("span", { className: "sub", textContent: ` ${within(segment.interval)}` }) : null);
    button.dataset.segment = segment.name;
    button.style.borderLeft = `6px solid ${result.colours[k]}`; button.onclick = () => step("segment", segment.name);
    point(button, segment.name);
    return button;
  }));
}
function calibration() {
  const { info, result } = state, { times, spacing } = result || info.about;
  $("calibration").textContent = [spacing ? `${spacing[0].toFixed(3)} mm/px` : "No spacing: nothing in mm or ml.",
    times ? `${((times.length - 1) / (times.at(-1) - times[0])).toFixed(1)} frames/s${info.about.frame_time_source === "playback" && info.edits.frame_rate == null ? " (of playback)" : ""}` : "No frame rate: no times, no heart rate."].join(" · ");
}
// Curve, segment, bull's-eye and wall are one: what is pointed at in one is marked in all.
function point(node, name) {
  node.onpointerenter = () => hover(name);
  node.onpointerleave = () => hover(null);
  node.onfocus = () => hover(name); node.onblur = () => hover(null);
}
export function hover(name) {
  if (state.hover === name) return;
  state.hover = name;
  for (const node of document.querySelectorAll("#segments [data-segment], #bullseye [data-segment]")) node.classList.toggle("hover", node.dataset.segment === name);
  player.overlay(); curves();
}
let axis = null, marks = [], mark = null;
function curves() {
  const { result } = state, series = [];
  if (!result || result.blocked.length || $("work").hidden) return;
  marks = [];
  for (const [n, beat] of result.beats.entries()) {
    for (const [name, values] of Object.entries(beat.curves)) {
      const k = result.segments.findIndex(s => s.name === name && !s.rejected), faint = !!state.hover && state.hover !== name;
      if (name === "gls") series.push({ first: beat.ed, values, colour: css("--ink"), wide: 3, name: null, faint });
      else if (k >= 0) series.push({ first: beat.ed, values, colour: result.colours[k], name, faint, wide: state.hover === name ? 3 : 1.6 });
    }
    for (const name of ["ed", "es"]) marks.push({ frame: mark?.name === name && !n ? mark.frame : beat[name], name: result.beats.length > 1 ? `${name} ${n + 1}` : name, kind: name, beat: n });
  }
  const estimate = player.estimate(beat => beat && estimateOf(beat));
  if (estimate) series.push({ first: result.beats[0].ed, values: estimate, colour: css("--accent"), wide: 2, dash: [5, 4] });
  axis = plot($("curves"), series, { label: "strain, %", marks, cursor: state.t, zero: true, grey: state.busy });
}
// What a dragged wall would give if it were carried as the old one is: shown at once, greyed, until it is measured.
function estimateOf(moved) {
  const { result } = state, beat = result.beats[0], k = state.settings.layers.indexOf(result.layer), found = [];
  for (let t = beat.ed; t <= beat.end; t++) {
    const lines = result.lines[t];
    if (!lines) return null;
    found.push(lengthOf(lines[k].map((p, i) => { const by = moved(i / (lines[k].length - 1), k); return [p[0] + by[0], p[1] + by[1]]; })));
  }
  const strain = found.map(length => 100 * (length / found[0] - 1)), drift = beat.complete_beat ? strain.at(-1) : 0;
  return strain.map((value, i) => value - drift * i / Math.max(1, strain.length - 1));
}
player.onFrame(curves);
player.onFrame(() => compare.frame());
player.onFrame(place);
const across = event => event.clientX - $("curves").getBoundingClientRect().left;
$("curves").onpointerdown = event => {
  if (!axis) return;
  player.pause(); $("curves").setPointerCapture(event.pointerId);
  const near = marks.find(m => Math.abs(axis.x(m.frame) - across(event)) < 10 && m.beat === 0);
  mark = near ? { name: near.kind, frame: near.frame } : null;
  player.show(axis.frameOf(across(event)));
};
$("curves").onpointermove = event => {
  if (!axis) return;
  if (!event.buttons) return hover(axis.nearest(across(event), event.clientY - $("curves").getBoundingClientRect().top)?.name ?? null);
  if (mark) mark.frame = axis.frameOf(across(event));
  player.show(axis.frameOf(across(event)));
};
$("curves").onpointerleave = () => hover(null);
$("curves").onpointerup = event => {
  if (!mark) return;
  const { name } = mark, frame = axis.frameOf(across(event));
  mark = null;
  if (frame !== state.result.beats[0][name]) step(name, frame); else curves();
};
new ResizeObserver(() => { if (state.info?.about && !$("work").hidden) { curves(); player.overlay(); player.drawTracks(); compare.frame(); } }).observe($("work"));

state.settings = await json("/api/settings");
options($("view"), state.settings.views, null);
options($("layer"), Object.fromEntries(state.settings.layers.map(name => [name, name])), null);
options($("count"), Object.fromEntries(state.settings.handles.map(n => [n, n])), "7");
if (state.settings.shared.length) {
  options($("shared"), { "": "Open a shared study", ...Object.fromEntries(state.settings.shared.map(name => [name, name])) }, "");
  $("shared").hidden = false;
}
$("files").accept = state.settings.suffixes.join(",");
const from = new URLSearchParams(location.hash.slice(1));
if (from.get("study")) { wanted = `study=${from.get("study")}`; study.open(from.get("study")); }
else if (from.get("case")) {
  wanted = from.get("case");
  if ([...$("tool").options].some(option => option.value === from.get("tool"))) $("tool").value = from.get("tool");
  Object.assign(arrival, { id: wanted, frame: from.has("frame") ? +from.get("frame") || 0 : null });
  open(wanted);
}
listen();
