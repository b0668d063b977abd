"""Where units of work run: in this process, in local worker processes, or on a Ray cluster.

Build, fetch and evaluation hand their units to an engine and know no more of it than this protocol:

- `local.Serial` and `local.Workers` need nothing but Python.
- `ray.Ray` runs on as many machines as the cluster has; nothing of ours supervises them.
"""

from task_registry.engines.protocol import TRIES, Crash, Engine

__all__ = ["TRIES", "Crash", "Engine"]
