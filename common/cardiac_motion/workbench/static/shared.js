// What the parts of the page share: the state, requests to the server, small drawing helpers.
export const $ = id => document.getElementById(id);
// info: the case on the page, as the server told it last; everything that is done is done with it and with its revision
export const state = { settings: null, info: null, study: null, method: null, result: null, preview: false, t: 0, busy: false, hover: null };
export const times = [], estimates = []; // ms from the release of a handle to the new curve, and to its estimate
window.workbench = { times, estimates, state };

export const css = name => getComputedStyle(document.documentElement).getPropertyValue(name);
export const text = (value, digits = 1) => value == null ? "–" : (+value.toFixed(digits) || 0).toFixed(digits).replace("-", "−");
export const say = words => { $("message").textContent = words || ""; };
const caught = clears => call => async (...given) => {
  try { if (clears) say(""); return await call(...given); } catch (error) { say(error.message); }
};
export const guarded = caught(true); // what a person asks for clears the last message
export const quietly = caught(false); // what the page does by itself leaves it
export const viewName = name => (state.settings.views[name] || name || "").replaceAll("_", " ");

export async function ask(path, options = {}) {
  const who = $("who").value.replace(/[^\x20-\x7e]/g, "?");
  let answer;
  try { answer = await fetch(path, { ...options, headers: { "X-Who": who, ...(options.headers || {}) } }); }
  catch { $("offline").hidden = false; throw new Error("The workbench does not answer: is it still running?"); }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({ detail: answer.statusText }));
    throw Object.assign(new Error(said.detail), { status: answer.status });
  }
  return answer;
}
export const json = async (path, options) => (await ask(path, options)).json();
export const post = (path, body = {}) => json(path, { method: "POST", body: JSON.stringify(body) });
// What is asked of a case names it, and how many steps of it the page has seen.
export const send = (what, body = {}, info = state.info) => post(`/api/cases/${info.id}/${what}`, {
  method: state.method, revision: info.revision, ...body });
export const shownFile = (name, id = state.info.id) => ask(`/api/cases/${id}/shown/${name}`);

export function element(kind, values = {}, ...inside) {
  const node = document.createElement(kind);
  for (const [key, value] of Object.entries(values)) key in node ? node[key] = value : node.setAttribute(key, value);
  node.append(...inside.filter(part => part != null));
  return node;
}
export const options = (select, entries, chosen) => select.replaceChildren(
  ...Object.entries(entries).map(([value, name]) => new Option(name, value, value === chosen, value === chosen)));
export function takenLinks(list, files, path, current) {
  const names = files ? ["all.zip", ...files.names] : [];
  list.classList.toggle("old", !!files && !current);
  list.replaceChildren(...names.map(name => {
    const shown = name === "all.zip" ? `${files.name}.zip (everything)` : name;
    const link = element("a", { href: `${path}/take/${name}`, textContent: shown });
    if (name.endsWith("report.html")) link.target = "_blank"; else link.download = "";
    return element("li", {}, link);
  }));
}

// Lines over frames, with an axis; gives the functions between frames and pixels of the canvas.
export function plot(canvas, series, { label, marks = [], cursor = null, zero = false, below = null, grey = false }) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth || 520, height = canvas.clientHeight || 160;
  canvas.width = width * ratio; canvas.height = height * ratio;
  const pen = canvas.getContext("2d"), all = series.flatMap(s => s.values).filter(Number.isFinite);
  pen.scale(ratio, ratio);
  if (!all.length) return null;
  const first = Math.min(...series.map(s => s.first)), last = Math.max(...series.map(s => s.first + s.values.length - 1));
  let low = Math.min(...all, zero ? 0 : Infinity), high = Math.max(...all, zero ? 0 : -Infinity);
  const rough = Math.max(high - low, 1e-3) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(m => m * power >= rough) * power, digits = Math.max(0, -Math.floor(Math.log10(step)));
  low = Math.floor(low / step) * step; high = Math.max(Math.ceil(high / step) * step, low + step);
  const x = f => 44 + (f - first) / Math.max(1, last - first) * (width - 54);
  const y = v => 20 + (high - v) / (high - low) * (height - 44);
  pen.font = "12px system-ui"; pen.fillStyle = css("--muted"); pen.strokeStyle = css("--edge");
  const line = (x0, y0, x1, y1) => { pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke(); };
  pen.textAlign = "right";
  for (let v = low; v <= high + step / 2; v += step) { line(44, y(v), width - 10, y(v)); pen.fillText(text(v, digits), 38, y(v) + 4); }
  pen.textAlign = "left"; pen.fillText(label, 44, height - 6);
  pen.textAlign = "right"; pen.fillText(below || `frames ${first} to ${last}`, width - 10, height - 6); pen.textAlign = "center";
  pen.globalAlpha = grey ? .3 : 1;
  for (const { first: start, values, colour, wide = 1.6, dash = [], faint = false } of series) {
    pen.strokeStyle = colour; pen.lineWidth = wide; pen.setLineDash(dash); pen.globalAlpha = faint ? .25 : dash.length || !grey ? 1 : .3; pen.beginPath();
    values.forEach((v, k) => k ? pen.lineTo(x(start + k), y(v)) : pen.moveTo(x(start), y(v)));
    pen.stroke();
  }
  pen.globalAlpha = 1; pen.setLineDash([]);
  pen.lineWidth = 1; pen.strokeStyle = pen.fillStyle = css("--accent");
  for (const { frame, name } of marks) {
    pen.setLineDash([4, 3]); line(x(frame), 18, x(frame), height - 22); pen.setLineDash([]);
    pen.fillText(name.toUpperCase(), x(frame), 12);
  }
  if (cursor != null && cursor >= first && cursor <= last) { pen.strokeStyle = css("--now"); line(x(cursor), 18, x(cursor), height - 22); }
  const frameOf = px => Math.max(first, Math.min(last, Math.round(first + (px - 44) / (width - 54) * (last - first))));
  const nearest = (px, py) => { // the series whose line passes nearest, within ten pixels
    const f = frameOf(px);
    let best = null, least = 10;
    for (const s of series) {
      const v = s.values[f - s.first], off = v == null ? Infinity : Math.abs(y(v) - py);
      if (off < least) { least = off; best = s; }
    }
    return best;
  };
  return { x, frameOf, nearest };
}

// A natural cubic spline through values at rising places, as a function.
export function spline(at, values) {
  const n = at.length, second = new Array(n).fill(0), u = new Array(n).fill(0);
  for (let i = 1; i < n - 1; i++) {
    const share = (at[i] - at[i - 1]) / (at[i + 1] - at[i - 1]), p = share * second[i - 1] + 2;
    second[i] = (share - 1) / p;
    const slope = (values[i + 1] - values[i]) / (at[i + 1] - at[i]) - (values[i] - values[i - 1]) / (at[i] - at[i - 1]);
    u[i] = (6 * slope / (at[i + 1] - at[i - 1]) - share * u[i - 1]) / p;
  }
  for (let i = n - 2; i >= 0; i--) second[i] = second[i] * second[i + 1] + u[i];
  return x => {
    let i = 1;
    while (i < n - 1 && x > at[i]) i++;
    const h = at[i] - at[i - 1], a = (at[i] - x) / h, b = 1 - a;
    return a * values[i - 1] + b * values[i] + ((a ** 3 - a) * second[i - 1] + (b ** 3 - b) * second[i]) * h * h / 6;
  };
}
export const lengthOf = line => line.slice(1).reduce((sum, p, k) => sum + Math.hypot(p[0] - line[k][0], p[1] - line[k][1]), 0);
