"""Calls a step's function: positional arguments, a dict for ``mut``, awaited where it is asynchronous."""

import types

from .failures import standard

_PLAIN = frozenset((type(None), bool, int, float, str, list, dict, tuple))


def call(function, arguments):
    """What the function returns. Generators, also asynchronous ones, are collected into a list by the caller."""
    arguments = list(arguments)
    keywords = add_mut(function, arguments)
    result = function(*arguments, **keywords)
    if type(result) in _PLAIN:
        return result
    if hasattr(result, "__await__"):
        return standard("asyncio").run(_awaited(result))
    if hasattr(result, "__aiter__") and hasattr(result, "__anext__"):
        return standard("asyncio").run(_collected(result))
    return result


def parameters(function, count):
    """The function that has the parameters, and the names of those that take the first ``count`` arguments."""
    code = code_of(function)
    if code is None:
        return function, []
    names = code.co_varnames[: code.co_argcount]
    names = names[1:] if _is_bound(function) else names
    return _target(function), [name for name in names if name != "mut"][:count]


async def _awaited(result):
    return await result


async def _collected(result):
    return [item async for item in result]


def add_mut(function, arguments):
    """Puts a dict where the function has a parameter ``mut``; returns the keyword arguments."""
    code = code_of(function)
    if code is None:
        return {}
    positional = code.co_varnames[: code.co_argcount]
    if "mut" in positional:
        place = positional.index("mut")
        if _is_bound(function):
            place -= 1
        if place <= len(arguments):
            arguments.insert(place, {})
            return {}
        return {"mut": {}}
    named_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return {"mut": {}} if "mut" in named_only else {}


def _is_bound(function):
    return not isinstance(_unwrapped(function), types.FunctionType)


def code_of(function):
    """The code whose parameters count, seen through decorators that say what they wrap."""
    return getattr(_target(function), "__code__", None)


def _target(function):
    target = _unwrapped(function)
    if isinstance(target, types.MethodType):
        return target.__func__
    if isinstance(target, type):
        return target.__init__
    return target if isinstance(target, types.FunctionType) else type(target).__call__


def _unwrapped(function):
    seen = 0
    while hasattr(function, "__wrapped__") and seen < 100:
        function, seen = function.__wrapped__, seen + 1
    return function
