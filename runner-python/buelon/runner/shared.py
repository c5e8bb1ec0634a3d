"""One interpreter for many attempts at once: steps that are ``async def``, awaited beside each other.

The worker writes lines to standard input and reads lines from standard output; each names an attempt by its number. They
are told in ``protocol/src/shared_frame.rs``. Module code is run once for each source. What an attempt prints is told from
others by the context it runs in, and so are the variables that are its own.
"""

import asyncio
import contextvars
import inspect
import json
import os
import resource
import sys
import threading
import time

from . import call, decode, encode, failures, frames, load, returned, streams
from .failures import Failure, of_exception
from .start import allow_long_integers

_CHUNK_BYTES = 1 << 18
_OWN_VARIABLES = ("BUE_RUN", "BUE_JOB", "BUE_ATTEMPT", "BUE_ATTEMPT_KEY")
_LOG_CHARACTERS_MAX = 1 << 16
"""Most of what an attempt prints that goes in one line: a line has a bound, and what is printed has none."""
_BUSY_S = 0.5
"""How long one attempt may keep all others waiting before that is told."""
_LOOK_EVERY = 64
"""Attempts between two looks at the interpreter's memory."""

_attempt = contextvars.ContextVar("attempt", default=None)
_parse = json.JSONDecoder().raw_decode
_write = json.JSONEncoder(separators=(",", ":")).encode


def main():
    """Serves the worker until it closes standard input. The arguments bound what is done: attempts, and bytes."""
    attempts_max, memory_bytes_max = int(sys.argv.pop(1)), int(sys.argv.pop(1))
    allow_long_integers()
    given, answers = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(2, 1)
    os.close(empty)
    for descriptor in (given, answers):
        os.set_inheritable(descriptor, False)
    streams.open_log()
    sys.stdout = sys.__stdout__ = _Output(sys.stdout)
    sys.stderr = sys.__stderr__ = _Output(sys.stderr)
    os.environ = _Environment(os.environ)
    asyncio.run(_Server(given, answers, attempts_max, memory_bytes_max).serve())


class _Attempt:
    """An attempt that runs, and what it has printed since it was last told."""

    __slots__ = ("number", "environment", "server", "printed")

    def __init__(self, server, number, environment):
        self.server = server
        self.number = number
        self.environment = environment
        self.printed = []

    def print(self, text):
        with self.server.lock:
            if not self.printed:
                self.server.has_printed(self)
            self.printed.append(text)

    def take(self):
        """What it has printed since this was asked last, as text that can be sent."""
        printed, self.printed = self.printed, []
        return "".join(printed).encode("utf-8", "backslashreplace").decode("utf-8")


class _Output:
    """A text stream that gives each attempt what it prints; what belongs to none goes where it always went."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        attempt = _attempt.get()
        if attempt is None or not isinstance(text, str):
            return self._stream.write(text)
        if text:
            attempt.print(text)
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        self._stream.flush()

    def __getattr__(self, name):
        return getattr(self._stream, name)


class _Environment(type(os.environ)):
    """The variables of the process, with those of an attempt for the code of that attempt."""

    def __init__(self, whole):
        self.__dict__.update(whole.__dict__)

    def __getitem__(self, name):
        attempt = _attempt.get()
        if attempt is not None and name in attempt.environment:
            return attempt.environment[name]
        return super().__getitem__(name)


class _Server:
    def __init__(self, given, answers, attempts_max, memory_bytes_max):
        self._given = given
        self._answers = answers
        self._attempts_left = attempts_max
        self._memory_kib_max = memory_bytes_max // 1024
        # The bound on processor time is meant for one attempt; before it is met another interpreter takes over.
        bound = resource.getrlimit(resource.RLIMIT_CPU)[0]
        self._cpu_s_max = bound / 2 if bound != resource.RLIM_INFINITY else float("inf")
        self._rest = b""
        self._tasks = {}
        self.lock = threading.RLock()
        """Held by whoever touches the two lists below: attempts print from threads of their own, too."""
        self._printed = []
        self._outbox = []
        self._functions = {}
        self._root = os.getcwd()

    async def serve(self):
        self._loop = asyncio.get_running_loop()
        self._closed = self._loop.create_future()
        self._loop.add_reader(self._given, self._read)
        threading.Thread(target=self._watch, name="buelon-watch", daemon=True).start()
        await self._closed
        for task in list(self._tasks.values()):
            task.cancel()

    def _read(self):
        data = os.read(self._given, _CHUNK_BYTES)
        if not data:
            self._loop.remove_reader(self._given)
            self._closed.set_result(None)
            return
        *lines, self._rest = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        for line in lines:
            self._take(_parse(line.decode("utf-8"))[0])

    def _take(self, order):
        start = order.get("run")
        if start is None:
            task = self._tasks.get(order["cancel"])
            if task is not None:
                task.cancel()
            return
        number = start["number"]
        context = contextvars.copy_context()
        context.run(_attempt.set, _Attempt(self, number, start["environment"]))
        # A task takes the context that it is made in.
        task = context.run(self._loop.create_task, self._run(number, start["frame"]))
        self._tasks[number] = task

    async def _run(self, number, frame):
        sources = {}
        try:
            end = await self._carry_out(number, frame, sources)
        except Failure as failure:
            end = frames.error(failure)
        except asyncio.CancelledError:
            end = None
        except SystemExit as ended:
            end = frames.error(Failure("exit", f"the step ended with exit code {ended.code!r} before it returned"))
        except BaseException as error:
            end = frames.error(of_exception("exception", error, self._root, sources))
        del self._tasks[number]
        self._tell({"end": {"number": number, "frame": end}})
        self._count()

    async def _carry_out(self, number, frame, sources):
        function, found = self._load(frame)
        sources.update(found)
        arguments = decode.decode_all(frame["inputs"], function)
        status, priority, data = returned.read(await _called(function, arguments))
        if status != "success":
            return frames.result(status, None, priority)
        output = encode.encode(data, frame["values"], frame["inline_bytes_max"], frame["value_bytes_max"])
        return frames.result(status, _own_file(output, frame["values"], number), priority)

    def _load(self, frame):
        """The function, loaded once; a source that cannot be loaded is tried again."""
        code, name = frame["code"], frame["function"]
        key = (code["file"] if "file" in code else (code["text"]["line"], code["text"]["text"]), name)
        found = self._functions.get(key)
        if found is None:
            if not failures.step_folders:
                failures.step_folders[:] = frame["path"]
                load.give_way(frame["path"])
                sys.path[:0] = frame["path"]
            function, sources = load.load(code, name, self._root)
            streams.show_logging()
            _check(function, name)
            found = self._functions[key] = function, sources
        return found

    def has_printed(self, attempt):
        self._ask_for_flush(self._loop.call_soon_threadsafe)
        self._printed.append(attempt)

    def _tell(self, answer):
        with self.lock:
            self._ask_for_flush(self._loop.call_soon)
            # What an attempt has printed goes before its end.
            self._write_down_printed()
            self._outbox.append(_write(answer))

    def _ask_for_flush(self, call):
        if not self._printed and not self._outbox:
            call(self._flush)

    def _write_down_printed(self):
        printed, self._printed = self._printed, []
        for attempt in printed:
            text = attempt.take()
            for begin in range(0, len(text), _LOG_CHARACTERS_MAX):
                part = text[begin : begin + _LOG_CHARACTERS_MAX]
                self._outbox.append(_write({"log": {"number": attempt.number, "text": part}}))

    def _flush(self):
        with self.lock:
            self._write_down_printed()
            if not self._outbox:
                return
            lines, self._outbox = "\n".join(self._outbox) + "\n", []
            rest = memoryview(lines.encode("ascii"))
            while rest:
                rest = rest[os.write(self._answers, rest) :]

    def _watch(self):
        """In a thread of its own: where an attempt keeps the loop from its work, tells which one, and what was printed."""
        answered = threading.Event()
        while True:
            time.sleep(_BUSY_S)
            answered.clear()
            try:
                self._loop.call_soon_threadsafe(answered.set)
            except RuntimeError:
                return  # The loop is closed.
            while not answered.wait(_BUSY_S):
                self._tell_busy()

    def _tell_busy(self):
        number = self._number_of(asyncio.current_task(self._loop))
        with self.lock:
            self._write_down_printed()
            if number is not None:
                self._outbox.append(_write({"busy": number}))
            self._flush()

    def _number_of(self, task):
        """The attempt that a task belongs to; None where that cannot be known."""
        if task is None:
            return None
        for number, own in list(self._tasks.items()):
            if own is task:
                return number
        # Only newer versions of Python say what a task was made in.
        context = task.get_context() if hasattr(task, "get_context") else {}
        attempt = context.get(_attempt)
        return None if attempt is None else attempt.number

    def _count(self):
        self._attempts_left -= 1
        is_spent = self._attempts_left == 0
        if self._attempts_left > 0 and self._attempts_left % _LOOK_EVERY == 0:
            used = resource.getrusage(resource.RUSAGE_SELF)
            is_spent = used.ru_maxrss > self._memory_kib_max or used.ru_utime + used.ru_stime > self._cpu_s_max
            self._attempts_left = 0 if is_spent else self._attempts_left
        if is_spent:
            self._tell({"retire": None})


def _check(function, name):
    code = call.code_of(function)
    flags = code.co_flags if code is not None else 0
    if not flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        message = f"`{name}` is not `async def`, and only such steps can share an interpreter"
        raise Failure("load", f"{message}; write `async def {name}`, or leave out `!isolation shared`")


async def _called(function, arguments):
    arguments = list(arguments)
    keywords = call.add_mut(function, arguments)
    result = function(*arguments, **keywords)
    if hasattr(result, "__aiter__"):
        return [item async for item in result]
    return await result


def _own_file(output, folder, number):
    """A file of the values folder gets a name that no other attempt has."""
    ((kind, name),) = output["place"].items()
    if kind != "json":
        own = f"{number}-{name}"
        os.rename(os.path.join(folder, name), os.path.join(folder, own))
        output["place"] = {kind: own}
    return output
