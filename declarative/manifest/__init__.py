"""Manifests: files, then templates, then YAML nodes with positions, then typed resources; every problem of every file at once."""
