//! Programs in cells, as they find the world: run for real, as whoever runs the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bue_sandbox::{Bounds, Cell, Identity, Level, STEP_FOLDER, Walls, enclosed_command, probe};
use tempfile::TempDir;

const LAUNCHER: &str = env!("CARGO_BIN_EXE_bue-sandbox-launcher");

/// Who steps run as: not root, whoever runs the tests.
fn identity() -> Identity {
    match Identity::own() {
        Identity { user: 0, .. } => Identity { user: 65_530, group: 65_530 },
        own => own,
    }
}

struct Place(TempDir);

impl Place {
    fn make() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for folder in ["root", "scratch/files", "scratch/tmp"] {
            std::fs::create_dir_all(place.path(folder)).unwrap();
        }
        for folder in ["scratch", "scratch/files", "scratch/tmp"] {
            let Identity { user, group } = identity();
            std::os::unix::fs::chown(place.path(folder), Some(user), Some(group)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn cell(&self) -> Cell {
        Cell {
            walls: Walls { namespaces: true, network: false, fence: true, syscalls: true, rights: true },
            mountpoint: self.path("root"),
            scratch: self.path("scratch"),
            readable: Vec::new(),
            writable: Vec::new(),
            folder: Path::new(STEP_FOLDER).join("files"),
            identity: identity(),
            unix_sockets: false,
            bounds: Bounds::default(),
        }
    }
}

fn shell(cell: &Cell, script: &str) -> Output {
    let arguments = ["-c".into(), script.into()];
    enclosed_command(Path::new(LAUNCHER), cell, Path::new("/bin/sh"), &arguments).output().unwrap()
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn this_machine_has_all_layers() {
    let folder = tempfile::tempdir().unwrap();
    let report = probe(Path::new(LAUNCHER), folder.path(), identity()).unwrap();
    assert_eq!(Level { report: Some(report.clone()) }.summary(), "full", "{report:#?}");
}

#[test]
fn a_program_sees_its_own_folder_and_the_system_and_no_other() {
    let place = Place::make();
    let output = shell(&place.cell(), "pwd; ls -d /*; id -un; ls /home /root /var/lib; echo kept > here; cat here");
    let text = printed(&output);
    assert!(text.starts_with("/run/step/files\n"), "{text}");
    assert!(text.contains("\nstep\n") && text.contains("\nkept\n"), "{text}");
    for name in ["/home\n", "/root\n", "/work\n"] {
        assert!(!text.contains(name), "{text}");
    }
    assert_eq!(std::fs::read_to_string(place.path("scratch/files/here")).unwrap(), "kept\n");
}

#[test]
fn a_program_ends_as_it_ends_without_a_cell() {
    let place = Place::make();
    assert_eq!(shell(&place.cell(), "exit 7").status.code(), Some(7));
    let killed = shell(&place.cell(), "kill -9 $$").status;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(9));
}

#[test]
fn nothing_of_a_cell_outlives_its_program() {
    let place = Place::make();
    let output = shell(&place.cell(), "setsid sh -c 'sleep 2; echo alive > late' >/dev/null 2>&1 & sleep 0.2");
    assert!(output.status.success(), "{}", printed(&output));
    // The launcher ends when the last process of the cell is gone: nobody is left who could still write.
    let found = Command::new("pgrep").args(["-f", "echo alive > late"]).output().unwrap();
    assert!(found.stdout.is_empty(), "{}", printed(&found));
}

#[test]
fn what_a_program_may_read_besides_is_shown_read_only() {
    let place = Place::make();
    std::fs::write(place.path("data"), "seen").unwrap();
    let readable = vec![bue_sandbox::Readable::in_place(place.path("data"))];
    let cell = Cell { readable, ..place.cell() };
    let data = place.path("data");
    let output =
        shell(&cell, &format!("cat {0}; echo changed > {0}; ls -A {1}", data.display(), place.0.path().display()));
    assert!(printed(&output).starts_with("seen"), "{}", printed(&output));
    assert_eq!(std::fs::read_to_string(data).unwrap(), "seen");
    assert!(!printed(&output).contains("scratch"), "{}", printed(&output));
}

#[test]
fn a_folder_that_may_be_written_is_the_machines_own() {
    let place = Place::make();
    let shared = place.path("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let cell = Cell { writable: vec![shared.clone()], ..place.cell() };
    let output = shell(&cell, &format!("echo kept > {}/here", shared.display()));
    assert_eq!(std::fs::read_to_string(shared.join("here")).unwrap(), "kept\n", "{}", printed(&output));
}

#[test]
fn a_bound_of_processes_holds_for_the_cell_alone() {
    let place = Place::make();
    let bounds = Bounds { processes: Some(4), ..Bounds::default() };
    let cell = Cell { bounds, ..place.cell() };
    let output = shell(&cell, "sleep 0 & sleep 0 & wait; echo few; for i in 1 2 3 4 5 6; do sleep 1 & done; wait");
    let text = printed(&output);
    assert!(text.starts_with("few\n"), "{text}");
    assert!(text.to_lowercase().contains("fork"), "{text}");
}

#[test]
fn a_cell_without_a_network_has_its_own_loopback_and_nothing_else() {
    let place = Place::make();
    let cell = Cell { walls: Walls { network: true, ..place.cell().walls }, ..place.cell() };
    let text = printed(&shell(&cell, "cat /proc/net/dev"));
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("lo:"), "{text}");
}

/// Answers of calls as `name=error`, or `name=done`.
const CALLS: &str = r#"
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def told(name, answer):
    print(name, "=", errno.errorcode[ctypes.get_errno()] if answer == -1 else "done", sep="")
def call(name, number, *arguments):
    told(name, libc.syscall(ctypes.c_long(number), *[ctypes.c_long(argument) for argument in arguments]))
def make(name, *arguments):
    told(name, libc.socket(*arguments))
pair = (ctypes.c_int * 2)()
stream, datagram, raw, packets = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET
make("tcp", socket.AF_INET, stream | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
make("tcp6", socket.AF_INET6, stream, 6)
make("udp", socket.AF_INET, datagram | socket.SOCK_CLOEXEC, 17)
make("multipath", socket.AF_INET, stream, 262)
make("sctp", socket.AF_INET, stream, 132)
make("ping", socket.AF_INET, datagram, 1)
make("raw", socket.AF_INET, raw | socket.SOCK_CLOEXEC, 6)
make("packets", socket.AF_INET, packets, 0)
make("unix", socket.AF_UNIX, stream, 0)
told("pair", libc.socketpair(socket.AF_UNIX, stream, 0, pair))
told("tipc-pair", libc.socketpair(30, stream, 0, pair))
told("shared-memory", libc.shmget(0, 4096, 0o1600))
told("semaphores", libc.semget(0, 1, 0o1600))
told("messages", libc.msgget(0, 0o1600))
told("personality", libc.personality(0x0040000))
told("which-personality", libc.personality(0xFFFFFFFF))
told("file-in-memory", libc.memfd_create(b"mine", 0))
call("secret-memory", 447, 0)
call("open-tree-attr", 467, -100, 0, 0, 0, 0)
call("quotactl-fd", 443, -1, 0, 0, 0)
call("process-madvise", 440, -1, 0, 0, 0, 0)
try:
    told("x32", libc.syscall(ctypes.c_long(0x40000000 | 39)))
except KeyError:
    pass
import multiprocessing.shared_memory, multiprocessing.heap
kept = multiprocessing.shared_memory.SharedMemory(create=True, size=4096)
kept.unlink()
multiprocessing.Lock(), multiprocessing.Value("i", 1)
print("multiprocessing=done")
"#;

#[test]
fn calls_that_no_step_needs_are_refused_and_those_of_libraries_are_not() {
    let place = Place::make();
    let arguments = ["-I".into(), "-c".into(), CALLS.into()];
    let output = enclosed_command(Path::new(LAUNCHER), &place.cell(), Path::new("/usr/bin/python3"), &arguments)
        .env("TMPDIR", "/tmp")
        .output()
        .unwrap();
    let text = printed(&output);
    for name in ["tcp", "tcp6", "udp", "pair", "which-personality", "multiprocessing"] {
        assert!(text.lines().any(|line| line == format!("{name}=done")), "{name}: {text}");
    }
    let refused = [
        "multipath",
        "sctp",
        "ping",
        "raw",
        "packets",
        "unix",
        "tipc-pair",
        "shared-memory",
        "semaphores",
        "messages",
        "personality",
        "secret-memory",
        "open-tree-attr",
        "quotactl-fd",
        "process-madvise",
    ];
    for name in refused {
        assert!(text.lines().any(|line| line == format!("{name}=EPERM")), "{name}: {text}");
    }
    for name in ["file-in-memory", "x32"] {
        assert!(text.lines().any(|line| line == format!("{name}=ENOSYS")), "{name}: {text}");
    }
}

#[test]
fn without_namespaces_a_program_of_root_is_another_user_without_rights_and_dies_with_its_parent() {
    let place = Place::make();
    for folder in ["", "scratch"] {
        std::fs::set_permissions(place.path(folder), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    }
    let walls = Walls { namespaces: false, ..place.cell().walls };
    let cell = Cell { walls, folder: place.path("scratch/files"), ..place.cell() };
    let text =
        printed(&shell(&cell, "id -u; grep -E '^Cap(Eff|Prm|Amb)' /proc/self/status; echo kept > here; cat here"));
    assert!(text.starts_with(&format!("{}\n", identity().user)), "{text}");
    assert_eq!(text.matches("0000000000000000").count(), 3, "{text}");
    assert!(text.ends_with("kept\n"), "{text}");
    let text = printed(&shell(&cell, "cat /etc/shadow; ls ..; ls ../..; echo out > ../../out"));
    assert!(!text.contains("root:") && !place.path("out").exists(), "{text}");
}

#[test]
fn a_launcher_that_cannot_start_its_program_says_why() {
    let place = Place::make();
    let output = enclosed_command(Path::new(LAUNCHER), &place.cell(), Path::new("/nowhere"), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(printed(&output).contains("failed to start /nowhere"), "{}", printed(&output));
}
