"""Whether the CoreC of this container is well: prints what /health says; exit code 0 or 1.

Asked from inside, so that the port stays on the container's own loopback.
"""

from __future__ import annotations

import http.client
import os
import sys

SECONDS = 8.0  # the host gives each of its parts less


def main() -> int:
    """Ask once; returns the exit code."""
    port = int(os.environ.get("COREC_HTTP_PORT") or 8000)
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        link.request("GET", "/health")
        answer = link.getresponse()
        body = answer.read(65_536).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"127.0.0.1:{port}/health no responde: {error}\n")
        return 1
    finally:
        link.close()
    sys.stdout.write(f"{body}\n")
    return 0 if answer.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
