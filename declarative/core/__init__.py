"""The pure half: resource types, desired and actual state, differences, plans, tag schemes. No I/O and no clock."""
