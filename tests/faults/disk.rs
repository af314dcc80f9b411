//! Disks that are full, and files that may not grow.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Resource, Rlimit, getuid, prlimit};
use tempfile::TempDir;

/// A small file system, which only those see who are run in its mount namespace. It needs root, or user namespaces, and
/// it ends with this value, however this process ends.
pub(crate) struct SmallDisk {
    place: TempDir,
    /// Holds the namespace until its standard input ends.
    keeper: Child,
    enter: String,
}

impl SmallDisk {
    /// An empty one; `None`, after saying so loudly, where nothing can be mounted: [`Limit`] is for there.
    pub(crate) fn of(bytes: u64) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let (unshare, enter): (&[&str], &str) = if getuid().is_root() {
            (&["--mount"], "")
        } else {
            (
                &["--user", "--map-root-user", "--mount"],
                "--preserve-credentials --user=/proc/KEEPER/ns/user ",
            )
        };
        let mut keeper = Command::new("unshare")
            .args(unshare)
            .args(["sh", "-c"])
            .arg("mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" && echo mounted && read -r _")
            .args(["sh", &bytes.to_string()])
            .arg(place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        if said.trim() != "mounted" {
            eprintln!(
                "\n*** NOT TESTED: nothing can be mounted here, so no disk can be filled; files that may not grow are \
                 tested all the same ***\n"
            );
            let _ended = keeper.wait();
            return None;
        }
        let enter = format!("nsenter {enter}--mount=/proc/KEEPER/ns/mnt --")
            .replace("KEEPER", &keeper.id().to_string());
        Some(Self {
            place,
            keeper,
            enter,
        })
    }

    /// Where it is mounted, for those who are in the namespace.
    pub(crate) fn path(&self) -> PathBuf {
        self.place.path().to_owned()
    }

    /// What runs a program in the namespace, in its own place.
    pub(crate) fn run_by(&self) -> Vec<OsString> {
        // Who enters a mount namespace is at its root.
        let script = format!("exec {} env --chdir=\"$PWD\" \"$@\"", self.enter);
        ["sh", "-c", &script, "sh"].map(OsString::from).to_vec()
    }

    /// Writes a file of so many KiB that is in the way, or as many as there is room for.
    pub(crate) fn fill(&self, kibibytes: u64) {
        self.run(&format!(
            "head -c {kibibytes}K /dev/zero >ballast 2>/dev/null; true"
        ));
    }

    /// Removes it.
    pub(crate) fn make_room(&self) {
        self.run("rm ballast");
    }

    /// How large a file on it is.
    pub(crate) fn bytes_of(&self, file: &str) -> u64 {
        let bytes = self.run(&format!("stat -c %s {file}"));
        bytes.trim().parse().unwrap()
    }

    fn run(&self, script: &str) -> String {
        let mut enter = self.run_by().into_iter();
        let ran = Command::new(enter.next().unwrap())
            .args(enter)
            .args(["sh", "-c", script])
            .current_dir(self.place.path())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{script}: {ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ended = self.keeper.wait();
    }
}

/// A bound to the size of every file that a process writes (`RLIMIT_FSIZE`), whoever it is run as.
pub(crate) struct Limit;

impl Limit {
    /// What runs a program under the bound. Writing past it is an error then, not a signal.
    pub(crate) fn of(bytes: u64) -> Vec<OsString> {
        // In units of 512 bytes: POSIX, ulimit.
        let blocks = (bytes / 512).to_string();
        let script = "trap '' XFSZ; ulimit -S -f \"$0\"; exec \"$@\"";
        ["sh", "-c", script, &blocks].map(OsString::from).to_vec()
    }

    /// Lets a process write as much as it may.
    pub(crate) fn lift(pid: u32) {
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        let limit = rustix::process::getrlimit(Resource::Fsize);
        let lifted = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        prlimit(Some(pid), Resource::Fsize, lifted).unwrap();
    }
}
