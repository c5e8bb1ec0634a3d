//! A step that changes the files of its bundle, through memory that they are mapped to: no later attempt runs what it has written.

use crate::fleet::Fleet;

const SCRIPT: &str = "\
import python (items, spoil !priority 9) spoil.py
import python (see) see.py
p = | items
both = spoil | see
for item in p():
    both(item)
";

/// Reads the pages before it writes to them, so that the kernel is not asked again. It spoils the source and the bytecode.
const SPOIL: &str = r#"
import glob, marshal, mmap, time

CODE = b"def see(item):\n    return 'spoiled'\n"

def items():
    return list(range(24))

def spoil(item):
    for path in ['see.py', *glob.glob('__pycache__/see.*')]:
        with open(path, 'r+b') as file, mmap.mmap(file.fileno(), 0) as memory:
            memory.find(b'no such thing')
            if path.endswith('.py'):
                memory[:] = CODE.ljust(len(memory) - 1, b'#') + b'\n'
            else:
                program = marshal.dumps(compile(CODE, 'see.py', 'exec'))
                memory[16:] = program.ljust(len(memory) - 16, b'0')
    time.sleep(0.05)
    return item
"#;

/// Longer than what is to take its place, so that this fits.
const SEE: &str = r#"
def see(item):
    """One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen, sixteen, seventeen.

    Eighteen, nineteen, twenty, twenty-one, twenty-two, twenty-three, twenty-four, twenty-five, twenty-six, twenty-seven."""
    return 'untouched'
"#;

fn expect_untouched(mut fleet: Fleet) {
    fleet.start_worker(&["-n", "2"]);
    for (name, content) in [("script.bue", SCRIPT), ("spoil.py", SPOIL), ("see.py", SEE)] {
        fleet.write(name, content);
    }
    let run = fleet.bue(&["upload", "script.bue", "--wait"]).expect(0).run();
    let told = fleet.bue(&["status", &run, "--json"]).expect(0).stdout;
    assert_eq!(told.matches("untouched").count(), 24, "{told}");
    assert_eq!(told.matches("spoiled").count(), 0, "{told}");
}

#[test]
fn no_attempt_runs_what_another_one_wrote_to_the_files_of_its_bundle() {
    expect_untouched(Fleet::empty().start(0));
}

#[test]
fn nor_where_the_worker_works_in_memory() {
    expect_untouched(Fleet::in_memory().start(0));
}
