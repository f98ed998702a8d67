// The page: opens the terminal, shows the recorded intro, starts the engine, and connects both to the controls.
import { Engine } from './engine.mjs';
import { Player } from './player.mjs';
import { Query } from './query.mjs';
import { Show } from './show.mjs';
import { connectControls, engineSays } from './controls.mjs';
import { openCalculator } from './calculator.mjs';
import { THEMES, fit, openTerminal, sizeFor, useGraphicsCard } from './terminal.mjs';

const element = (id) => document.getElementById(id);
const marks = window.marks = { page: Math.round(performance.now()) }; // milliseconds; tests and measurements read them
const mark = (name, value = Math.round(performance.now())) => { marks[name] ??= value; };

const query = new Query(location.search);
const theme = query.get('theme') in THEMES ? query.get('theme') : (matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark');
document.documentElement.dataset.theme = theme;
if (query.get('ui') === '0') document.body.classList.add('bare');
if (query.isPlan) element('calculator').hidden = false;
if (query.isText) element('playback').hidden = true;

const [columns, rows] = sizeFor(element('stage'), query);
const terminal = openTerminal(element('terminal'), columns, rows, theme, query.has('reader'));
const refit = () => fit(terminal, element('stage'));
refit();
new ResizeObserver(refit).observe(element('stage'));
if (!query.has('dom')) useGraphicsCard(terminal).then((renderer) => { mark('renderer', renderer); refit(); });

const player = new Player(terminal, (over) => show.changed(over));
const engine = new Engine(query.has('parts'), (origin, laps) => {
  mark('ready');
  mark('origin', origin);
  mark('laps', laps);
  engineSays('live: CPython in WebAssembly');
}, (message) => {
  mark('broken', message);
  show.broken(message);
});
const show = new Show({ query, player, engine, columns, rows, mark });
connectControls({ query, player, engine, show, terminal, columns, rows });
show.begin();
if (query.isPlan) openCalculator({ query, engine, show });
document.addEventListener('visibilitychange', () => player.wake());

// The service worker fetches the whole page once more, so it waits until the engine has what it needs.
if ('serviceWorker' in navigator && !query.has('parts')) {
  show.settled.then(() => navigator.serviceWorker.register('sw.js')).then(() => navigator.serviceWorker.ready)
    .then(() => mark('kept')).catch(() => {});
}
Object.assign(window, { player, terminal, show, query });
