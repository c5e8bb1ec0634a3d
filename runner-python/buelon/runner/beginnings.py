"""What modules begin when they are imported that only lasts in the process which began it, threads for one.

Of some modules it is known which function they call for that. While modules are loaded that are to be there in all forks, such a
call is noted, and nothing comes of it; each fork makes it then. So the module need not be imported by each fork.
"""

import sys

_KNOWN = {"polars._plr": "__register_startup_deps"}
"""Functions of modules: polars is told of its parts written in Python, and begins a thread that removes its temporary files."""


class Beginnings:
    """The calls that each fork makes for modules which are there already. Around an import: a context."""

    def __init__(self):
        self._calls = []
        self._put_off = []
        """Modules whose function is another one meanwhile, each with the function's name and itself."""

    def __enter__(self):
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *_):
        sys.meta_path.remove(self)
        for module, name, function in self._put_off:
            setattr(module, name, function)
        self._put_off.clear()

    def find_spec(self, name, path=None, target=None):
        """For the import system: the module as others find it, and its function put off when it has been loaded."""
        if name not in _KNOWN:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_put_off(module):
                load(module)
                # It may have put another one in its place.
                self._put_off_in(sys.modules.get(name, module), _KNOWN[name])

            spec.loader.exec_module = load_and_put_off
        return spec

    def _put_off_in(self, module, name):
        function = getattr(module, name, None)
        if function is None:
            return

        def note(*arguments, **keywords):
            self._calls.append((function, arguments, keywords))

        setattr(module, name, note)
        self._put_off.append((module, name, function))

    def begin(self):
        """In a fork, with the variables of its step: makes the calls. A module for which that fails says so when it is used."""
        for function, arguments, keywords in self._calls:
            try:
                function(*arguments, **keywords)
            except BaseException:
                pass

    def __len__(self):
        return len(self._calls)
