"""Says to the worker what is not so."""

import json
import os

from attack import TARGETS

ANSWER = 3


def _result(place):
    value = {"kind": "string", "length": None, "place": place}
    return json.dumps({"type": "result", "status": "success", "value": value, "priority": None}).encode() + b"\n"


def frame_in_the_output():
    os.write(1, _result({"json": '"forged"'}))
    print(_result({"json": '"forged"'}).decode())
    return "refused: it is only printed"


def frames_on_all_descriptors():
    """One of them is the step's own way to answer: it can only speak for itself, and not in the name of another."""
    for descriptor in range(4, 256):
        try:
            os.write(descriptor, b"ended 2 0")
            os.write(descriptor, _result({"json": '"forged"'}))
        except OSError:
            continue
        return f"BROKE OUT: descriptor {descriptor} is open"
    return "refused: no other is open"


def huge_frame():
    while True:
        os.write(ANSWER, b"x" * 65_536)


def no_frame():
    os.write(ANSWER, b"not a frame\n")
    os._exit(0)


def half_a_frame():
    os.write(ANSWER, _result({"json": "1"})[:20])
    os._exit(0)


def value_by_a_link():
    os.symlink(os.path.join(TARGETS["data"], "hub/token"), "/run/step/leak")
    os.write(ANSWER, _result({"json_file": "leak"}))
    os._exit(0)


def value_by_a_path():
    os.write(ANSWER, _result({"json_file": "../../../../hub/token"}))
    os._exit(0)


def value_that_never_ends():
    os.mkfifo("/run/step/pipe")
    os.write(ANSWER, _result({"json_file": "pipe"}))
    os._exit(0)


def value_that_is_no_json():
    os.write(ANSWER, _result({"json": "{"}))
    os._exit(0)
