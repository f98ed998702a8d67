"""Messages between the processes of a launcher, as frozen dataclasses with one encoder and one decoder."""
