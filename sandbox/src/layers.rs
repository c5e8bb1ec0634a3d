//! The layers of the sandbox, and which of them a machine has.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cell::Walls;

/// A layer, by what it keeps a step from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// A user namespace: the ground on which an ordinary user builds the others.
    Users,
    /// Processes of its own: it sees no others, can signal no others, and none of it outlives its attempt.
    Processes,
    /// A root of its own, and a private folder.
    Files,
    /// A cell of its own for each fork of the warm interpreter.
    Attempts,
    /// A network of its own for `!network off`.
    Network,
    /// Landlock: rules on files.
    Fence,
    /// Landlock: no signals and no abstract sockets beyond.
    Signals,
    /// A filter on system calls.
    Syscalls,
    /// Another user than root.
    Identity,
}

impl Layer {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Users,
        Self::Processes,
        Self::Files,
        Self::Attempts,
        Self::Network,
        Self::Fence,
        Self::Signals,
        Self::Syscalls,
        Self::Identity,
    ];

    /// Its name in settings, tables and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Processes => "processes",
            Self::Files => "files",
            Self::Attempts => "attempts",
            Self::Network => "network",
            Self::Fence => "landlock",
            Self::Signals => "signals",
            Self::Syscalls => "syscalls",
            Self::Identity => "identity",
        }
    }

    /// What it is for, in a few words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Users => "user namespace, on which the next ones are built",
            Self::Processes => "sees, signals and outlives nothing but its own processes",
            Self::Files => "a root of its own: no homes, no data of the worker, private /tmp",
            Self::Attempts => "all of these once more for each attempt of a warm interpreter",
            Self::Network => "no network where a step says `!network off`",
            Self::Fence => "Landlock: file rules as a second wall",
            Self::Signals => "Landlock: no signals and no abstract sockets beyond",
            Self::Syscalls => "seccomp: no ptrace, bpf, io_uring, keyctl, mount, …",
            Self::Identity => "steps do not run as root",
        }
    }

    /// What to do where it is missing.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Users | Self::Processes | Self::Attempts => {
                "allow user namespaces: sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0; \
                 in a container --security-opt seccomp=unconfined"
            }
            Self::Files => {
                "allow mounts in user namespaces (Linux 5.12 or later); in a container also \
                 --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
            }
            Self::Network => "allow network namespaces: sysctl user.max_net_namespaces",
            Self::Fence => "boot Linux 5.13 or later with landlock among the kernel's lsm=",
            Self::Signals => "boot Linux 6.12 or later",
            Self::Syscalls => "use a kernel with CONFIG_SECCOMP_FILTER",
            Self::Identity => {
                "allow user namespaces, or let the steps' user pass through the worker's folder (chmod o+x on it and on what \
                 it is in), or start the worker as an ordinary user"
            }
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What came of trying one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The layer.
    pub layer: Layer,
    /// Why this machine does not have it; `None`: it has.
    pub missing: Option<String>,
}

/// What came of trying all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// One for each layer.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether this machine has a layer.
    #[must_use]
    pub fn has(&self, layer: Layer) -> bool {
        self.findings.iter().any(|finding| finding.layer == layer && finding.missing.is_none())
    }

    /// The layers it does not have.
    #[must_use]
    pub fn missing(&self) -> Vec<&Finding> {
        self.findings.iter().filter(|finding| finding.missing.is_some()).collect()
    }

    /// What cells can be built of here. A network of its own is for steps that ask for it.
    #[must_use]
    pub fn walls(&self) -> Walls {
        let ground = [Layer::Users, Layer::Processes, Layer::Files, Layer::Attempts];
        Walls {
            namespaces: ground.into_iter().all(|layer| self.has(layer)),
            network: false,
            fence: self.has(Layer::Fence),
            syscalls: self.has(Layer::Syscalls),
            rights: true,
        }
    }
}
