// Touch: a double tap is full screen, a swipe to the side seeks.
const DOUBLE_TAP_MS = 350;
const SWIPE_PIXELS = 60;
const SWIPE_S = 10;

export function connectTouch(stage, { full, seek }) {
  let start = null;
  let lastTap = -Infinity;
  stage.addEventListener('pointerdown', (event) => {
    start = event.pointerType === 'touch' && event.isPrimary ? { x: event.clientX, y: event.clientY } : null;
  });
  stage.addEventListener('pointercancel', () => { start = null; });
  stage.addEventListener('pointerup', (event) => {
    if (!start || !event.isPrimary) return;
    const [x, y] = [event.clientX - start.x, event.clientY - start.y];
    start = null;
    if (Math.abs(x) > SWIPE_PIXELS && Math.abs(x) > 2 * Math.abs(y)) {
      seek(Math.sign(x) * SWIPE_S);
    } else if (Math.hypot(x, y) < 15) {
      if (event.timeStamp - lastTap < DOUBLE_TAP_MS) full();
      lastTap = event.timeStamp;
    }
  });
}
