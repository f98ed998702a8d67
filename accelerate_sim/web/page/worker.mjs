// The engine: CPython in WebAssembly plays train.py as fast as it can; the page shows it at its own pace.
// It starts from a memory image in which everything is imported; without one, or if that fails, from the parts.
import { loadPyodide } from './vendor/pyodide/pyodide.mjs';
import { restore } from './restore.mjs';
import { unpacked } from './unpack.mjs';
import { differWithData } from './wasm_data.mjs';

const EMPTY_ZIP = 'data:application/zip;base64,UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==';
const BLOCK = 65536;
const began = performance.now();
const laps = {}; // milliseconds until each part of the start was done
let loadRest = null; // loads the standard library; the image holds what a run imports of it

const lap = (name) => { laps[name] = Math.round(performance.now() - began); };
const urlOf = (path) => new URL(`./vendor/${path}`, import.meta.url).href;

async function load(path) {
  const response = await fetch(urlOf(path));
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  return path.endsWith('.gz') ? unpacked(response) : new Uint8Array(await response.arrayBuffer());
}

// A WebAssembly file, compiled while it is loaded, and its bytes.
function compile(path) {
  const response = fetch(urlOf(path));
  const bytes = response.then((each) => each.clone().arrayBuffer()).then((buffer) => new Uint8Array(buffer));
  return { code: WebAssembly.compileStreaming(response), bytes };
}

// Pyodide asks for its code only when it has the memory. Compiled meanwhile, it is there by then.
function useEarly(compiled) {
  const usual = WebAssembly.instantiateStreaming;
  WebAssembly.instantiateStreaming = async (source, imports) => {
    WebAssembly.instantiateStreaming = usual;
    const module = await compiled;
    lap('code');
    return { module, instance: await WebAssembly.instantiate(module, imports) };
  };
}

async function startFromImage() {
  const packed = load('engine/memory.bin.gz');
  const files = load('engine/files.bin.gz');
  const main = compile('pyodide/pyodide.asm.wasm');
  useEarly(main.code);
  const state = JSON.parse(new TextDecoder().decode(await load('engine/state.json')));
  const libraries = state.libs.map(({ file }) => WebAssembly.compileStreaming(fetch(urlOf(`engine/${file}`))));
  const memory = Promise.all([packed, main.bytes]).then(([image, binary]) => unpackMemory(image, binary, state.base));
  const python = await restore(loadPyodide, { indexURL: urlOf('pyodide/'), stdLibURL: EMPTY_ZIP }, memory, state, libraries);
  lap('restored');
  loadRest = restLater(python.FS);
  unfold(python.FS, await files);
  python.runPython('import os; os.chdir("/app")');
  return python;
}

// The standard library comes after the first run, or in the middle of it when that imports more than the image holds.
function restLater(FS) {
  const [folder, name, source] = ['/lib', 'python313.zip', 'pyodide/python_stdlib.zip'];
  FS.unlink(`${folder}/${name}`);
  FS.createLazyFile(folder, name, urlOf(source), true, false);
  return async () => {
    const whole = await load(source);
    FS.unlink(`${folder}/${name}`);
    FS.writeFile(`${folder}/${name}`, whole);
  };
}

// The size of the memory, how many blocks are kept, their numbers, and the blocks; all others are zeros. What the main
// module's file holds was taken out of it.
function unpackMemory(packed, binary, base) {
  const [size, count] = new Uint32Array(packed.buffer, 0, 2);
  const memory = new Uint8Array(size);
  new Uint32Array(packed.buffer, 8, count).forEach((block, index) => {
    const from = 8 + 4 * count + index * BLOCK;
    memory.set(packed.subarray(from, from + BLOCK), block * BLOCK);
  });
  differWithData(memory, binary, base);
  lap('image');
  return memory;
}

// The length of an index, the index [[path, length], ...], and the files.
function unfold(FS, packed) {
  let from = 4 + new DataView(packed.buffer).getUint32(0, true);
  for (const [path, length] of JSON.parse(new TextDecoder().decode(packed.subarray(4, from)))) {
    FS.mkdirTree(`/app/${path}`.replace(/\/[^/]*$/, ''));
    FS.writeFile(`/app/${path}`, packed.subarray(from, from += length));
  }
}

async function startFromParts() {
  const files = load('app.zip');
  const python = await loadPyodide({ indexURL: urlOf('pyodide/'), env: { HOME: '/home/pyodide', PYTHONOPTIMIZE: '2' } });
  lap('python');
  python.FS.mkdirTree('/app');
  python.unpackArchive(await files, 'zip', { extractDir: '/app' });
  python.runPython('import os, sys; sys.path.insert(0, "/app"); os.chdir("/app")');
  return python;
}

async function start() {
  let python = null;
  let origin = 'image';
  if (!new URLSearchParams(self.location.search).has('parts')) {
    python = await startFromImage().catch((error) => { console.warn(`No memory image: ${error.message}`); return null; });
  }
  if (!python) {
    origin = 'parts';
    python = await startFromParts();
  }
  const engine = python.pyimport('accelerate_sim.web.engine');
  lap('engine');
  postMessage({ kind: 'ready', origin, laps });
  return { python, engine };
}

const started = start();
started.catch((error) => postMessage({ kind: 'broken', message: error.message }));

// A copy of Python's bytes. A text would be converted one character after the other.
function bytesOf(value) {
  const view = value.getBuffer('u8');
  const copy = view.data.slice();
  view.release();
  return copy;
}

const ACTIONS = {
  play({ python, engine }, { id, argv, columns, rows, beginning, interrupt }) {
    const post = (batch) => {
      const json = bytesOf(batch);
      postMessage({ kind: 'frames', id, json }, [json.buffer]);
    };
    return engine.play(python.toPy(argv), columns, rows, post, python.toPy(beginning ?? []), interrupt);
  },
  digest: ({ python, engine }, { argv }) => JSON.stringify({ sha256: engine.digest(python.toPy(argv)) }),
  choices: ({ python, engine }, { argv }) => engine.choices(python.toPy(argv)),
};

onmessage = async ({ data }) => {
  const parts = await started;
  const start = performance.now();
  try {
    const result = JSON.parse(ACTIONS[data.kind](parts, data));
    postMessage({ kind: 'end', id: data.id, result, ms: Math.round(performance.now() - start) });
  } catch (error) {
    postMessage({ kind: 'broken', id: data.id, message: error.message });
  }
  const rest = loadRest;
  loadRest = null;
  await rest?.().catch(() => {}); // a page without a network does without it
};
