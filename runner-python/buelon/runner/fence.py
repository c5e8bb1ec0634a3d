"""A fence of its own for each fork, where there are no cells: rules on files, kept by Landlock.

Without namespaces all forks of a warm interpreter are the same user and reach the folders of all attempts. Each steps into
a further fence, which leaves it its own folder. See ``sandbox/src/fence.rs``, where the rules come from.
"""

import os
import struct

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Numbers of Landlock's system calls, on all kinds of machines."""
_PATH_BENEATH = 1


def step_into(library, rules):
    """Leaves this process, and all it starts, the files of ``rules``: ``handled`` rights, and which of them each path gives."""
    import ctypes

    def call(number, *arguments):
        answer = library.syscall(ctypes.c_long(number), *arguments)
        if answer == -1:
            code = ctypes.get_errno()
            raise OSError(code, f"the step cannot be fenced in: {os.strerror(code)}")
        return answer

    handled = struct.pack("=Q", rules["handled"])
    ruleset = call(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    for path, access in rules["rules"]:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # What cannot be reached needs no rule.
        call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, place), 0)
        os.close(place)
    call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
