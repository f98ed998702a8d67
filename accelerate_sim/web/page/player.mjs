// Shows frames [second, text] on a terminal at any pace: pauses, seeks, and waits for frames that are still computed.
const STEP_MS = 40; // shortest time between two writes; frames come every 50 ms
const LONGEST_STEP_S = 0.5; // time during which the browser did not run the page is not made up
const RUNS_KEPT = 6;

export class Player {
  // `onChange(over)`: anything that is shown of the player's state has changed; `over`: the last frame was just shown.
  constructor(terminal, onChange) {
    this.terminal = terminal;
    this.onChange = onChange;
    this.rate = 1;
    this.playing = false;
    this.timer = 0;
    this.clear();
  }

  clear() {
    this.frames = [];
    // Of each run: the index of its first frame, where the engine began it, and what draws the terminal it begins on.
    this.runs = [{ first: 0, beginning: null, screen: '' }];
    this.next = 0; // index of the frame that is shown next
    this.now = 0;
    this.whole = false; // no more frames will come
    this.goal = null; // second to go to as soon as that much is known
    this.erase();
  }

  // A reset of the terminal itself would overtake what it has been given and not drawn yet.
  erase(screen = '') { this.terminal.write(`\x1bc${screen}`); }

  get begin() { return this.frames.length ? this.frames[0][0] : 0; }
  get end() { return this.frames.length ? this.frames[this.frames.length - 1][0] : 0; }
  get waiting() { return this.playing && !this.whole && this.next >= this.frames.length; }
  get run() { return this.runs.filter(({ first }) => first < Math.max(this.next, 1)).length - 1; }

  add(frames) {
    for (const frame of frames) this.frames.push(frame);
    this.reach();
    this.onChange();
  }

  // The frames that follow belong to the next run. Runs long past are forgotten, so that memory has a bound.
  beginRun(beginning, screen) {
    this.runs.push({ first: this.frames.length, beginning, screen });
    if (this.runs.length > RUNS_KEPT && this.runs[2].first <= this.next) {
      const gone = this.runs[1].first;
      this.frames.splice(0, gone);
      this.runs = this.runs.slice(1).map((run) => ({ ...run, first: run.first - gone }));
      this.next -= gone;
    }
  }

  // Frames from this index on are others: those after Ctrl-C, for instance.
  replaceFrom(index, frames) {
    this.frames.length = index;
    this.next = Math.min(this.next, index);
    this.add(frames);
  }

  aim(second) { this.goal = second; this.reach(); }

  reach() {
    if (this.goal === null || (this.end < this.goal && !this.whole)) return;
    const goal = this.goal;
    this.goal = null;
    this.seek(goal);
  }

  play() {
    if (this.playing) return;
    this.playing = true;
    this.last = performance.now();
    this.schedule();
    this.onChange();
  }

  pause() {
    this.playing = false;
    clearTimeout(this.timer);
    this.onChange();
  }

  // Nothing runs until the next frame is due, and nothing at all while the page is hidden.
  schedule() {
    clearTimeout(this.timer);
    if (!this.playing || document.hidden) return;
    const due = this.next < this.frames.length ? (this.frames[this.next][0] - this.now) / this.rate * 1000 : 250;
    this.timer = setTimeout(() => this.tick(), Math.min(Math.max(due, STEP_MS), 250));
  }

  wake() {
    this.last = performance.now();
    this.schedule();
  }

  tick() {
    const at = performance.now();
    const passed = Math.min((at - this.last) / 1000, LONGEST_STEP_S) * this.rate;
    this.last = at;
    this.now = Math.max(this.now, Math.min(this.now + passed, this.end));
    this.show();
    const over = this.whole && this.next >= this.frames.length;
    if (over) this.playing = false;
    this.schedule();
    this.onChange(over);
  }

  show() {
    let text = '';
    while (this.next < this.frames.length && this.frames[this.next][0] <= this.now) text += this.frames[this.next++][1];
    if (text) this.terminal.write(text);
  }

  // To go back, or on into another run, the terminal is drawn anew from the run before that second.
  seek(second) {
    const target = Math.max(this.begin, Math.min(second, this.end));
    const begun = ({ first }) => first < this.frames.length && this.frames[first][0] <= target;
    const run = this.runs.filter(begun).length - 1;
    if (target < this.now || run > this.run + 1) {
      const { first, screen } = this.runs[Math.max(run - 1, 0)];
      this.erase(screen);
      this.next = first;
    }
    this.goal = null;
    this.now = target;
    this.show();
    this.last = performance.now();
    this.schedule();
    this.onChange(false);
  }
}
