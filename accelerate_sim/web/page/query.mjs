// The query string is the command line of train.py; a few parameters belong to the page itself.
export const OF_PAGE = new Set(['parts', 'dom', 'cols', 'rows', 'x', 't', 'ui', 'autoplay', 'intro', 'theme', 'reader']);
const SWITCHES = new Set(['ascii', 'no-progress', 'plan', 'print-config', 'help', 'h', 'version', 'publish', 'show-completion']);
const TEXTS = ['plan', 'print-config', 'help', 'h', 'version', 'list', 'show-completion'];
const [SLOWEST, FASTEST] = [0.5, 16];
export const DEFAULT_CONFIG = 'llama70b';
export const DEFAULT_SEED = '42';

const localTime = (date) => new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);

export class Query {
  constructor(search, now = new Date()) {
    this.asked = new URLSearchParams(search);
    const given = (name, short) => this.asked.has(name) || this.asked.has(short);
    this.isText = TEXTS.some((name) => this.asked.has(name));
    this.isPlan = this.asked.has('plan');
    if (!given('config', 'c') && (!this.isText || this.isPlan)) this.asked.set('config', DEFAULT_CONFIG);
    if (this.isText) return;
    if (!given('start-time')) this.asked.set('start-time', localTime(now));
    // Runs that are drawn from the catalog are repeatable only with a seed.
    if (this.config === '' && !given('seed')) this.asked.set('seed', String(Math.floor(Math.random() * 1e6)));
  }

  get config() { return this.asked.get('config') ?? this.asked.get('c') ?? ''; }
  get seed() { return this.asked.get('seed') ?? DEFAULT_SEED; }
  get(name) { return this.asked.get(name); }
  has(name) { return this.asked.has(name); }
  get options() { return [...this.asked].filter(([name]) => !OF_PAGE.has(name)); }
  get endless() { return !this.isText; }

  // Pace of the page; a run that never waits is shown as fast as the page can.
  get pace() {
    return this.get('speed') === 'max' ? FASTEST : Math.min(Math.max(Number(this.get('x')) || 1, SLOWEST), FASTEST);
  }

  // Second to begin at; null: none is asked for.
  get second() { return this.has('t') ? Math.max(Number(this.get('t')) || 0, 0) : null; }

  argv() {
    const words = [];
    for (const [name, value] of this.options) {
      const word = name.length === 1 ? `-${name}` : `--${name}`;
      if (name === 'config' && value === '') continue;
      if (SWITCHES.has(name) && ['', '1', 'true'].includes(value)) words.push(word);
      else if (value === '') words.push(word);
      else words.push(word, value);
    }
    return words;
  }

  // Words for the engine: nobody would see a run without waits.
  engineArgv() {
    const words = this.argv();
    const at = words.indexOf('--speed');
    if (at >= 0 && words[at + 1] === 'max') words.splice(at, 2);
    return words;
  }

  // The command that prints the same, to a terminal or to a pipe.
  command() { return ['python train.py', ...this.argv().map(quoted)].join(' '); }

  digestArgv() {
    const words = this.engineArgv();
    const endless = this.get('runs') === '0';
    return endless ? [...words, '--runs', '1'] : words;
  }

  digestCommand() {
    return ['python train.py', ...this.digestArgv().map(quoted), '--speed max | sha256sum'].join(' ');
  }

  // True if the recorded intro shows the same, but for its dates.
  get isUsual() {
    const usual = { 'start-time': null, config: null, seed: DEFAULT_SEED };
    return !this.isText && this.config !== ''
      && this.options.every(([name, value]) => name in usual && (usual[name] ?? value) === value);
  }
}

export const quoted = (word) => (/^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
