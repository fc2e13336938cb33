// What the parts of the page share: the state, requests to the server, small drawing helpers.
export const $ = id => document.getElementById(id);
export const state = { settings: null, id: null, info: null, method: null, result: null, t: 0, busy: false };
export const times = []; // ms from the release of a handle to the new curve
window.workbench = { times, state };

export const css = name => getComputedStyle(document.documentElement).getPropertyValue(name);
export const text = (value, digits = 1) => value == null ? "–" : value.toFixed(digits).replace("-", "−");
export const say = words => { $("message").textContent = words || ""; };
export const guarded = call => async (...given) => {
  try { say(""); return await call(...given); } catch (error) { say(error.message); }
};

export async function ask(path, options = {}) {
  const who = $("who").value.replace(/[^\x20-\x7e]/g, "?");
  const answer = await fetch(path, { ...options, headers: { "X-Who": who, ...(options.headers || {}) } });
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({ detail: answer.statusText }));
    throw new Error(said.detail);
  }
  return answer;
}
export const json = async (path, options) => (await ask(path, options)).json();
export const send = (what, body = {}) => json(`/api/cases/${state.id}/${what}`, {
  method: "POST", body: JSON.stringify({ method: state.method, ...body }) });
export const shownFile = (name, id = state.id) => ask(`/api/cases/${id}/shown/${name}`);

export function element(kind, values = {}, ...inside) {
  const node = document.createElement(kind);
  for (const [key, value] of Object.entries(values)) key in node ? node[key] = value : node.setAttribute(key, value);
  node.append(...inside);
  return node;
}
export const options = (select, entries, chosen) => select.replaceChildren(
  ...Object.entries(entries).map(([value, name]) => new Option(name, value, value === chosen, value === chosen)));

// Lines over frames, with an axis; gives the functions between frames and pixels of the canvas.
export function plot(canvas, series, { label, marks = [], cursor = null, zero = false }) {
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
  pen.textAlign = "right"; pen.fillText(`frames ${first} to ${last}`, width - 10, height - 6); pen.textAlign = "center";
  for (const { first: start, values, colour, wide = 1.6 } of series) {
    pen.strokeStyle = colour; pen.lineWidth = wide; pen.beginPath();
    values.forEach((v, k) => k ? pen.lineTo(x(start + k), y(v)) : pen.moveTo(x(start), y(v)));
    pen.stroke();
  }
  pen.lineWidth = 1; pen.strokeStyle = pen.fillStyle = css("--accent");
  for (const { frame, name } of marks) {
    pen.setLineDash([4, 3]); line(x(frame), 18, x(frame), height - 22); pen.setLineDash([]);
    pen.fillText(name.toUpperCase(), x(frame), 12);
  }
  if (cursor != null && cursor >= first && cursor <= last) { pen.strokeStyle = css("--now"); line(x(cursor), 18, x(cursor), height - 22); }
  const frameOf = px => Math.max(first, Math.min(last, Math.round(first + (px - 44) / (width - 54) * (last - first))));
  return { x, frameOf };
}
