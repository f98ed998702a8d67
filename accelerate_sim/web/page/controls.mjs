// Buttons, keys and touch, and what they show of the player.
import { DEFAULT_CONFIG } from './query.mjs';
import { THEMES, wear } from './terminal.mjs';
import { connectTouch } from './touch.mjs';

const CONFIGS = ['llama70b', 'llama8b', 'llama405b', 'mixtral8x7b', 'gpt3-175b', 'classic', 'chaos', 'debug']; // all shipped ones
const DRAWN = 'any (drawn)';
const RATES = [0.5, 1, 2, 4, 8, 16];
const IDLE_MS = 3500;
const TOAST_MS = 1800;
const element = (id) => document.getElementById(id);

export function engineSays(text) { element('engine').textContent = text; element('engine').title = text; }

const clock = (second) => `${Math.floor(second / 60)}:${String(Math.floor(second % 60)).padStart(2, '0')}`;

function put(node, property, value) { if (node[property] !== value) node[property] = value; }

export function stateOf(player) {
  put(element('time'), 'textContent', `${clock(player.now)} / ${clock(player.end)}${player.whole ? '' : '…'}`);
  const seek = element('seek');
  if (document.activeElement !== seek || player.playing) {
    put(seek, 'min', String(player.begin));
    put(seek, 'max', String(Math.ceil(player.end) || 1));
    put(seek, 'value', String(Math.round(player.now)));
    seek.setAttribute('aria-valuetext', clock(player.now));
  }
  put(element('play'), 'textContent', player.playing ? '❚❚' : '▶');
  put(element('play'), 'ariaLabel', player.playing ? 'Pause' : 'Play');
}

let hideToast = 0;
export function say(text) {
  element('toast').textContent = text;
  element('toast').hidden = false;
  clearTimeout(hideToast);
  hideToast = setTimeout(() => { element('toast').hidden = true; }, TOAST_MS);
}

async function copy(text, done, otherwise) {
  try {
    await navigator.clipboard.writeText(text);
    say(done);
  } catch {
    say(otherwise);
  }
}

export function connectControls(page) {
  const { query, player, show } = page;
  const go = (changes) => { location.search = changed(location.search, changes); };
  const actions = {
    play: () => (player.playing ? player.pause() : player.play()),
    restart: () => { player.seek(player.begin); player.play(); },
    interrupt: () => show.interrupt(),
    dice: () => go({ seed: String(Math.floor(Math.random() * 1e6)), t: null }),
    share: () => copy(sharedLink(page), 'Link copied', 'The link is in the address bar'),
    check: () => check(page),
    plan: () => go(query.isPlan ? { plan: null } : { plan: '', t: null, 'start-time': null, seed: null }),
    theme: () => nextTheme(page),
    full: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen?.()),
    more: () => toggleHelp(),
    copy: () => copy(query.command(), 'Command copied', 'Select the command and copy it'),
    'copy-check': () => copy(query.digestCommand(), 'Command copied', 'Select the command and copy it'),
    reader: () => go({ reader: query.has('reader') ? null : '' }),
    embed: () => copy(frameSnippet(page), 'Snippet copied', 'This browser does not let a page copy'),
    faster: () => hurry(player, 1),
    slower: () => hurry(player, -1),
    forward: (seconds = 5) => player.seek(player.now + seconds),
    back: (seconds = 5) => player.seek(player.now - seconds),
  };
  fillChoices(page, go);
  for (const [name, act] of Object.entries(actions)) element(name)?.addEventListener('click', () => act());
  for (const button of document.querySelectorAll('.close')) {
    button.addEventListener('click', () => { button.closest('.panel').hidden = true; });
  }
  element('seek').addEventListener('input', () => player.seek(Number(element('seek').value)));
  connectKeys(page, actions);
  connectTouch(element('stage'), { full: actions.full, seek: (seconds) => player.seek(player.now + seconds) });
  fadeWhenIdle(player);
}

function fillChoices({ query, player }, go) {
  const names = CONFIGS.includes(query.config) || query.config === '' ? CONFIGS : [query.config, ...CONFIGS];
  for (const name of names) element('config').add(new Option(name, name));
  element('config').add(new Option(DRAWN, ''));
  element('config').value = query.config || (query.isText ? DEFAULT_CONFIG : '');
  for (const rate of RATES) element('rate').add(new Option(`${rate}×`, String(rate)));
  if (!RATES.includes(player.rate)) element('rate').add(new Option(`${player.rate}×`, String(player.rate)));
  element('rate').value = String(player.rate);
  element('seed').value = query.seed;
  element('command').textContent = `$ ${query.command()}`;
  element('command').title = query.command();
  element('rate').onchange = () => { player.rate = Number(element('rate').value); player.wake(); };
  element('config').onchange = () => go({ config: element('config').value, c: null, t: null });
  element('seed').onchange = () => go({ seed: element('seed').value || null, t: null });
}

export function changed(search, changes) {
  const asked = new URLSearchParams(search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) asked.delete(name); else asked.set(name, value);
  }
  return asked.toString();
}

function hurry(player, step) {
  const nearest = RATES.reduce((best, rate) => (Math.abs(rate - player.rate) < Math.abs(best - player.rate) ? rate : best));
  const at = Math.max(0, Math.min(RATES.length - 1, RATES.indexOf(nearest) + step));
  player.rate = RATES[at];
  element('rate').value = String(RATES[at]);
  player.wake();
}

// A link that shows anybody this second of this run: seed, start of the clock and size are in it.
function sharedLink({ query, player, columns, rows }) {
  const link = new URL(location.href);
  for (const name of ['config', 'start-time']) if (query.has(name)) link.searchParams.set(name, query.get(name));
  if (!query.isText) {
    const place = { seed: query.seed, cols: columns, rows, t: player.now.toFixed(1) };
    for (const [name, value] of Object.entries(place)) link.searchParams.set(name, value);
  }
  history.replaceState(null, '', link);
  return link.href;
}

function frameSnippet(page) {
  const link = new URL(sharedLink(page));
  for (const name of ['t', 'start-time', 'cols', 'rows']) link.searchParams.delete(name);
  link.searchParams.set('ui', '0');
  const source = link.href.replaceAll('&', '&amp;').replaceAll('"', '&quot;');
  return `<iframe src="${source}" width="960" height="600" loading="lazy" style="border:0" title="A simulated training run"></iframe>`;
}

async function check({ query, engine }) {
  element('checked').hidden = false;
  element('digest-command').textContent = query.digestCommand();
  element('digest').textContent = 'computing';
  try {
    const { sha256 } = await engine.ask('digest', { argv: query.digestArgv() });
    element('digest').textContent = sha256;
  } catch (error) {
    element('digest').textContent = `not computed: ${error.message}`;
  }
}

function nextTheme({ terminal }) {
  const names = Object.keys(THEMES);
  const name = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
  document.documentElement.dataset.theme = name;
  wear(terminal, name);
  history.replaceState(null, '', `?${changed(location.search, { theme: name })}`);
}

function toggleHelp(hidden = !element('help').hidden) {
  element('help').hidden = hidden;
  element('more').ariaExpanded = String(!hidden);
}

function connectKeys({ player, terminal, show }, actions) {
  const keys = {
    ' ': actions.play, k: actions.play, f: actions.full, s: actions.share, r: actions.restart, n: actions.dice,
    t: actions.theme, p: actions.plan, '+': actions.faster, '=': actions.faster, '-': actions.slower,
    ArrowRight: actions.forward, ArrowLeft: actions.back, '?': actions.more,
    Escape: () => { toggleHelp(true); element('checked').hidden = true; },
  };
  addEventListener('keydown', (event) => {
    if (event.target.matches('input:not([type=range]), select')) return;
    if (event.ctrlKey && event.key === 'c' && !terminal.hasSelection() && !getSelection().toString()) show.interrupt();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches('button, input') && [' ', 'ArrowRight', 'ArrowLeft'].includes(event.key)) return;
    const tenth = /^[0-9]$/.test(event.key) ? () => player.seek(player.begin + (player.end - player.begin) * event.key / 10) : null;
    const act = tenth ?? keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

// The bar is below the terminal, covers none of its lines, and fades while a run plays and nobody moves.
function fadeWhenIdle(player) {
  let idle = 0;
  const stir = () => {
    document.body.classList.remove('idle');
    clearTimeout(idle);
    idle = setTimeout(() => document.body.classList.toggle('idle', player.playing), IDLE_MS);
  };
  for (const kind of ['pointermove', 'pointerdown', 'keydown', 'focusin']) addEventListener(kind, stir);
  stir();
}
