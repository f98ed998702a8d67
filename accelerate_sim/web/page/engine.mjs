// The page's side of the engine: sends it command lines, and gives its answers to who asked.
const decoder = new TextDecoder();

export class Engine {
  // `parts`: start without the memory image. `onReady(origin, laps)` and `onBroken(message)` are called once.
  constructor(parts, onReady, onBroken) {
    this.requests = new Map();
    this.count = 0;
    this.onReady = onReady;
    this.onBroken = onBroken;
    try {
      this.worker = new Worker(parts ? 'worker.mjs?parts' : 'worker.mjs', { type: 'module' });
    } catch (error) {
      queueMicrotask(() => this.break(error.message)); // the page is not ready to show it yet
      return;
    }
    this.worker.onmessage = ({ data }) => this.receive(data);
    this.worker.onerror = (event) => this.break(event.message || 'the worker cannot start');
  }

  break(message) {
    this.onBroken(message);
    for (const { reject } of this.requests.values()) reject(new Error(message));
    this.requests.clear();
  }

  receive(data) {
    const request = this.requests.get(data.id);
    if (data.kind === 'ready') this.onReady(data.origin, data.laps);
    else if (data.kind === 'frames') request?.onFrames(JSON.parse(decoder.decode(data.json)));
    else if (data.kind === 'end') request?.resolve({ ...data.result, ms: data.ms });
    else if (request) request.reject(new Error(data.message));
    else this.break(data.message);
    if (data.kind === 'end' || data.kind === 'broken') this.requests.delete(data.id);
  }

  ask(kind, message, onFrames = () => {}) {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      if (!this.worker) { reject(new Error('no engine')); return; }
      this.requests.set(id, { resolve, reject, onFrames });
      this.worker.postMessage({ ...message, kind, id });
    });
  }

  // Frames of one run come to `onFrames`; the answer is {code, next, ms}.
  play(message, onFrames) { return this.ask('play', message, onFrames); }
}
