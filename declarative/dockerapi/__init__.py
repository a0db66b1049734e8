"""The Docker Engine API on the wire: endpoints, HTTP, framed streams, JSON at the edge. Knows nothing of plans."""
