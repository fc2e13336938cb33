// A volume in three planes through one voxel, with labels and the field of the best atlas.
import { $, ask, element, guarded, options, send, shownFile, state, text } from "./shared.js";

const PLANES = [ // axes across and up, of (right, anterior, superior), and the letters at the sides
  { name: "axial", across: 0, up: 1, along: 2, sides: ["L", "R", "P", "A"] },
  { name: "coronal", across: 0, up: 2, along: 1, sides: ["L", "R", "I", "S"] },
  { name: "sagittal", across: 1, up: 2, along: 0, sides: ["P", "A", "I", "S"] },
];
const COLOURS = { 1: [230, 159, 0], 2: [86, 180, 233] }, ARROW = 2;
let grey = null, given = null, found = null, field = null, at = [0, 0, 0], of = null;

const bytes = (name, Kind) => shownFile(name).then(a => a.arrayBuffer()).then(a => new Kind(a)).catch(() => null);
export async function load(fresh) {
  const { about, methods = {} } = state.info;
  if (fresh) { grey = await bytes("volume", Uint8Array); at = about.shape.map(n => n >> 1); planes(); }
  given = about.label ? await bytes("label", Uint8Array) : null;
  const done = state.method in methods;
  found = done ? await bytes(`labels_${state.method}`, Uint8Array) : null;
  field = done ? await bytes(`arrows_${state.method}`, Float32Array) : null;
  if (fresh && (given || found)) at = middle(given || found);
  $("notes").textContent = [...about.notes, state.info.failed].filter(Boolean).join("; ");
  table(); draw();
}
function middle(labels) { // of what is labelled
  const [, ny, nz] = state.info.about.shape, sum = [0, 0, 0];
  let count = 0;
  labels.forEach((value, k) => { if (value) { count++; [Math.floor(k / (ny * nz)), Math.floor(k / nz) % ny, k % nz].forEach((v, a) => { sum[a] += v; }); } });
  return count ? sum.map(v => Math.round(v / count)) : at;
}
function planes() {
  const { shape, zooms } = state.info.about;
  of = PLANES.map(plane => {
    const canvas = element("canvas", { tabIndex: 0 }), range = element("input", { type: "range", min: 0, max: shape[plane.along] - 1 });
    const wide = shape[plane.across] * zooms[plane.across], high = shape[plane.up] * zooms[plane.up], scale = 480 / Math.max(wide, high);
    canvas.width = wide * scale; canvas.height = high * scale;
    canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", `${plane.name} plane; arrow keys move to the next voxel`);
    range.setAttribute("aria-label", `${plane.name} plane`);
    range.oninput = () => { at[plane.along] = +range.value; draw(); };
    canvas.onpointerdown = canvas.onpointermove = event => {
      if (event.type === "pointermove" && !event.buttons) return;
      const box = canvas.getBoundingClientRect();
      move(plane.across, Math.floor((event.clientX - box.left) / box.width * shape[plane.across]), true);
      move(plane.up, shape[plane.up] - 1 - Math.floor((event.clientY - box.top) / box.height * shape[plane.up]), true);
      draw();
    };
    canvas.onkeydown = event => {
      const by = { ArrowLeft: [plane.across, -1], ArrowRight: [plane.across, 1], ArrowUp: [plane.up, 1], ArrowDown: [plane.up, -1],
        PageUp: [plane.along, 1], PageDown: [plane.along, -1] }[event.key];
      if (by) { event.preventDefault(); event.stopPropagation(); move(...by); draw(); }
    };
    return { ...plane, canvas, range };
  });
  $("planes").replaceChildren(...of.map(p => element("figure", {}, p.canvas, element("figcaption", {}, p.name, p.range))));
}
function move(axis, by, there = false) {
  at[axis] = Math.max(0, Math.min(state.info.about.shape[axis] - 1, there ? by : at[axis] + by));
}
export function draw() {
  const { shape, every } = state.info.about, [, ny, nz] = shape, index = v => (v[0] * ny + v[1]) * nz + v[2];
  const labels = { found, given, none: null }[$("labels").value];
  for (const { across, up, along, sides, canvas, range } of of) {
    const width = shape[across], height = shape[up], image = new ImageData(width, height), v = [...at];
    for (let r = 0; r < height; r++) for (let c = 0; c < width; c++) {
      v[across] = c; v[up] = height - 1 - r;
      const k = index(v), value = grey[k], colour = labels && COLOURS[labels[k]], p = 4 * (r * width + c);
      for (let i = 0; i < 3; i++) image.data[p + i] = colour ? .6 * value + .4 * colour[i] : value;
      image.data[p + 3] = 255;
    }
    const small = element("canvas", { width, height }), pen = canvas.getContext("2d");
    small.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = false; pen.drawImage(small, 0, 0, canvas.width, canvas.height);
    const sx = canvas.width / width, sy = canvas.height / height, x = c => (c + .5) * sx, y = u => (height - u - .5) * sy;
    if (field && $("field").checked) {
      const n = shape.map(s => Math.ceil(s / every)), layer = Math.min(n[along] - 1, Math.round(at[along] / every)), w = [0, 0, 0];
      w[along] = layer; pen.strokeStyle = pen.fillStyle = "#7ee081"; pen.lineWidth = 1.5;
      for (w[across] = 0; w[across] < n[across]; w[across]++) for (w[up] = 0; w[up] < n[up]; w[up]++) {
        const k = 3 * ((w[0] * n[1] + w[1]) * n[2] + w[2]), x0 = x(w[across] * every), y0 = y(w[up] * every);
        const x1 = x0 + ARROW * field[k + across] * sx, y1 = y0 - ARROW * field[k + up] * sy;
        pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke(); pen.beginPath(); pen.arc(x1, y1, 2, 0, 7); pen.fill();
      }
    }
    pen.strokeStyle = "rgba(255,210,63,.7)"; pen.lineWidth = 1; pen.beginPath();
    pen.moveTo(x(at[across]), 0); pen.lineTo(x(at[across]), canvas.height); pen.moveTo(0, y(at[up])); pen.lineTo(canvas.width, y(at[up])); pen.stroke();
    pen.fillStyle = "#fff"; pen.font = "16px system-ui"; pen.textAlign = "center"; pen.textBaseline = "middle";
    const [left, right, low, high] = sides, w = canvas.width, h = canvas.height;
    pen.fillText(left, 10, h / 2); pen.fillText(right, w - 10, h / 2); pen.fillText(low, w / 2, h - 11); pen.fillText(high, w / 2, 11);
    range.value = at[along];
  }
  const label = labels && state.info.about.names[labels[index(at)]];
  $("voxel").textContent = `voxel ${at.join(", ")} (right, anterior, superior)` + (label ? `: ${label}` : "");
}
function table() {
  const { about, methods = {} } = state.info, names = Object.values(about.names);
  const columns = [["Dice", "dice"], ...names.map(name => [`Dice ${name}`, `dice_${name}`]), ["HD95, mm", "hd95"], ["LNCC²", "lncc2"], ["seconds", "seconds"]];
  const rows = Object.entries(methods).map(([method, row]) => {
    const line = element("tr", {}, element("td", { textContent: row.title }),
      ...columns.map(([, key]) => element("td", { textContent: text(row[key], key === "seconds" ? 1 : 3) })));
    line.dataset.method = method; return line;
  });
  $("scores").replaceChildren(element("tr", {}, element("th"), ...columns.map(([name]) => element("th", { textContent: name }))), ...rows);
  const atlases = state.info.results[state.method]?.atlases;
  $("atlases").textContent = atlases ? `Atlases: ${atlases.slice(0, 6).join(", ")}${atlases.length > 6 ? ", …" : ""}` : "";
  options($("vmethod"), Object.fromEntries(state.settings.kinds.volume.map(m => [m, state.settings.methods[m]])), state.method);
}
$("labels").onchange = $("field").onchange = () => draw();
$("vmethod").onchange = () => { state.method = $("vmethod").value; load(false); };
$("segment").onclick = guarded(() => send("measure"));
$("vtake").onclick = guarded(() => send("take"));
$("truth").onchange = guarded(async () => {
  const [file] = $("truth").files;
  if (file) await ask(`/api/cases/${state.info.id}/label?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
  $("truth").value = "";
});
