// Files and folders to cases: a folder of pictures is one cine, a folder of several cines is a study.
import { ask, post, state } from "./shared.js";

const ends = (name, suffixes) => suffixes.some(suffix => name.toLowerCase().endsWith(suffix));
const order = new Intl.Collator(undefined, { numeric: true }).compare;
async function nameOf(file) { // files of a study have no suffix; what is in them tells
  if (ends(file.name, state.settings.suffixes)) return file.name;
  const mark = await file.slice(128, 132).text().catch(() => "");
  return mark === "DICM" && !/^dicomdir$/i.test(file.name) ? `${file.name}.dcm` : null;
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
      if (name) cines.push({ title: name, parts: [one.file] });
      else if (!/^(dicomdir|license|readme)(\.|$)/i.test(one.file.name) || files.length === 1) left++;
    }
  }
  return { cines, left };
}
function bodyOf(parts) { // of a folder of pictures: how long the list is, the list, the pictures
  const head = new TextEncoder().encode(JSON.stringify(parts.map(file => [file.name, file.size])));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, head.length);
  return new Blob([length, head, ...parts]);
}
export async function uploadAll(files, say) {
  const { cines, left } = await cinesOf(files);
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
  return { left, first, studyId };
}
