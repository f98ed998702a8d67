// Files in one: the length of an index, the index [[path, length], ...], and their contents; unfold() in worker.mjs reads it.
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';

export function listFiles(folder) {
  const names = fs.readdirSync(folder, { recursive: true }).map((name) => String(name).split(path.sep).join('/'));
  return names.filter((name) => fs.statSync(path.join(folder, name)).isFile()).sort();
}

export function packedFiles(folder, wanted) {
  const names = listFiles(folder).filter(wanted);
  const contents = names.map((name) => fs.readFileSync(path.join(folder, name)));
  const index = Buffer.from(JSON.stringify(names.map((name, at) => [name, contents[at].length])));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(index.length);
  return Buffer.concat([length, index, ...contents]);
}

// Hosts do not compress .bin, so the file is a gzip file, which the page unpacks.
export function writePacked(file, data) {
  fs.writeFileSync(file, zlib.gzipSync(data, { level: 9 }));
}
