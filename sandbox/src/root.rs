//! A root of its own: the system's programs and libraries, read-only, what was named besides, and one folder to write.
//!
//! What is not mounted is not there: homes, the worker's data, other attempts, sockets of services.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use nix::libc::{self, c_uint};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use crate::cell::{ATTEMPTS_FOLDER, EMPTY_FOLDER, Identity, Readable, STEP_FOLDER};
use crate::error::{Context, Result, answered};

/// Programs and libraries of the system.
pub(crate) const SYSTEM: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];
/// What programs ask the system for: names, certificates, time zones. Nothing that says who else uses this machine.
pub(crate) const ETC: [&str; 22] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/openssl",
    "/etc/os-release",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
    "/etc/odbcinst.ini",
];
pub(crate) const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
/// What is not the program's own, and can be written: neither devices nor programs with other rights count there.
const OF_OTHERS: u64 = NOSUID | NODEV;
const READ_ONLY: u64 = RDONLY | OF_OTHERS;

/// What the writable folder of a root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scratch {
    /// That of the one program in it.
    Own,
    /// Those of all attempts, for cells within this one.
    OfAll,
}

/// What a root is built of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'cell> {
    pub(crate) mountpoint: &'cell Path,
    pub(crate) readable: &'cell [Readable],
    pub(crate) writable: &'cell [PathBuf],
    pub(crate) scratch: (&'cell Path, Scratch),
    pub(crate) identity: Identity,
}

/// Builds the root and makes it this process's. It must be first in namespaces of its own.
pub(crate) fn enter(plan: Plan<'_>) -> Result {
    const NONE: Option<&str> = None;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).to("keep mounts to itself")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), plan.mountpoint, Some("tmpfs"), flags, Some("mode=755,size=4m"))
        .to_path("mount a file system over", plan.mountpoint)?;
    let root = Root(plan.mountpoint);
    for path in SYSTEM.iter().chain(&ETC).map(Path::new) {
        root.show_if_there(path, path, READ_ONLY)?;
    }
    for readable in plan.readable {
        root.show_if_there(&readable.from, &readable.at, READ_ONLY)?;
    }
    for path in plan.writable {
        root.show_if_there(path, path, OF_OTHERS)?;
    }
    root.devices()?;
    root.run_folders(plan.scratch)?;
    root.users(plan.identity)?;
    root.processes()?;
    switch(plan.mountpoint)
}

/// The root that is being built, by its place in the old one.
struct Root<'mountpoint>(&'mountpoint Path);

impl Root<'_> {
    /// The place of `path` in it.
    fn at(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Shows a file, a folder or a link, with these attributes.
    fn show_if_there(&self, path: &Path, at: &Path, attributes: u64) -> Result {
        let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
        let target = self.at(at);
        if target.symlink_metadata().is_ok() {
            // Part of something that is there already.
            return Ok(());
        }
        self.make_parents(at)?;
        let is_folder_of_system = path == at && SYSTEM.iter().any(|folder| path == Path::new(folder));
        if metadata.is_symlink() && is_folder_of_system {
            let link = fs::read_link(path).to_path("read the link", path)?;
            return symlink(link, &target).to_path("make the link", &target);
        }
        match fs::canonicalize(path) {
            Ok(file) => self.show(&file, &target, attributes),
            // A link to nowhere shows nothing.
            Err(_) => Ok(()),
        }
    }

    fn show(&self, source: &Path, target: &Path, attributes: u64) -> Result {
        self.bind(source, target)?;
        restrict(target, attributes)
    }

    /// Mounts a file or a folder at a place that is made for it.
    fn bind(&self, source: &Path, target: &Path) -> Result {
        const NONE: Option<&str> = None;
        if source.is_dir() {
            fs::create_dir_all(target).to_path("make the folder", target)?;
        } else {
            fs::File::create(target).to_path("make the file", target)?;
        }
        mount(Some(source), target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).to_path("mount", source)
    }

    /// Folders above `path`, links among them as they are outside.
    fn make_parents(&self, path: &Path) -> Result {
        let mut outside = PathBuf::from("/");
        for part in path.parent().unwrap_or(path).components() {
            let Component::Normal(name) = part else { continue };
            outside.push(name);
            let inside = self.at(&outside);
            if inside.symlink_metadata().is_ok() {
                continue;
            }
            match fs::read_link(&outside) {
                Ok(link) => symlink(link, &inside).to_path("make the link", &inside)?,
                Err(_) => fs::create_dir(&inside).to_path("make the folder", &inside)?,
            }
        }
        Ok(())
    }

    fn devices(&self) -> Result {
        let folder = self.at(Path::new("/dev"));
        fs::create_dir_all(&folder).to_path("make the folder", &folder)?;
        for name in DEVICES {
            let target = folder.join(name);
            self.bind(&Path::new("/dev").join(name), &target)?;
            restrict(&target, NOSUID)?;
        }
        let links = [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ];
        for (name, target) in links {
            symlink(target, folder.join(name)).to_path("make the link", &folder.join(name))?;
        }
        // What is shared between processes of one attempt is in its own folder, and counts for it.
        let temporary = Path::new(STEP_FOLDER).join("tmp");
        for name in [folder.join("shm"), self.at(Path::new("/tmp")), self.at(Path::new("/var/tmp"))] {
            // An interpreter may be below one of them: then that is what is there.
            if name.symlink_metadata().is_err() {
                fs::create_dir_all(name.parent().unwrap_or(&name)).to_path("make a folder for", &name)?;
                symlink(&temporary, &name).to_path("make the link", &name)?;
            }
        }
        Ok(())
    }

    fn run_folders(&self, (scratch, kind): (&Path, Scratch)) -> Result {
        for folder in [STEP_FOLDER, ATTEMPTS_FOLDER, EMPTY_FOLDER].map(|path| self.at(Path::new(path))) {
            fs::create_dir_all(&folder).to_path("make the folder", &folder)?;
        }
        let target = match kind {
            Scratch::Own => STEP_FOLDER,
            Scratch::OfAll => ATTEMPTS_FOLDER,
        };
        let target = self.at(Path::new(target));
        self.bind(scratch, &target)?;
        restrict(&target, OF_OTHERS)
    }

    /// One user with a name, as programs that ask for it expect.
    fn users(&self, identity: Identity) -> Result {
        let home = Path::new(STEP_FOLDER).join("tmp");
        let Identity { user, group } = identity;
        for (name, content) in [
            ("passwd", format!("step:x:{user}:{group}::{}:/bin/sh\n", home.display())),
            ("group", format!("step:x:{group}:\n")),
        ] {
            let path = self.at(Path::new("/etc")).join(name);
            fs::write(&path, content).to_path("write", &path)?;
        }
        Ok(())
    }

    fn processes(&self) -> Result {
        let target = self.at(Path::new("/proc"));
        fs::create_dir_all(&target).to_path("make the folder", &target)?;
        mount_processes(&target)
    }
}

/// The processes of this process's namespace.
pub(crate) fn mount_processes(target: &Path) -> Result {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), target, Some("proc"), flags, None::<&str>).to("mount the list of its own processes")
}

/// Makes the folder the root, and lets go of the old one.
fn switch(root: &Path) -> Result {
    chdir(root).to("enter the new root")?;
    pivot_root(".", ".").to("change the root")?;
    umount2(".", MntFlags::MNT_DETACH).to("let go of the old root")?;
    chdir("/").to("enter the root")?;
    restrict_one(Path::new("/"), RDONLY)
}

/// In a cell within that of a broker: the folder of one attempt, and no way to the others.
pub(crate) fn show_attempt(name: &str) -> Result {
    const NONE: Option<&str> = None;
    mount_processes(Path::new("/proc"))?;
    let folder = Path::new(ATTEMPTS_FOLDER).join(name);
    mount(Some(&folder), STEP_FOLDER, NONE, MsFlags::MS_BIND, NONE).to("show the attempt's folder")?;
    cover_attempts()
}

/// In namespaces of a broker: a view of its own, without the folders of attempts.
pub(crate) fn hide_attempts() -> Result {
    // SAFETY: a plain system call without pointers.
    answered(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into()).to("keep mounts to itself")?;
    cover_attempts()
}

fn cover_attempts() -> Result {
    const NONE: Option<&str> = None;
    mount(Some(EMPTY_FOLDER), ATTEMPTS_FOLDER, NONE, MsFlags::MS_BIND, NONE).to("cover the other attempts' folders")
}

/// Takes rights away from a mount and all below it.
fn restrict(path: &Path, attributes: u64) -> Result {
    set_attributes(path, attributes, libc::AT_RECURSIVE as c_uint)
}

fn restrict_one(path: &Path, attributes: u64) -> Result {
    set_attributes(path, attributes, 0)
}

#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// `mount_setattr(2)`, Linux 5.12: it adds to what a mount may not do, and never takes away from it.
fn set_attributes(path: &Path, set: u64, flags: c_uint) -> Result {
    let attributes = MountAttributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(std::io::Error::from).to_path("name", path)?;
    // SAFETY: the path ends in a zero, and the kernel reads as many bytes of the attributes as it is told.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            name.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    answered(answer).to_path("restrict the mount at", path).map(drop)
}
