"""The embedded engine: what a container engine is, behind the Docker Engine API.

The rule that keeps it simple: it knows images, containers and networks, never plans. It imports `registry`, `oci`, `dockerapi`,
`errors` and `record`, and nothing of the tool; the tool meets it at a socket (DESIGN 7; checked by import-linter).
"""
