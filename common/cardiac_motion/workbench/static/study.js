// A study: its apical views on one beat clock, one bull's-eye, the numbers of all views together.
import { $, element, guarded, json, options, post, quietly, say, shownFile, state, takenLinks, text, ask } from "./shared.js";

let opened = () => {}, showCase = () => {}, turn = 0, timer = null, phase = 0, seen = "";
const players = new Map(); // case to { info, blob, offsets, images, canvas, result }
export const onOpen = call => { opened = call; };
export const onCase = call => { showCase = call; };

export function close() { clearTimeout(timer); timer = null; state.study = null; players.clear(); $("studypage").hidden = true; }
export const open = quietly(async name => {
  const mine = ++turn;
  const study = await json(`/api/studies/${name}`);
  if (mine !== turn) return;
  if (state.study?.id !== name) { players.clear(); phase = 0; }
  state.study = study;
  opened();
  draw();
});
export function changed(cases) { // a case of the study has changed: read it again
  const key = JSON.stringify(cases.filter(one => one.group === state.study.id).map(one => [one.id, one.methods, one.status, one.failed]));
  if (key !== seen) { seen = key; open(state.study.id); }
}

function draw() {
  const { study } = state, { numbers, members, choices } = study, views = Object.entries(state.settings.views);
  $("stitle").textContent = `Study ${study.title}`;
  const busy = members.filter(one => one.progress || one.doing).length;
  $("smissing").textContent = [numbers.missing.length ? `Missing: ${numbers.missing.join(", ")}.` : "", busy ? `${busy} cine${busy > 1 ? "s are" : " is"} being measured.` : "",
    ...Object.entries(numbers.blocked).map(([title, words]) => `${title}: ${words.join(" ")}`)].filter(Boolean).join(" ");
  $("views").replaceChildren(...views.map(([view, short]) => {
    const chosen = choices[view], known = members.filter(one => one.about?.kind === "cine");
    const select = element("select", { ariaLabel: `cine of ${short}` });
    options(select, { "": "no cine", ...Object.fromEntries(known.map(one => [one.id, one.title])) }, chosen || "");
    select.onchange = guarded(() => choose(view, select.value));
    const figure = element("figure", {}, element("figcaption", {}, element("strong", { textContent: short }), select));
    if (chosen) {
      const canvas = element("canvas", { role: "img", ariaLabel: `${short} cine with its wall` }), link = element("button", { textContent: "Correct" });
      link.onclick = () => showCase(chosen);
      const row = main(members.find(one => one.id === chosen));
      figure.append(canvas, element("figcaption", {}, `GLS ${text(row.gls)} % · EF ${text(row.ejection_fraction, 0)} %${row.blocked.length ? " · checks fail" : ""}${previewed(members.find(one => one.id === chosen)) ? ` · preview by ${row.title}` : ""}`, link));
      load(chosen, canvas);
    } else figure.append(element("p", { className: "sub", textContent: `No cine was measured as ${short}. Choose one above.` }));
    return figure;
  }));
  $("seye").innerHTML = numbers.bullseye; // drawn by the server
  const interval = numbers.interval ? ` · 90 % interval ${text(numbers.interval[0])} to ${text(numbers.interval[1])}` : "";
  $("sbig").replaceChildren(element("div", { className: "big", id: "average", textContent: `${text(numbers.gls_average)} %` },
    element("small", { textContent: numbers.gls_average == null ? "No average: it needs all three apical views." : `average GLS of the three apical views${interval}` })));
  const early = views.filter(([view]) => choices[view] && previewed(members.find(one => one.id === choices[view]))).map(([, short]) => short);
  if (early.length) $("sbig").append(element("p", { className: "preview", textContent: `Preview: ${early.join(", ")} ${early.length > 1 ? "are" : "is"} not measured by ${state.settings.methods[state.settings.defaults.cine]} yet.` }));
  const rows = Object.entries(numbers.gls).map(([name, value]) => [`GLS ${name}, %`, text(value)]);
  const { biplane } = numbers;
  rows.push([`Ejection fraction, biplane${biplane ? "" : ", long axes taken as equal"}, %`, text(numbers.ejection_fraction, 0)]);
  if (biplane) rows.push(["End-diastolic volume, ml", text(biplane.end_diastolic_volume_ml, 0)], ["End-systolic volume, ml", text(biplane.end_systolic_volume_ml, 0)]);
  $("snumbers").replaceChildren(...rows.map(([name, value]) => element("tr", {}, element("th", { textContent: name, scope: "row" }), element("td", { textContent: value }))));
  takenLinks($("staken"), study.files, `/api/studies/${study.id}`, study.files_current);
  $("sstamp").textContent = study.files && !study.files_current ? "Out of date: a view was changed since. Make the files again." : "";
  $("stake").disabled = !Object.keys(numbers.gls).length || Object.keys(numbers.blocked).length > 0;
}
const previewed = one => !one.methods[state.settings.defaults.cine];
const main = one => one.methods[state.settings.defaults.cine] || Object.values(one.methods)[0];
async function choose(view, id) {
  if (!id) return open(state.study.id);
  const member = state.study.members.find(one => one.id === id), row = main(member), { id: study } = state.study;
  if (row?.view !== view) { // it is measured as this view from now on
    await post(`/api/cases/${id}/step`, { what: "view", value: view, revision: member.revision });
    if (!row) { const now = await json(`/api/cases/${id}`); if (!now.progress) await post(`/api/cases/${id}/measure`, { revision: now.revision }); }
  }
  await post(`/api/studies/${study}/choose`, { view, case: id });
  open(study);
}
async function load(id, canvas) {
  const info = await json(`/api/cases/${id}`), old = players.get(id);
  const blob = old?.blob || await (await shownFile("frames", id)).blob();
  const offsets = [0];
  for (const size of info.about.sizes) offsets.push(offsets.at(-1) + size);
  canvas.width = info.about.width; canvas.height = info.about.height;
  const result = info.results[state.settings.defaults.cine] || Object.values(info.results)[0];
  players.set(id, { info, blob, offsets, images: old?.images || new Map(), canvas, result });
  show();
}
async function show() { // all views at the same part of their beats
  $("sphase").value = Math.round(1000 * phase); $("sat").textContent = `${Math.round(100 * phase)} % of the beat`;
  for (const [id, { info, blob, offsets, images, canvas, result }] of players) {
    if (!result || !canvas.isConnected) continue;
    const beat = result.beats[0], t = Math.min(info.about.frames - 1, Math.round(beat.ed + phase * (beat.end - beat.ed)));
    if (!images.has(t)) {
      images.set(t, createImageBitmap(blob.slice(offsets[t], offsets[t + 1], "image/webp")));
      if (images.size > 150) images.delete(images.keys().next().value);
    }
    const image = await images.get(t), pen = canvas.getContext("2d"), size = canvas.width / 320;
    if (players.get(id)?.canvas !== canvas) continue;
    pen.drawImage(image, 0, 0);
    const lines = result.lines[t], layer = state.settings.layers.indexOf(result.layer);
    if (!lines) continue;
    const stroke = (line, colour) => {
      pen.strokeStyle = colour; pen.lineWidth = 2 * size; pen.beginPath();
      line.forEach((p, i) => i ? pen.lineTo(p[1] + .5, p[0] + .5) : pen.moveTo(p[1] + .5, p[0] + .5)); pen.stroke();
    };
    for (const k of [0, 2]) if (k !== layer) stroke(lines[k], k ? "#9fd0ff" : "#fff");
    const n = lines[layer].length - 1;
    result.segments.forEach((s, k) => stroke(lines[layer].slice(Math.floor(k * n / 6), Math.floor((k + 1) * n / 6) + 1), s.rejected ? "#777" : result.colours[k]));
  }
}
function play() {
  const start = performance.now() - 1000 * phase;
  $("splay").textContent = "Pause";
  const tick = async () => { phase = ((performance.now() - start) / 1000) % 1; await show(); if (timer) timer = setTimeout(tick, 30); };
  timer = setTimeout(tick, 0);
}
$("splay").onclick = () => { if (timer) { clearTimeout(timer); timer = null; $("splay").textContent = "Play"; } else play(); };
$("sphase").oninput = () => { clearTimeout(timer); timer = null; $("splay").textContent = "Play"; phase = +$("sphase").value / 1000; show(); };
$("stake").onclick = guarded(async () => {
  $("stake").disabled = true; say("making the files of the study …");
  try { state.study = await post(`/api/studies/${state.study.id}/take`); say(""); } finally { draw(); }
});
$("sremove").onclick = guarded(async () => {
  const { id, title } = state.study;
  if (!confirm(`Remove the study ${title} with all its cines?`)) return;
  await ask(`/api/studies/${id}`, { method: "DELETE" });
  close(); $("hint").hidden = false;
});
