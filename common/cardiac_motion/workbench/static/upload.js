// Files and folders to cases: a folder of pictures is one cine, a folder of several cines is a study.
import { ask, post, state } from "./shared.js";

const ends = (name, suffixes) => suffixes.some(suffix => name.toLowerCase().endsWith(suffix));
const order = new Intl.Collator(undefined, { numeric: true }).compare;
async function nameOf(file) { // files of a study have no suffix; what is in them tells
  if (ends(file.name, state.settings.suffixes)) return file.name;
  const mark = await file.slice(128, 132).text().catch(() => "");
  return mark === "DICM" && !/^dicomdir$/i.test(file.name) ? `${file.name}.dcm` : null;
}
// Of a DICOM file: its series, and how many frames it has; null where it is none. Elements are read one after the other.
async function headerOf(file) {
  const bytes = new Uint8Array(await file.slice(0, 1 << 18).arrayBuffer()), view = new DataView(bytes.buffer);
  const textAt = (from, to) => String.fromCharCode(...bytes.subarray(from, Math.min(to, bytes.length))).replace(/[\0 ]+$/, "");
  if (bytes.length < 140 || textAt(128, 132) !== "DICM") return null;
  const found = { series: "", frames: 1 };
  for (let at = 132; at + 12 < bytes.length;) {
    const group = view.getUint16(at, true), number = view.getUint16(at + 2, true), kind = textAt(at + 4, at + 6);
    if (group > 0x28 || (group === 0x28 && number > 8)) break;
    const told = /^[A-Z]{2}$/.test(kind), long = told && /^(OB|OD|OF|OL|OV|OW|SQ|SV|UC|UN|UR|UT|UV)$/.test(kind); // else 4 bytes of length
    const start = at + (long ? 12 : 8);
    let length = long ? view.getUint32(at + 8, true) : told ? view.getUint16(at + 6, true) : view.getUint32(at + 4, true);
    if (length === 0xffffffff) { // up to the delimiter of its sequence
      let end = start;
      while (end + 8 < bytes.length && (view.getUint16(end, true) !== 0xfffe || view.getUint16(end + 2, true) !== 0xe0dd)) end++;
      length = end + 8 - start;
    }
    if (group === 0x20 && number === 0x0e) found.series = textAt(start, start + length);
    if (group === 0x28 && number === 8) found.frames = +textAt(start, start + length) || 1;
    at = start + length;
  }
  return found;
}
// One-frame files of one series are one cine; a file of one frame alone is a still, which nothing can be measured of.
async function joined(cines) {
  const found = [], series = new Map();
  let stills = 0;
  for (const one of cines) {
    const header = one.parts.length === 1 && cines.length > 1 && one.title.toLowerCase().endsWith(".dcm") ? await headerOf(one.parts[0]) : null;
    if (!header || header.frames > 1 || !header.series) { found.push(one); continue; }
    if (!series.has(header.series)) series.set(header.series, []);
    series.get(header.series).push(one);
  }
  for (const ones of series.values()) {
    if (ones.length < 2) { stills++; continue; }
    const parts = ones.map(({ title, parts: [file] }) => new File([file], title));
    found.push({ title: ones[0].folder || `Series of ${ones[0].title.replace(/\.dcm$/i, "")}`, parts });
  }
  return { cines: found, stills };
}
export async function filesIn(entry, path) {
  if (entry.name.startsWith(".")) return [];
  const here = path ? `${path}/${entry.name}` : entry.name;
  if (!entry.isDirectory) return [{ file: await new Promise((done, failed) => entry.file(done, failed)), path: here }];
  const reader = entry.createReader(), found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return found;
    for (const one of some) found.push(...await filesIn(one, here));
  }
}
// [{ title, parts: files }]: what is dropped, as cines; and how many files are of no known kind.
async function cinesOf(files) {
  const folders = new Map(), cines = [];
  let left = 0;
  for (const one of [...files].sort((a, b) => order(a.path, b.path))) {
    const folder = one.path.includes("/") ? one.path.slice(0, one.path.lastIndexOf("/")) : "";
    if (!folders.has(folder)) folders.set(folder, []);
    folders.get(folder).push(one);
  }
  for (const [folder, inside] of folders) {
    const pictures = inside.filter(one => ends(one.file.name, state.settings.pictures));
    const frames = folder && pictures.length > 1 ? pictures : [];
    if (frames.length) cines.push({ title: folder.split("/").at(-1), parts: frames.map(one => one.file) });
    for (const one of inside) {
      if (frames.includes(one)) continue;
      const name = await nameOf(one.file);
      if (name) cines.push({ title: name, parts: [one.file], folder: folder.split("/").at(-1) });
      else if (!/^(dicomdir|license|readme)(\.|$)/i.test(one.file.name) || files.length === 1) left++;
    }
  }
  return { ...await joined(cines), left };
}
function bodyOf(parts) { // of a folder of pictures: how long the list is, the list, the pictures
  const head = new TextEncoder().encode(JSON.stringify(parts.map(file => [file.name, file.size])));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, head.length);
  return new Blob([length, head, ...parts]);
}
export async function uploadAll(files, say) {
  const { cines, stills, left } = await cinesOf(files);
  if (!cines.length && files.length === 1) cines.push({ title: files[0].file.name, parts: [files[0].file] }); // the server says what is wrong
  const folder = files.find(one => one.path.includes("/"))?.path.split("/")[0];
  const studyId = cines.length > 1 && folder ? (await post("/api/studies", { title: folder })).id : null;
  let first = null;
  for (const [k, { title, parts }] of cines.entries()) {
    if (cines.length > 1) say(`sending ${k + 1} of ${cines.length}: ${title}`);
    const pictures = parts.length > 1, name = encodeURIComponent(pictures ? `${title}.frames` : title);
    const found = await (await ask(`/api/uploads?name=${name}${studyId ? `&group=${studyId}` : ""}`, {
      method: "POST", body: pictures ? bodyOf(parts) : parts[0] })).json();
    first ||= found.id;
  }
  return { left, stills, first, studyId };
}
