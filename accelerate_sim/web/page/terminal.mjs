// The terminal of the page: one of a few sizes, scaled to the window, in one of the page's looks.
import { Terminal } from './vendor/xterm.mjs';

const SIZES = [[120, 40], [80, 32], [56, 36], [44, 34], [80, 24]]; // intros.py records these
const SMALLEST_CELL = [6.3, 10.5]; // pixels, in which text can be read
const FONT = '"DejaVu Sans Mono", "JetBrains Mono", Menlo, Consolas, monospace';
const CELL = [0.604, 1.19]; // width and height of a cell, per pixel of font size; measured and put right in fit()
export const THEMES = {
  dark: { background: '#0b0e14', foreground: '#c5cdd9', cursor: '#0b0e14', selectionBackground: '#334155' },
  light: {
    background: '#fbfbfd', foreground: '#24292f', cursor: '#fbfbfd', selectionBackground: '#cfe3ff', black: '#24292f',
    red: '#b31d28', green: '#116329', yellow: '#8a5a00', blue: '#0550ae', magenta: '#8250df', cyan: '#0b6a75',
    white: '#57606a', brightBlack: '#57606a', brightRed: '#a40e26', brightGreen: '#1a7f37', brightYellow: '#7d4e00',
    brightBlue: '#0969da', brightMagenta: '#6639ba', brightCyan: '#0b6a75', brightWhite: '#24292f',
  },
  crt: { background: '#04120a', foreground: '#9dffb0', cursor: '#04120a', selectionBackground: '#1f5c34',
    white: '#9dffb0', green: '#5dff86', brightBlack: '#3f9a5a', brightWhite: '#d8ffe0' },
};

// Colours that a program names itself are made for a dark screen.
const contrastOf = (name) => (name === 'light' ? 4.5 : 1);

export function wear(terminal, name) {
  terminal.options.theme = THEMES[name];
  terminal.options.minimumContrastRatio = contrastOf(name);
}

export function sizeFor(stage, query) {
  if (query.has('cols')) return [clamp(query.get('cols'), 20, 400), clamp(query.get('rows') ?? 40, 5, 200)];
  // How much larger than the smallest a cell can be; a window too small for all gets the size that is read best.
  const [width, height] = SMALLEST_CELL;
  const scale = ([c, r]) => Math.min(stage.clientWidth / c / width, stage.clientHeight / r / height);
  return SIZES.find((size) => scale(size) >= 1) ?? SIZES.reduce((best, size) => (scale(size) > scale(best) ? size : best));
}
const clamp = (text, low, high) => Math.min(Math.max(Math.round(Number(text)) || low, low), high);

export function openTerminal(place, columns, rows, theme, reader) {
  const terminal = new Terminal({
    cols: columns, rows, scrollback: 3000, disableStdin: true, cursorBlink: false, cursorInactiveStyle: 'none',
    fontFamily: FONT, fontSize: 14, customGlyphs: true, theme: THEMES[theme],
    minimumContrastRatio: contrastOf(theme), screenReaderMode: reader,
  });
  terminal.open(place);
  if (reader) place.removeAttribute('role'); // a picture hides its text
  return terminal;
}

// WebGL draws with less work on a graphics card, and with more where the processor plays one.
export async function useGraphicsCard(terminal) {
  const context = document.createElement('canvas').getContext('webgl2');
  const info = context?.getExtension('WEBGL_debug_renderer_info');
  const renderer = context ? String(context.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : context.RENDERER)) : '';
  context?.getExtension('WEBGL_lose_context')?.loseContext();
  if (!renderer || /swiftshader|llvmpipe|software|basic render/i.test(renderer)) return 'dom';
  try {
    const { WebglAddon } = await import('./vendor/addon-webgl.mjs');
    const addon = new WebglAddon();
    addon.onContextLoss(() => addon.dispose());
    terminal.loadAddon(addon);
    return 'webgl';
  } catch {
    return 'dom';
  }
}

// The size of a cell differs from browser to browser, so the result is measured and corrected.
export function fit(terminal, stage) {
  const [width, height] = [stage.clientWidth - 8, stage.clientHeight - 8];
  const element = terminal.element.querySelector('.xterm-screen');
  let points = Math.min(width / terminal.cols / CELL[0], height / terminal.rows / CELL[1]);
  for (let turn = 0; turn < 4; turn++) {
    terminal.options.fontSize = Math.max(4, Math.floor(points * 4) / 4);
    const drawn = element.getBoundingClientRect();
    if (!drawn.width || (drawn.width <= width && drawn.height <= height)) return;
    points = terminal.options.fontSize * Math.min(width / drawn.width, height / drawn.height, 0.99);
  }
}
