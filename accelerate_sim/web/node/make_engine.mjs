// node make_engine.mjs VENDOR TREE: compiles the Python files of TREE with the interpreter that will read them, imports
// them once, and keeps what is then in memory. Writes VENDOR/app.zip, from which the engine starts without an image, and
// VENDOR/engine/, the image: memory, extension modules, and the files that are not in memory.
import path from 'node:path';
import fs from 'node:fs';
import { pathToFileURL } from 'node:url';

import { differWithData } from '../page/wasm_data.mjs';
import { baseOf, clearCopies, clearFreeMemory, linkState, packedMemory } from './memory_image.mjs';
import { listFiles, packedFiles, writePacked } from './packing.mjs';

const ENVIRONMENT = { HOME: '/home/pyodide', PYTHONOPTIMIZE: '2', PYTHONNODEBUGRANGES: '1' };
const [vendor, tree] = process.argv.slice(2).map((folder) => path.resolve(folder));
const engine = path.join(vendor, 'engine');
const indexURL = path.join(vendor, 'pyodide') + '/';
const { loadPyodide } = await import(pathToFileURL(indexURL + 'pyodide.mjs'));

// Docstrings stay where they are read: our own packages print theirs, and so do options.
const COMPILE = `
import os, py_compile, zipfile
OURS = ("accelerate_sim", "fake_torch_dist", "typer", "pydantic")
with zipfile.ZipFile("/app.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
    for folder, _, names in sorted(os.walk("/source")):
        for name in sorted(names):
            path = os.path.join(folder, name)
            inner = path.removeprefix("/source/")
            if name.endswith(".py"):
                py_compile.compile(path, path + "c", dfile=inner, doraise=True,
                                   optimize=0 if inner.split("/")[0] in OURS else 2,
                                   invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
                os.unlink(path)
                path, inner = path + "c", inner + "c"
            archive.write(path, inner)
`;
const WARM_UP = `
import gc, os, sys
sys.path.insert(0, "/app")
os.chdir("/app")
from accelerate_sim.web import engine
engine.warm_up()
sys.path_importer_cache.clear()
gc.collect()
`;

function copyIn(python, root) {
  for (const name of listFiles(tree)) {
    python.FS.mkdirTree(path.posix.join(root, path.posix.dirname(name)));
    python.FS.writeFile(`${root}/${name}`, new Uint8Array(fs.readFileSync(path.join(tree, name))));
  }
}

function copyOut(FS, folder, to) {
  fs.mkdirSync(to, { recursive: true });
  for (const name of FS.readdir(folder).filter((each) => each !== '.' && each !== '..')) {
    const from = `${folder}/${name}`;
    if (FS.isDir(FS.stat(from).mode)) copyOut(FS, from, path.join(to, name));
    else fs.writeFileSync(path.join(to, name), FS.readFile(from));
  }
}

async function compile() {
  const python = await loadPyodide({ indexURL, env: ENVIRONMENT });
  copyIn(python, '/source');
  python.runPython(COMPILE);
  fs.rmSync(tree, { recursive: true });
  copyOut(python.FS, '/source', tree);
  fs.writeFileSync(path.join(vendor, 'app.zip'), python.FS.readFile('/app.zip'));
}

async function makeImage() {
  const python = await loadPyodide({ indexURL, env: ENVIRONMENT, _makeSnapshot: true });
  const tableStart = python._module.wasmTable.length;
  copyIn(python, '/app');
  python.runPython(WARM_UP);
  const loaded = python.runPython('[getattr(module, "__file__", None) or "" for module in sys.modules.values()]');
  const inMemory = new Set(loaded.toJs());
  loaded.destroy();
  clearFreeMemory(python._module);
  const binaries = [];
  const state = linkState(python._module, tableStart, (name) => {
    const binary = fs.readFileSync(path.join(tree, name.slice('/app/'.length)));
    const file = path.basename(name).split('.')[0] + '.wasm';
    fs.writeFileSync(path.join(engine, file), binary);
    binaries.push(binary);
    return { file, binary };
  });
  const memory = Buffer.from(python.makeMemorySnapshot());
  binaries.forEach((binary) => clearCopies(memory, binary)); // the loader keeps the file, for threads
  const main = fs.readFileSync(path.join(indexURL, 'pyodide.asm.wasm'));
  state.base = baseOf(memory, main);
  differWithData(memory, main, state.base);
  fs.writeFileSync(path.join(engine, 'state.json'), JSON.stringify(state));
  writePacked(path.join(engine, 'memory.bin.gz'), packedMemory(memory));
  const isInMemory = (name) => name.startsWith('numpy/') || (name.endsWith('.pyc') && inMemory.has(`/app/${name}`));
  writePacked(path.join(engine, 'files.bin.gz'), packedFiles(tree, (name) => !isInMemory(name)));
}

try {
  fs.mkdirSync(engine, { recursive: true });
  await compile();
  await makeImage();
  process.exit(0);
} catch (error) {
  console.error(error.message); // a trace would quote lines of a megabyte
  process.exit(1);
}
