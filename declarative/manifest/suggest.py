"""Guesses what a person meant to write: those of `oci.suggest`, which both halves share, under the name used here."""

from __future__ import annotations

from declarative.oci.suggest import closest, did_you_mean, distance

__all__ = ["closest", "did_you_mean", "distance"]
