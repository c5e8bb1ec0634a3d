"""What a fork of the warm interpreter does until it runs its step.

All of it is gone through beforehand, in the warm interpreter, with nothing at stake: code that has run often has been
specialised, and what it looks up is remembered. What is written then need not be written, page by page, by each fork.
"""

import _signal as signal
import os
import select
import sys

from . import bounds, cells, failures, fence, frames, load, start, streams
from .practice import TIMES, practise

_ANSWER = 3
"""Descriptor of a step's way back to the worker: the one after its standard streams."""
_INPUT = 4
"""Descriptor of a step's input, until that is read."""
_FIRST_BYTES = 8_192
_AHEAD = b'{"ahead":'
"""How the line begins that may come before those of the step."""
_SOON_MS = 25
"""How long a fork that waits for its step does nothing else."""
_PR_SET_PDEATHSIG = 1
_VARIABLES = ("BUE_PRACTICE_ONE", "BUE_PRACTICE_TWO")


class Step:
    """A process of a step to be. It is made in the warm interpreter, once."""

    def __init__(self, library, join):
        self._library = library
        self._join = join
        self._follow = _death_signal(library)
        self._empty = _open_empty()
        self._bounds = bounds.Bounds()
        self._environment = dict(os.environ)
        launch = {"folder": "/", "environment": {**self._environment, **dict.fromkeys(_VARIABLES, "1")}}
        self._practice = frames.to_line({**launch, "bounds": self._bounds.now()})
        self._prepared = None
        self._waiting = None
        self._begun = None

    def prepare(self, after_fork, waiting, begin):
        """What each process calls as soon as it is there, what one calls that has time, and what each calls right before its step,
        with the environment of that; None where there is nothing."""
        self._prepared = after_fork
        self._waiting = waiting
        self._begun = begin

    def become(self, descriptors, cell, ready, highest, has_time=False):
        """In the new process: never returns. ``highest`` is the highest descriptor that may be open."""
        try:
            os.setsid()
            if cell is None:
                self._follow()
            step_input, answer, log = descriptors
            self._print_to(log)
            if cell is not None:
                # Whoever is in a cell ends with its first process, which ends with the broker.
                self._enter(cell.descriptor, ready, answer)
            self._let_go(step_input, answer, highest)
            # Nothing so far depends on the step.
            if self._prepared is not None:
                self._prepared()
            if has_time:
                self._take_memory()
                if self._waiting is not None and not _comes_soon():
                    self._waiting()
            frame = self._settle_in(self._listen())
            self._begin()
            start.run_and_exit(streams.Channel(_ANSWER), frame)
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
            streams.flush()
        os._exit(70)

    def practise(self):
        """Goes through the parts often, and leaves the interpreter as it was."""
        places = [0, 1, 2, _ANSWER, _INPUT]
        kept = [_duplicate(place) for place in places]
        join, self._join = self._join, cells.practice_joiner(self._library)
        folder = os.getcwd()
        given = self._practice + b"{}\n"
        for _ in range(TIMES):
            # Nothing else may come to stand in their places.
            os.dup2(self._empty, _ANSWER, False)
            os.dup2(self._empty, _INPUT, False)
            self._go_through(given)
        self._join = join
        os.chdir(folder)
        for place, descriptor in zip(places, kept):
            _put_back(descriptor, place)

    def _go_through(self, given):
        (step_input, input_end), (answer_end, answer) = os.pipe(), os.pipe()
        os.write(input_end, given)
        os.close(input_end)
        self._print_to(answer)
        if self._join is not None:
            self._enter(-1, None, answer)
        self._let_go(step_input, answer, _INPUT)
        self._settle_in(self._listen())
        load.give_way(("/",))
        streams.flush()
        streams.Channel(_ANSWER).send(frames.to_line(frames.result("success", None, None)))
        self._forget()
        for descriptor in (step_input, answer, answer_end):
            os.close(descriptor)

    def _take_memory(self):
        """In a fork that waits for its step: has the kernel copy what it is about to write to, which is most of the time of a step."""
        practise(1)
        self._settle_in(self._practice)
        load.give_way(("/",))
        self._forget()

    def _forget(self):
        for name in _VARIABLES:
            del os.environ[name]

    def _print_to(self, log):
        """From here on what is printed goes into the log."""
        os.dup2(log, 1)
        os.dup2(log, 2)

    def _enter(self, cell, ready, answer):
        try:
            if ready is not None:
                cells.wait_for(ready)
            cells.join(self._join, cell)
        except OSError as error:
            failure = failures.Failure("start", error.strerror or str(error))
            streams.Channel(answer).send(frames.to_line(frames.error(failure)))
            os._exit(0)

    def _let_go(self, step_input, answer, highest):
        os.dup2(self._empty, 0)
        # What came with the order is above both places: the warm interpreter itself holds these. All above them go.
        os.dup2(answer, _ANSWER, False)
        os.dup2(step_input, _INPUT, False)
        os.closerange(_INPUT + 1, highest + 1)

    def _listen(self):
        """Waits for the step, and reads what it is."""
        given = os.read(_INPUT, _FIRST_BYTES)
        if given.startswith(_AHEAD):
            given = self._read_ahead(given)
        given += streams.read_all(_INPUT)
        os.close(_INPUT)
        return given

    def _read_ahead(self, given):
        """Reads what the step to come takes, as a line before it says; returns what is after that line."""
        line, end, rest = given.partition(b"\n")
        while not end:
            part = os.read(_INPUT, _FIRST_BYTES)
            if not part:
                return b""
            line, end, rest = (line + part).partition(b"\n")
        try:
            from . import ahead

            told = frames.parse(line)["ahead"]
            self._take_on(told["environment"])
            self._bounds.apply(told["bounds"])
            ahead.read(told["frame"], told.get("grows", False), self._begin)
        except BaseException:
            pass  # The step reads it itself then, and says what is wrong.
        return rest

    def _begin(self):
        """Begins, once, what modules begin that are there."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun()

    def _settle_in(self, given):
        """Takes on what the first line of the input says; returns the second, the start frame."""
        launch, _, frame = given.partition(b"\n")
        launch = frames.parse(launch)
        self._take_on(launch["environment"])
        if "fence" in launch:
            fence.step_into(self._library, launch["fence"])
        self._bounds.apply(launch.get("bounds", ()))
        os.chdir(launch["folder"])
        return frame

    def _take_on(self, environment):
        """Makes it the whole environment; most of it is there already."""
        own = self._environment
        for name, value in environment.items():
            if own.get(name) != value:
                os.environ[name] = value
        for name in own:
            if name not in environment:
                os.environ.pop(name, None)


def _comes_soon():
    """Whether the step is there, or comes in a moment: it may need nothing of what takes long."""
    poll = select.poll()
    poll.register(_INPUT, select.POLLIN)
    return bool(poll.poll(_SOON_MS))


def _death_signal(library):
    """A function that lets the calling process die with its parent."""
    if library is None:
        # Then a step outlives the warm interpreter only where that is killed alone.
        return lambda: None

    parent = os.getpid()
    prctl, killed = library.prctl, int(signal.SIGKILL)
    for _ in range(TIMES):
        prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)  # Practice: none is what this process has.

    def follow():
        prctl(_PR_SET_PDEATHSIG, killed, 0, 0, 0)
        # The parent may have died before the signal was asked for.
        if os.getppid() != parent:
            os._exit(70)

    return follow


def _open_empty():
    """An empty file, above the places of a fork's own descriptors, which all are taken from then on."""
    empty = os.open(os.devnull, os.O_RDONLY)
    while empty <= _INPUT:
        empty = os.dup(empty)
    return empty


def _duplicate(descriptor):
    try:
        return os.dup(descriptor)
    except OSError:
        return None


def _close(descriptor):
    try:
        os.close(descriptor)
    except OSError:
        return


def _put_back(kept, place):
    if kept is None:
        _close(place)
    else:
        os.dup2(kept, place)
        os.close(kept)
