"""The way of one step: from the start frame to the end frame."""

import _thread
import atexit
import os
import sys

from . import bounds, call, decode, encode, failures, frames, load, returned, streams
from .failures import Failure, of_exception


_kept = []
"""Lists that the step took and returned, which end with the process: the answer does not wait until all rows are freed."""


def main():
    """Runs the step that the worker names on standard input, and ends the process."""
    allow_long_integers()
    frame = streams.read_all()
    streams.flush_when_asked_to_end()
    run_and_exit(streams.take_over(), frame)


def allow_long_integers():
    """Values hold integers of any size."""
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)


def run_and_exit(channel, line):
    """Runs the step of a start frame, answers, and ends the process. A step that exits, exits."""
    streams.forks.are_of_step = True
    try:
        frame = run(line, channel.tell)
    except SystemExit as exit:
        _end_interpreter()
        os._exit(_exit_code(exit))
    _end_interpreter()
    channel.send(frames.to_line(frame))
    os._exit(0)


def answer(line):
    """The line of the end frame for a start frame."""
    return frames.to_line(run(line))


def run(line, tell=None):
    """The end frame for a start frame. ``tell`` takes the lines that come before it."""
    try:
        return _run(frames.parse_start(line), tell)
    except Failure as failure:
        return frames.error(failure)


def _end_interpreter():
    """What an interpreter does at its end. The answer comes last: what the step left running belongs to it."""
    threading = sys.modules.get("threading")
    if threading is not None and _thread._count() and hasattr(threading, "_shutdown"):
        _tell_of_threads(threading)
        threading._shutdown()
    atexit._run_exitfuncs()
    streams.flush()


def _tell_of_threads(threading):
    """Says in the log what the end of the process waits for: it would else look as if the function had not returned."""
    own = threading.current_thread()
    waited_for = [thread.name for thread in threading.enumerate() if thread is not own and not thread.daemon]
    if waited_for:
        streams.flush()
        print(f"the step has returned; it ends when its threads end: {', '.join(waited_for)}", file=sys.stderr, flush=True)


def _exit_code(exit):
    """The code a process ends with for ``sys.exit(…)``; a text goes to the log."""
    if exit.code is None:
        return 0
    if isinstance(exit.code, int):
        return exit.code & 0xFF
    print(exit.code, file=sys.stderr)
    return 1


def _run(frame, tell):
    root = os.getcwd()
    failures.step_folders[:] = frame["path"]
    load.give_way(frame["path"])
    sys.path[:0] = frame["path"]
    sys.argv[:] = [frame["step"]]
    sources = {}
    try:
        function, sources = load.load(frame["code"], frame["function"], root)
        streams.show_logging()
        arguments = decode.decode_all(frame["inputs"], function)
        status, priority, data = returned.read(call.call(function, arguments))
        if status != "success":
            return frames.result(status, None, priority)
        output = encode.encode(data, frame["values"], frame["inline_bytes_max"], frame["value_bytes_max"], tell)
        _kept.extend(value for value in (*arguments, data) if type(value) is list)
        return frames.result(status, output, priority)
    except (Failure, SystemExit):
        raise
    except BaseException as error:
        raise bounds.told_by_name(of_exception("exception", error, root, sources), error) from None
