"""What the process of a step may use up, set by itself before any code of the step runs."""


class Bounds:
    """Knows the limits that hold already: none of them can be raised."""

    def __init__(self):
        try:
            import resource
        except ImportError:
            # Not every system's Python has it; those that workers run on do.
            self._set, self._highest = None, {}
            return
        self._set = resource.setrlimit
        self._none = resource.RLIM_INFINITY
        names = ("CORE", "DATA", "AS", "NPROC", "FSIZE", "NOFILE", "CPU")
        numbers = [getattr(resource, f"RLIMIT_{name}") for name in names if hasattr(resource, f"RLIMIT_{name}")]
        self._highest = {number: resource.getrlimit(number)[1] for number in numbers}

    def apply(self, bounds):
        """Sets limits, each a resource's number with its soft and hard limit."""
        for number, soft, hard in bounds:
            highest = self._highest.get(number)
            if highest is None:
                continue
            if highest != self._none:
                soft, hard = min(soft, highest), min(hard, highest)
            self._set(number, (soft, hard))
