"""``fetched``: the answer of a server that may not be there yet, or not any more."""

from __future__ import annotations

import urllib.error
import urllib.request

LIMIT_S = 120.0


def fetched(url: str) -> tuple[int, str]:
    """Status and body; status 0 if nobody listens, or the listener ends meanwhile."""
    try:
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""
