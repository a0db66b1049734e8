"""From a plan to an engine that holds it: execution, reports, history, drift. Sees engines through `drivers.port` alone."""
