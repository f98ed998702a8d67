// What is kept of a Python in WebAssembly, beside its files: its memory, and where its extension modules lie.
import { Buffer } from 'node:buffer';

import { differWithData } from '../page/wasm_data.mjs';

const BLOCK = 1 << 16;

// Freed memory holds what it held. Filled with zeros it compresses.
export function clearFreeMemory(module) {
  const main = module.LDSO.loadedLibsByName.__main__.exports;
  const end = main.sbrk(0);
  const taken = [];
  for (let size = 1 << 24; size >= 16; size = size > 64 ? size >> 1 : size - 8) {
    for (;;) {
      const block = main.malloc(size);
      if (!block) break;
      if (block + size > end) { main.free(block); break; }
      taken.push([block, size]);
    }
  }
  for (const [block, size] of taken) module.HEAP8.fill(0, block, block + size);
  for (const [block] of taken) main.free(block);
}

// The address and the table slots of each extension module, from its dlopen handle (struct dso of Emscripten), and the
// functions in slots that the loader has added since `start`. `keep(path)` stores the module's code.
export function linkState(module, start, keep) {
  const { wasmTable, LDSO, GOT } = module;
  const handles = Object.entries(LDSO.loadedLibsByHandle).filter(([handle]) => Number(handle));
  const libraries = handles.map(([handle, { name }]) => {
    const word = (offset) => module.HEAPU32[(Number(handle) + offset) >> 2];
    return { path: name, memory: word(12), bytes: word(16), table: word(20), slots: word(24) };
  });
  const libs = libraries.map(({ path, ...place }) => {
    const { file, binary } = keep(path);
    const got = {};
    for (const { module: from, name } of WebAssembly.Module.imports(new WebAssembly.Module(binary))) {
      if (from.startsWith('GOT')) got[name] = GOT[name].value;
    }
    return { file, ...place, got };
  });
  return { start, table: wasmTable.length, extra: addedSlots(module, start, libraries), libs };
}

function addedSlots(module, start, libraries) {
  const { wasmTable, LDSO } = module;
  const names = new Map();
  const holders = [LDSO.loadedLibsByName.__main__, ...libraries.map(({ path }) => LDSO.loadedLibsByName[path])];
  holders.forEach(({ exports }, at) => {
    for (const [name, value] of Object.entries(exports)) {
      if (typeof value === 'function' && !names.has(value)) names.set(value, [at - 1, name]);
    }
  });
  const added = [];
  for (let slot = start; slot < wasmTable.length; slot++) {
    const value = wasmTable.get(slot);
    if (!value || libraries.some(({ table, slots }) => slot >= table && slot < table + slots)) continue;
    if (!names.has(value)) throw new Error(`no library exports the function in table slot ${slot}`);
    added.push([slot, ...names.get(value)]);
  }
  return added;
}

export function clearCopies(memory, file) {
  for (let at = memory.indexOf(file); at >= 0; at = memory.indexOf(file)) memory.fill(0, at, at + file.length);
}

// The address at which the main module's data begin, found by what they are.
export function baseOf(memory, file) {
  const data = new Uint8Array(memory.length);
  differWithData(data, file, 0);
  for (let at = 0; at < memory.length; at += 100_000) {
    const found = memory.indexOf(data.subarray(at, at + 64)) - at;
    if (data.subarray(at, at + 64).every(Boolean) && found >= 0) return found;
  }
  throw new Error('the data of the main module are not in memory');
}

// Blocks that are not all zeros: the size of the memory, how many blocks, their numbers, and the blocks.
export function packedMemory(image) {
  const blocks = [];
  for (let at = 0; at < image.length; at += BLOCK) {
    if (image.subarray(at, at + BLOCK).some((byte) => byte)) blocks.push(at / BLOCK);
  }
  const head = Buffer.from(Uint32Array.from([image.length, blocks.length, ...blocks]).buffer);
  return Buffer.concat([head, ...blocks.map((block) => image.subarray(block * BLOCK, (block + 1) * BLOCK))]);
}
