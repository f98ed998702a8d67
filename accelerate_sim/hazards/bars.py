"""Progress bars in the bytes of a log, as tqdm leaves them where no terminal takes them back."""

from __future__ import annotations

from accelerate_sim.hazards.hazard import Hazard, Passage

WIDTH = 10
MOST_FRAMES = 4


class CarriageReturn(Hazard):
    """Frames of a bar, blanks and a carriage return stand before a line; sometimes two bars with a cursor movement."""

    def alter(self, passage: Passage) -> None:
        number = passage.line.number
        if not passage.text or not self.strikes(number):
            return
        count = 1 + int(self.draw(number, "frames") * MOST_FRAMES)
        frames = [_frame(number * MOST_FRAMES + index) for index in range(count)]
        last = max(map(len, frames))
        bars = "".join(f"\r{frame}" for frame in frames)
        if self.draw(number, "second") < 0.25:
            bars += f"\n\r{_frame(number + 7)}\033[A"
        passage.text = f"{bars}\r{' ' * last}\r{passage.text}"
        self.note(passage, f"{count} frames of a bar stand before the line")


def _frame(count: int) -> str:
    done = count % 100
    filled = done * WIDTH // 100
    return f"{done:3d}%|{'█' * filled:<{WIDTH}}| {done}/100 [00:{done % 60:02d}<01:00,  3.47it/s]"
