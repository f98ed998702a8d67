// Brings back a Python whose memory was saved after its imports. Pyodide restores its own memory; an extension module
// (numpy has two) also has code and table slots, so each is put back to the addresses that it had.
export async function restore(loadPyodide, options, memory, state, libraries) {
  const python = await loadPyodide({ ...options, _loadSnapshot: memory });
  const { _module: module } = python;
  const { wasmTable: table, LDSO, GOT } = module;
  if (table.length !== state.start) throw new Error(`the table has ${table.length} entries, not ${state.start}`);
  const main = LDSO.loadedLibsByName.__main__.exports;
  table.grow(state.table - state.start);
  const exports = [];
  for (const [index, library] of state.libs.entries()) {
    const kept = module.HEAPU8.slice(library.memory, library.memory + library.bytes);
    for (const [name, value] of Object.entries(library.got)) {
      GOT[name] ??= new WebAssembly.Global({ value: 'i32', mutable: true });
      GOT[name].value = value;
    }
    const env = environmentOf(library, main, () => exports[index]);
    const got = new Proxy({}, { get: (_, name) => GOT[name] });
    const imports = { env, wasi_snapshot_preview1: env, 'GOT.mem': got, 'GOT.func': got };
    exports[index] = (await WebAssembly.instantiate(await libraries[index], imports)).exports;
    module.HEAPU8.set(kept, library.memory); // instantiating has written the initial data
  }
  for (const [slot, library, name] of state.extra) table.set(slot, library < 0 ? main[name] : exports[library][name]);
  for (let slot = state.start; slot < state.table; slot++) module.wasmTableMirror[slot] = table.get(slot);
  return python;
}

// What an extension module imports: its addresses, functions of the main module, and its own functions by name.
function environmentOf(library, main, own) {
  return new Proxy({}, {
    get(stubs, name) {
      if (name === '__memory_base') return library.memory;
      if (name === '__table_base') return library.table;
      if (name in main && !main[name].stub) return main[name];
      return (stubs[name] ??= (...values) => own()[name](...values));
    },
  });
}
