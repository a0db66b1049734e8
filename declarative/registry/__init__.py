"""The registry client (OCI distribution): shared by the tool and the engine."""
