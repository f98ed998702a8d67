"""Identifiers of GPUs, which do not depend on what runs there: pure functions of config and place."""

import hashlib

from accelerate_sim.config.schema import RunConfig


def _digest(config: RunConfig, node: int, local: int, what: str) -> str:
    """Hexadecimal digits derived from one GPU of one cluster."""
    cluster = config.cluster
    place = f"{what}/{config.run.seed}/{cluster.host}/{cluster.gpu}/{node}/{local}"
    return hashlib.blake2b(place.encode(), digest_size=16).hexdigest()


def uuid(config: RunConfig, node: int, local: int) -> str:
    """UUID as the driver writes it: ``GPU-`` and 32 hexadecimal digits."""
    digits = _digest(config, node, local, "uuid")
    return f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def serial(config: RunConfig, node: int, local: int) -> str:
    """Serial number of thirteen digits, of which the first are those of data-centre boards."""
    return f"165{int(_digest(config, node, local, 'serial')[:12], 16) % 10**10:010d}"
