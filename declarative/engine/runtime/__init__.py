"""Running processes: the OCI runtime and its monitor, root file systems, control groups, streams and logs."""
