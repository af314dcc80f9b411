//! A file that bears its name only once it is whole and on disk; until then it is `NAME.part`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// The part of a file that is being made.
#[derive(Clone, Debug)]
pub struct PartFile {
    out: PathBuf,
    part: PathBuf,
}

impl PartFile {
    /// The part of the file that is to be at `out`.
    #[must_use]
    pub fn of(out: &Path) -> Self {
        let mut part = out.as_os_str().to_owned();
        part.push(".part");
        Self {
            out: out.into(),
            part: part.into(),
        }
    }

    /// Where the part is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.part
    }

    /// Whether something has the name already: nothing is overwritten.
    pub fn is_taken(&self) -> io::Result<bool> {
        match fs::symlink_metadata(&self.out) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes an empty part that only its owner can read: a store's bodies are for nobody else.
    pub fn make(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.part)
    }

    /// Opens the part that an earlier attempt left.
    pub fn take_up(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(&self.part)
    }

    /// Gives the part, which is `file`, its name, once it is on disk.
    pub fn finish(&self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        if self.is_taken()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(&self.part, &self.out)?;
        // A new name is durable once its directory is.
        let directory = self.out.parent().filter(|parent| *parent != Path::new(""));
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Removes a part that is of no use.
    pub fn discard(&self) {
        // What stays is told to whoever begins anew.
        let _left_behind = fs::remove_file(&self.part);
    }
}
