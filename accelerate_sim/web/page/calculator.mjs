// The form above a plan: each change is a --set of the command line, and the plan is shown as it is changed.
import { changed, engineSays } from './controls.mjs';

const WAIT_MS = 250;
const COUNTS = {
  'cluster.nodes': 'nodes', 'cluster.gpus_per_node': 'GPUs a node', 'parallel.tensor': 'tensor',
  'parallel.pipeline': 'pipeline', 'parallel.context': 'context', 'parallel.expert': 'expert',
  'train.global_batch': 'global batch', 'train.micro_batch': 'micro batch', 'train.sequence_length': 'sequence length',
};
const CHOICES = {
  model: 'model', 'cluster.gpu': 'GPU', 'parallel.sharding': 'sharding', 'train.precision': 'precision',
  'train.recompute': 'recompute',
};

export function openCalculator({ query, engine, show }) {
  const form = document.getElementById('calculator');
  let waiting = 0;
  const fields = new Map();
  const add = (key, label, input) => {
    const place = document.createElement('label');
    place.append(`${label} `, input);
    input.name = key;
    input.addEventListener('input', () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => change(key, input.value.trim()), WAIT_MS);
    });
    fields.set(key, input);
    form.append(place);
  };
  for (const [key, label] of Object.entries(CHOICES)) add(key, label, document.createElement('select'));
  for (const [key, label] of Object.entries(COUNTS)) {
    const input = document.createElement('input');
    input.inputMode = 'numeric';
    add(key, label, input);
  }
  form.addEventListener('submit', (event) => event.preventDefault());

  async function change(key, value) {
    const others = query.asked.getAll('set').filter((setting) => !setting.startsWith(`${key}=`));
    query.asked.delete('set');
    for (const setting of others) query.asked.append('set', setting);
    if (value) query.asked.append('set', `${key}=${value}`);
    history.replaceState(null, '', `?${changed(query.asked.toString(), {})}`);
    document.getElementById('command').textContent = `$ ${query.command()}`;
    await show.replan();
    await refresh();
  }

  // The values of all keys are those of the config with its changes, so that one that follows from another is shown.
  async function refresh() {
    const { choices, values } = await engine.ask('choices', { argv: query.engineArgv() });
    for (const [key, names] of Object.entries(choices)) fillOptions(fields.get(key), names);
    if (!values) return; // the command line has refused something, and the page shows its words
    for (const [key, input] of fields) if (document.activeElement !== input || input.tagName === 'SELECT') setValue(input, values[key]);
    engineSays('live: CPython in WebAssembly');
  }
  refresh().catch(() => {});
}

function fillOptions(select, names) {
  if (!select || select.options.length) return;
  for (const name of names) select.add(new Option(name, name));
}

function setValue(input, value) {
  const text = value === null || typeof value === 'object' ? '' : String(value);
  if (input.tagName === 'SELECT' && text && ![...input.options].some((option) => option.value === text)) {
    input.add(new Option(text, text));
  }
  input.value = text;
}
