// What is played: the recorded intro, the engine's frames in its place, run after run, and the end after Ctrl-C.
import { engineSays, stateOf } from './controls.mjs';
import { unpacked } from './unpack.mjs';

const NEXT_RUN_S = 20; // seconds before the end of what is computed at which the next run is asked for
const LATEST_S = 1800; // a link to a later second waits for no more runs than this
const STILL_S = 20; // the moment that is shown to those who want no motion
const SAME_S = 1e-3;
const calm = matchMedia('(prefers-reduced-motion: reduce)');

export class Show {
  constructor({ query, player, engine, columns, rows, mark }) {
    Object.assign(this, { query, player, engine, columns, rows, mark });
    this.intro = []; // recorded frames; empty once the engine's have taken their place
    this.live = []; // the engine's frames of the first run, until they are as many as the intro's
    this.following = null; // where the next run begins; null: there is none
    this.screen = ''; // the text that draws the terminal on which it begins, if it is not an empty one
    this.computing = true;
    this.introIsThere = false; // as far as there is one
    this.ended = false; // by Ctrl-C: runs that are still computed are not shown
    this.settled = new Promise((resolve) => { this.settle = resolve; });
    player.rate = query.pace;
  }

  async begin() {
    const computed = this.compute(null);
    const frames = await recordedIntro(this.query, this.columns, this.rows).catch(() => []);
    if (frames.length && !this.player.frames.length) {
      this.intro = frames;
      this.player.add(frames);
      engineSays('recorded intro; the engine is loading');
    }
    this.introIsThere = true;
    if (this.failure) this.broken(this.failure);
    this.mark('first');
    if (calm.matches || this.query.get('autoplay') === '0') this.player.aim(this.query.second ?? STILL_S);
    else {
      if (this.query.second !== null) this.player.aim(this.query.second);
      this.player.play();
    }
    await computed;
  }

  // Ask the engine for a run. Its frames are played as they come.
  async compute(beginning) {
    this.computing = true;
    const argv = this.query.engineArgv();
    const message = { argv, columns: this.columns, rows: this.rows, beginning };
    const played = await this.engine.play(message, (frames) => this.ended || this.take(frames))
      .catch((error) => { this.failed(error.message); });
    this.computing = false; // before the finish, which may ask for the next run
    if (played) {
      this.mark('run_ms', played.ms);
      if (!this.ended) this.finish(played);
    }
    this.settle();
  }

  take(frames) {
    if (frames.length) this.mark('live');
    if (!this.intro.length) { this.player.add(frames); this.sayText(); return; }
    this.live.push(...frames);
    if (this.live.length >= this.intro.length) this.endIntro();
  }

  // The engine has computed as much as is recorded: both have to be the same, byte for byte.
  endIntro() {
    const same = (frame, at) => this.live[at]?.[1] === frame[1] && Math.abs(this.live[at][0] - frame[0]) < SAME_S;
    const different = this.intro.findIndex((frame, at) => !same(frame, at));
    this.mark('same', different < 0 ? 'same' : `different from frame ${different} on`);
    const live = this.live;
    [this.intro, this.live] = [[], []];
    if (different < 0) {
      this.player.replaceFrom(this.player.frames.length, live.slice(this.player.frames.length));
    } else {
      const { now } = this.player;
      this.player.erase();
      this.player.replaceFrom(0, live);
      this.player.aim(now);
    }
  }

  finish({ code, next, screen = '' }) {
    if (this.intro.length) this.endIntro(); // the run is shorter than its intro
    this.mark('whole');
    this.code = code;
    this.following = this.query.endless ? next : null;
    this.screen = screen;
    this.player.whole = !this.following;
    if (code) engineSays(`exit code ${code}`);
    this.sayText();
    this.player.reach();
    this.player.onChange(false);
  }

  // Help, lists, plans and errors are text, not a terminal's frames.
  sayText() {
    if (!this.query.isText) return;
    document.getElementById('terminal').hidden = true;
    const text = document.getElementById('text');
    text.hidden = false;
    text.textContent = this.player.frames.map(([, frame]) => frame).join('').replaceAll('\r\n', '\n');
    const columns = Math.max(...text.textContent.split('\n').map((line) => line.length), 1);
    text.style.setProperty('--columns', columns); // a small screen shows whole lines as long as they can be read
  }

  changed(over) {
    stateOf(this.player);
    const { player } = this;
    const wanted = Math.max(player.now, Math.min(player.goal ?? 0, LATEST_S));
    if (!this.computing && !this.ended && this.following && player.end - wanted < NEXT_RUN_S * player.rate) {
      const beginning = this.following;
      this.following = null;
      player.beginRun(beginning, this.screen);
      this.compute(beginning);
    }
    if (over) this.mark('over');
  }

  // Ctrl-C at the present second: the engine computes how the run ends there.
  async interrupt() {
    if (this.query.isText || this.ended) return;
    if (this.intro.length) { engineSays('the engine is still loading'); return; }
    this.ended = true;
    const { player } = this;
    player.pause();
    const [run, at, index] = [player.run, player.now, player.next];
    engineSays('ending the run');
    const frames = [];
    const { first, beginning } = player.runs[run];
    const message = { argv: this.query.engineArgv(), columns: this.columns, rows: this.rows, beginning, interrupt: at };
    const { code } = await this.engine.play(message, (more) => frames.push(...more));
    player.runs.length = run + 1;
    player.whole = true;
    player.replaceFrom(index, frames.slice(index - first));
    this.code = code;
    player.seek(player.end);
    engineSays(`exit code ${code}`);
    this.mark('interrupted');
  }

  // Plans of other options take the place of this one, as a form changes it.
  async replan() {
    this.player.clear();
    await this.compute(null);
  }

  // A run that the engine could not finish ends where its frames do.
  failed(message) {
    if (this.failure) return; // the engine itself is broken, and that has been said
    this.player.whole = true;
    this.player.reach();
    engineSays(`the run has failed: ${message.trim().split('\n').at(-1)}`);
  }

  broken(message) {
    this.failure = message;
    this.player.whole = true;
    const recorded = this.player.frames.length > 0;
    engineSays(recorded ? `recorded; this browser cannot run the engine: ${message}` : `This browser cannot run Python: ${message}`);
    if (!recorded && this.introIsThere) this.player.terminal.write(`This browser cannot run Python: ${message}\r\n`);
    this.settle();
  }
}

// The first seconds of a shipped config's run. They are the same at any time but for the dates, which are moved.
async function recordedIntro(query, columns, rows) {
  if (!query.isUsual || query.get('intro') === '0') return [];
  const response = await fetch(`intro/${query.config}-${columns}x${rows}.json.gz`);
  if (!response.ok) return [];
  const { start, frames } = JSON.parse(new TextDecoder().decode(await unpacked(response)));
  const shift = new Date(`${query.get('start-time')}Z`) - new Date(`${start}Z`);
  const dated = /\[(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)\]/g;
  const moved = (all, day, time) => {
    const date = new Date(Number(new Date(`${day}T${time}Z`)) + shift);
    return `[${date.toISOString().slice(0, 19).replace('T', ' ')}]`;
  };
  return frames.map(([second, text]) => [second, text.replace(dated, moved)]);
}
